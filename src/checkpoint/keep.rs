//! When a state is kept, and how ranks agree that it is on the disk.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::{self, Found, Table};
use super::restore::{Refusal, Restore};
use super::snapshot::Snapshot;
use super::writer::{Completion, Share};
use crate::comm::{Team, signs};
use crate::error::{Error, Fault, Phase};
use crate::solver::stop::Stop;
use crate::solver::{Keeper, Memory, Progress, Status};

/// So many checkpoints are kept: if the newest is damaged, there is another.
const KEPT: usize = 2;

/// When the state of an iteration is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Whether at all. If not, signals end the job as they end any program.
    pub enabled: bool,
    /// Every so many minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_minutes: Option<f64>,
    /// After every so many iterations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_iterations: Option<usize>,
}

impl Default for When {
    fn default() -> Self {
        When { enabled: true, every_minutes: Some(10.0), every_iterations: None }
    }
}

/// Keeps the state of an iteration in a folder, and puts it back. See the head of this folder.
///
/// Collective: yes, as a [`Keeper`]. Cost of a checkpoint: a copy of this rank's share of the method's vectors (of what all
/// hold, one part for each rank) between two steps, and a scalar reduction after each step until it is written. A checkpoint
/// that cannot be written is a warning; only when somebody has asked the job to stop is it an error.
///
/// ```
/// use stackphys::checkpoint::{Checkpoints, When, find};
/// use stackphys::solver::{CgParams, AnyMethod, Keeper, Observer, Progress, stop};
/// use stackphys::stack::{Description, FromFn, Stack};
/// use stackphys::{Shape, comm::Team, physics::Diagonal};
///
/// struct Kept<'a>(Checkpoints<'a>);
/// impl Observer for Kept<'_> {
///     fn observe(&mut self, _: &Progress) {}
///     fn keeper(&mut self) -> Option<&mut dyn Keeper> { Some(&mut self.0) }
/// }
///
/// let line = Shape::new([("x", 3)]);
/// let factory = FromFn::new(
///     1,
///     |_| Ok(Description::new("weights", line.clone(), line.clone())),
///     |_| Ok(Box::new(Diagonal::new([("x", 3)], vec![1.0, 2.0, 4.0])?) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut y = stack.zero_data();
/// y.fill(4.0);
/// let cg: AnyMethod = CgParams::default().into();
/// let folder = tempfile::tempdir().unwrap();
/// let when = When { every_iterations: Some(1), ..When::default() };
/// let run = |from, steps| {
///     let keeper = Checkpoints::new(stack.team(), folder.path().into(), when.clone(), "weights".into(), from);
///     let mut kept = Kept(keeper);
///     let solved = cg.solve(&stack, &y, None, None, &*stop::iterations(steps), &mut kept).unwrap();
///     kept.0.finish().unwrap();
///     solved
/// };
/// run(Vec::new(), 1);
/// let (checkpoints, _) = find(folder.path()).unwrap();
/// let (x, outcome) = run(checkpoints, 3); // goes on after the first step
/// assert_eq!(outcome.iterations(), 3);
/// assert!((x.as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Checkpoints<'a> {
    team: &'a Team,
    folder: PathBuf,
    when: When,
    about: serde_json::Value,
    /// To go on from, the newest first.
    from: VecDeque<Found>,
    /// The clock at the last checkpoint.
    kept_at: f64,
    /// The iteration whose state is on the disk, or on its way there.
    kept: Option<usize>,
    writing: Option<Writing>,
    completing: Option<Completion>,
    room: Vec<u8>,
    written: usize,
    seconds: f64,
}

/// A checkpoint on its way to the disk: the same one on all ranks.
struct Writing {
    share: io::Result<Share>,
    iteration: usize,
    pieces: usize,
    end: u64,
    /// On rank 0.
    table: Option<Table>,
}

