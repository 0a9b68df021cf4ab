//! What a job does about checkpoints: which it goes on from, and whether these are its own.

use std::fs;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::cli::SolveArgs;
use crate::checkpoint::{Found, find, remove_leftovers};
use crate::comm::Team;
use crate::config::Job;
use crate::error::{Error, Fault, Phase};
use crate::scalar::Scalar;
use crate::space::Vector;

/// The folder of checkpoints in a folder of results.
const FOLDER: &str = "checkpoints";
/// Where it goes when a changed job starts from the iterate of these: the next `--force` replaces it.
const ASIDE: &str = "checkpoints.before";
/// A file there: the run that wrote these checkpoints has written its results.
const FINISHED: &str = "finished";

/// Tables of the config that a run may change before it goes on: they say when to stop, where and how to compute, not what.
const FREE: [&str; 9] = [
    "checkpoint",
    "limits",
    "norm",
    "normal",
    "output",
    "ranks",
    "solve.tolerance",
    "solve.wall_time_s",
    "solve.method.max_iter",
];
/// The same, all but the seed.
const RUN: &str = "run";
const SEED: &str = "run.seed";

/// Where checkpoints of a folder of results are.
pub fn folder_in(results: &Path) -> PathBuf {
    results.join(FOLDER)
}

/// The config of the newest checkpoint, with the name of the file. Collective: no.
pub fn config_in(results: &Path) -> Result<(String, String), Fault> {
    let (found, damaged) = find(&folder_in(results))?;
    let Some(newest) = found.first() else { return Err(none_in(results, damaged)) };
    let text = newest.table.about["job"].as_str().unwrap_or_default();
    Ok((newest.path.display().to_string(), text.to_owned()))
}

fn none_in(results: &Path, damaged: Vec<Fault>) -> Fault {
    match damaged.into_iter().next() {
        Some(first) => Fault::new(format!("no whole checkpoint in {}: {}", results.display(), first.text))
            .hint("start over with `run --discard-checkpoints`"),
        None => Fault::new(format!("there is no checkpoint in {}", results.display()))
            .hint("name the folder of results of a run that was stopped; `run` starts one"),
    }
}

/// What a run begins with.
#[derive(Default, Serialize, Deserialize)]
pub struct Begin {
    /// States to go on from, newest first; none to begin anew.
    pub from: Vec<Found>,
    /// A state of another job, by the user's will: the method starts from its iterate.
    pub iterate: Option<Found>,
}

impl Begin {
    /// Whether the method starts by itself.
    pub fn is_anew(&self) -> bool {
        self.from.is_empty() && self.iterate.is_none()
    }

    /// Puts the checkpoints of another job out of the way of this one's, before any is written. Collective: yes.
    pub fn set_aside(&mut self, team: &Team, results: &Path) -> Result<(), Error> {
        let Some(found) = &mut self.iterate else { return Ok(()) };
        let (here, aside) = (folder_in(results), results.join(ASIDE));
        let moved = match team.rank() {
            0 => fs::remove_dir_all(&aside)
                .or_else(|error| if error.kind() == NotFound { Ok(()) } else { Err(error) })
                .and_then(|()| fs::rename(&here, &aside)),
            _ => Ok(()),
        };
        team.agree(moved.map_err(|error| {
            Fault::new(format!("cannot move {} to {}: {error}", here.display(), aside.display()))
                .in_phase(Phase::Checkpoint)
                .hint("remove or rename it, or name another folder with --out")
        }))?;
        found.path = aside.join(found.path.file_name().unwrap_or_default());
        Ok(())
    }