impl<'a> Checkpoints<'a> {
    /// Checkpoints of a job in a folder, which is made when it is needed. `about` says what job it is, for those who find
    /// them; `from` are those to go on from, alike on all ranks, the newest first: none to begin anew.
    pub fn new(team: &'a Team, folder: PathBuf, when: When, about: serde_json::Value, from: Vec<Found>) -> Self {
        let (writing, completing, room) = (None, None, Vec::new());
        let (kept_at, kept, written, seconds) = (team.seconds(), None, 0, 0.0);
        let from = from.into();
        Checkpoints { team, folder, when, about, from, kept_at, kept, writing, completing, room, written, seconds }
    }

    /// How many checkpoints were written, and for how many seconds that held up the iteration of this rank.
    pub fn cost(&self) -> (usize, f64) {
        (self.written, self.seconds)
    }

    fn is_due(&self, now: &Progress) -> bool {
        let since = now.iteration - self.kept.unwrap_or(0);
        if !self.when.enabled {
            return false;
        }
        let by_count = self.when.every_iterations.is_some_and(|every| since >= every);
        let by_clock = self.when.every_minutes.is_some_and(|every| self.team.seconds() - self.kept_at >= 60.0 * every);
        since > 0 && (by_count || by_clock)
    }

    /// Copies the state and begins to write it.
    fn begin(&mut self, remember: &mut dyn FnMut(&mut dyn Memory), history: &[Progress]) -> Result<(), Error> {
        let mut snapshot = Snapshot::new(self.team.rank(), self.team.size(), std::mem::take(&mut self.room));
        remember(&mut snapshot);
        if snapshot.is_nothing {
            let text = "the method cannot be kept, so there are no checkpoints of it";
            return self
                .team
                .agree(Err(Fault::new(text).in_phase(Phase::Checkpoint).hint("set checkpoint.enabled = false")));
        }
        let iteration = history.last().map_or(0, |last| last.iteration);
        let (pieces, end) = snapshot.total();
        let table = (self.team.rank() == 0).then(|| Table {
            version: file::VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            little_endian: cfg!(target_endian = "little"),
            about: self.about.clone(),
            steps: history.to_vec(),
            bits: snapshot.bits,
            vectors: snapshot.vectors,
            checksums: Vec::new(),
        });
        let made = std::fs::create_dir_all(&self.folder);
        let (temporary, _) = file::names(&self.folder, iteration);
        let share = made.and_then(|()| Share::begin(temporary, snapshot.parts, snapshot.copy));
        self.writing = Some(Writing { share, iteration, pieces, end, table });
        (self.kept_at, self.kept) = (self.team.seconds(), Some(iteration));
        Ok(())
    }

    /// Goes on with what is being written, if all ranks' shares are on the disk, or waits for them. Returns the number of the
    /// iteration whose state now is on its way to its place, or why it is not. Collective: yes.
    fn proceed(&mut self, wait: bool) -> Result<(), Error> {
        let Some(writing) = &self.writing else { return Ok(()) };
        let is_done = wait || writing.share.as_ref().map_or(true, Share::is_done);
        let [all_done] = self.team.min([f64::from(u8::from(is_done))]);
        if all_done == 0.0 {
            return Ok(());
        }
        let Some(Writing { share, iteration, pieces, end, table }) = self.writing.take() else { return Ok(()) };
        let (written, room) = share.map_or_else(|error| (Err(error), Vec::new()), Share::end);
        self.room = room;
        let (temporary, path) = file::names(&self.folder, iteration);
        let checksums = self.team.agree(written.map_err(|error| self.cannot_write(&error)));
        let checksums = match checksums {
            Ok(checksums) => checksums,
            Err(error) => {
                self.kept = None;
                let _ = std::fs::remove_file(&temporary);
                return Err(error);
            }
        };
        // each piece has one writer, and an f64 holds 32 bits exactly
        let mut all = vec![0.0; pieces];
        checksums.iter().for_each(|(number, checksum)| all[*number] = f64::from(*checksum));
        self.team.sum_in_place(&mut all)?;
        self.written += 1;
        let Some(table) = table else { return Ok(()) };
        let table = Table { checksums: all.into_iter().map(|sum| sum as u32).collect(), ..table };
        self.end_completion();
        tracing::debug!("checkpoint of iteration {iteration}: {}", path.display());
        match Completion::begin(self.folder.clone(), iteration, end, table, KEPT) {
            Ok(completing) => self.completing = Some(completing),
            Err(error) => self.warn(&self.cannot_write(&error)),
        }
        Ok(())
    }

    /// Waits until the last checkpoint is in its place. On rank 0; a failure is told at once.
    fn end_completion(&mut self) -> Option<Fault> {
        let ended = self.completing.take()?.end();
        match ended {
            Ok(()) => None,
            Err(error) => {
                let fault = self.cannot_write(&error);
                self.warn(&fault);
                Some(fault)
            }
        }
    }

    fn cannot_write(&self, error: &io::Error) -> Fault {
        let text = format!("cannot write a checkpoint to {}: {error}", self.folder.display());
        Fault::new(text).in_phase(Phase::Checkpoint).hint(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
            io::ErrorKind::NotFound => "all ranks must see the folder: is it on a file system that all nodes share?",
            _ => "set its permissions, or name another folder with --out",
        })
    }

    fn warn(&self, fault: &Fault) {
        if self.team.rank() == 0 {
            tracing::warn!("{}; the job goes on without it", fault.text);
        }
    }

    /// As [`proceed`](Self::proceed), where a checkpoint that cannot be written is a warning.
    fn proceed_or_warn(&mut self, wait: bool) -> Result<(), Error> {
        match self.proceed(wait) {
            Err(error) if error.fault().phase == Some(Phase::Checkpoint) => {
                self.warn(error.fault());
                Ok(())
            }
            proceeded => proceeded,
        }
    }

    /// Waits until all that was begun is on the disk. Collective: yes.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.proceed_or_warn(true)?;
        self.end_completion();
        Ok(())
    }
}

impl Keeper for Checkpoints<'_> {
    fn goes_on(&self) -> bool {
        !self.from.is_empty()
    }

    fn restore(&mut self, remember: &mut dyn FnMut(&mut dyn Memory)) -> Result<Option<Vec<Progress>>, Error> {
        let _sign = signs::during(Phase::Checkpoint);
        let mut damaged = None;
        while let Some(found) = self.from.pop_front() {
            let mut restore = Restore::from(self.team, &found);
            remember(&mut restore);
            match restore.end() {
                Ok(()) => {
                    (self.kept_at, self.kept) = (self.team.seconds(), Some(found.table.iteration()));
                    return Ok(Some(found.table.steps));
                }
                Err(Refusal::Differs(error)) => return Err(error),
                Err(Refusal::Damaged(error)) => {
                    if self.team.rank() == 0 {
                        let before = if self.from.is_empty() { "" } else { "; taking the one before" };
                        tracing::warn!("{}{before}", error.fault().text);
                    }
                    damaged = Some(error);
                }
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    fn keep(
        &mut self,
        remember: &mut dyn FnMut(&mut dyn Memory),
        history: &[Progress],
    ) -> Result<Option<(Status, Stop)>, Error> {
        let Some(now) = history.last() else { return Ok(None) };
        let begin = std::time::Instant::now();
        let _sign = signs::during(Phase::Checkpoint);
        let asked = self.team.asked_to_stop();
        self.proceed_or_warn(asked)?;
        if asked {
            if self.kept != Some(now.iteration) {
                self.begin(remember, history)?;
                self.proceed(true)?;
            }
            let fault = self.end_completion();
            self.team.agree(fault.map_or(Ok(()), Err))?;
        } else if self.writing.is_none() && self.is_due(now) {
            self.begin(remember, history)?;
        }
        self.seconds += begin.elapsed().as_secs_f64();
        let reason = || format!("asked to stop; the state after iteration {} is kept", now.iteration);
        Ok(asked.then(|| (Status::Stopped, Stop { rule: "asked to stop", reason: reason() })))
    }
}