    /// Makes sure that the measurements are those of the state; with `force`, only its iterate is used if not. Collective: no.
    pub fn expect_data(&mut self, data: &str, force: bool) -> Result<(), Fault> {
        let Some(newest) = self.from.first() else { return Ok(()) };
        let before = newest.table.about["data"].as_str().unwrap_or_default();
        if before == data {
            return Ok(());
        }
        if force {
            self.iterate = self.from.drain(..).next();
            return Ok(());
        }
        let of = newest.path.display();
        let text = format!("{of} is of other measurements: their checksum was {before}, now it is {data}");
        let hint = format!("have the data files changed? is --data-dir the same? {FORCE}");
        Err(Fault::new(text).in_phase(Phase::Checkpoint).hint(hint))
    }
}

const FORCE: &str = "--force starts anew from its iterate";

/// What a run begins with; makes room for new checkpoints. Collective: yes; rank 0 looks, and has locked the folder.
pub fn begin(team: &Team, job: &Job, args: &SolveArgs) -> Result<Begin, Error> {
    team.from_rank_0(|| look(job, args).map_err(|fault| fault.in_phase(Phase::Checkpoint)))
}

fn look(job: &Job, args: &SolveArgs) -> Result<Begin, Fault> {
    let results = &job.output.folder;
    let folder = folder_in(results);
    remove_leftovers(results);
    remove_leftovers(&folder);
    let (found, damaged) = find(&folder)?;
    let finished = folder.join(FINISHED).exists();
    if !args.resume {
        if let Some(newest) = found.first().filter(|_| !finished && !args.discard_checkpoints) {
            let (results, iteration) = (results.display(), newest.table.iteration());
            let text = format!("{results} has a checkpoint, of iteration {iteration}, of a run that was not finished");
            return Err(Fault::new(text).hint(format!(
                "`stackphys resume {results}` goes on with it; --discard-checkpoints starts over; --out names another folder"
            )));
        }
        return match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != NotFound => {
                Err(Fault::new(format!("cannot remove {}: {error}", folder.display())))
            }
            _ => Ok(Begin::default()),
        };
    }
    if found.is_empty() && (args.must_resume || !damaged.is_empty()) {
        return Err(none_in(results, damaged));
    }
    for fault in damaged {
        tracing::warn!("{}; taking the one before", fault.text);
    }
    let Some(newest) = found.first() else {
        tracing::info!("no checkpoint in {} yet: starting", results.display());
        return Ok(Begin::default());
    };
    let differs = expect_same_job(newest, job, args.force);
    if finished {
        fs::remove_file(folder.join(FINISHED))
            .map_err(|error| Fault::new(format!("cannot write to {}: {error}", folder.display())))?;
    }
    if args.force && differs.is_err() {
        return Ok(Begin { iterate: Some(newest.clone()), ..Begin::default() });
    }
    differs?;
    let about = newest.table.about.clone();
    let from = found.into_iter().filter(|found| found.table.about["data"] == about["data"]).collect();
    Ok(Begin { from, iterate: None })
}

/// A fault that names what differs between a job and the one that a checkpoint is of.
fn expect_same_job(found: &Found, job: &Job, force: bool) -> Result<(), Fault> {
    let of = found.path.display();
    let (version, written_by) = (env!("CARGO_PKG_VERSION"), &found.table.program);
    if written_by != version && !force {
        let text = format!("{of} was written by version {written_by} of the program, this is {version}");
        return Err(Fault::new(text).hint("go on with that version, or with --force: sizes and checksums are checked"));
    }
    let text = found.table.about["job"].as_str().unwrap_or_default();
    let before = Job::from_toml(text, &of.to_string(), &[])?;
    let as_json = |job: &Job| serde_json::to_value(job).unwrap_or_default();
    let mut differences = Vec::new();
    compare("", &as_json(&before), &as_json(job), &mut differences);
    differences.retain(|Difference { path, .. }| !is_free(path));
    let Some(Difference { path, before, now }) = differences.first() else { return Ok(()) };
    let more = match differences.len() {
        1 => String::new(),
        more => format!(", and {} more", more - 1),
    };
    let text = format!("{of} is of another job: {path} was {before}, now it is {now}{more}");
    Err(Fault::new(text)
        .hint("go on with the config as it was; --force if you know that the iterate is still a good start"))
}

fn is_free(path: &str) -> bool {
    let within = |table: &str| path == table || path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
    FREE.into_iter().any(within) || (within(RUN) && path != SEED)
}

/// A value of a config that is another one now.
struct Difference {
    path: String,
    before: String,
    now: String,
}

fn compare(path: &str, before: &Json, now: &Json, into: &mut Vec<Difference>) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, now) {
        (Json::Object(old), Json::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                compare(&inner(key), old.get(key).unwrap_or(&Json::Null), new.get(key).unwrap_or(&Json::Null), into);
            }
        }
        (Json::Array(old), Json::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                let name = new["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                compare(&inner(&name), old, new, into);
            }
        }
        (before, now) if before == now => {}
        (before, now) => {
            let word = |value: &Json| if value.is_null() { "not there".into() } else { value.to_string() };
            into.push(Difference { path: path.to_owned(), before: word(before), now: word(now) });
        }
    }
}

/// What a checkpoint says of the job that it is of.
pub fn about(job: &Job, data: &str) -> Result<Json, Fault> {
    let job = toml::to_string(job).map_err(|why| Fault::new(format!("the config cannot be kept: {why}")))?;
    Ok(json!({ "job": job, "data": data }))
}

/// A checksum of all measurements, the same on any number of ranks. Collective: yes, one scalar reduction.
pub fn checksum<S: Scalar>(team: &Team, y: &Vector<S>) -> Result<String, Error> {
    // a sum over blocks, whose place is mixed in; each half of 32 bits wraps, and an f64 adds 2²¹ of them exactly
    let mut halves = [0u32; 2];
    for (index, block) in y.space().blocks().iter().enumerate() {
        if let Some(numbers) = y.block_slice(index).filter(|_| block.placement.owner() == team.rank()) {
            let mut first = crc32fast::Hasher::new_with_initial(index as u32);
            first.update(bytemuck::cast_slice(numbers));
            let first = first.finalize();
            let second = crc32fast::hash(&[first.to_le_bytes(), (index as u32).to_le_bytes()].concat());
            halves = [halves[0].wrapping_add(first), halves[1].wrapping_add(second)];
        }
    }
    let sums = team.sum(halves.map(f64::from))?;
    let [first, second] = sums.map(|sum| sum as u64 as u32);
    Ok(format!("{first:08x}{second:08x}"))
}

/// Marks that the results of a run with checkpoints are written. Collective: no; rank 0 does it.
pub fn mark_finished(results: &Path) {
    let folder = folder_in(results);
    if folder.exists()
        && let Err(error) = fs::write(folder.join(FINISHED), "")
    {
        tracing::warn!("{}: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_what_may_differ_is_not() {
        let text = include_str!("../../configs/demo.toml");
        let job = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|set| set.to_string()).collect();
            serde_json::to_value(Job::from_toml(text, "demo.toml", &set).unwrap()).unwrap()
        };
        let paths = |set: &[&str]| -> Vec<String> {
            let mut all = Vec::new();
            compare("", &job(&[]), &job(set), &mut all);
            all.into_iter().map(|difference| difference.path).collect()
        };
        let refused = |set: &[&str]| paths(set).into_iter().filter(|path| !is_free(path)).collect::<Vec<_>>();
        let free = [
            "solve.method.max_iter=77",
            "solve.tolerance.relative_residual=0.5",
            "run.summation=ordered",
            "run.threads=2",
            "run.lanes=3",
            "output.folder=other",
            "checkpoint.every_iterations=3",
        ];
        assert_eq!((paths(&free).len(), refused(&free)), (free.len(), vec![]));
        assert_eq!(refused(&["run.seed=9"]), ["run.seed"]);
        assert_eq!(refused(&["solve.method.damping=0.5"]), ["solve.method.damping"]);
        assert_eq!(refused(&["model.scalar=f64"]), ["model.scalar"]);
    }
}
