//! A sub-team for a while: some ranks do one thing, others another, and all meet again.
//!
//! A scope closes when its body has ended, however it ends: by a result, an error or a panic. So nested scopes close
//! inside out, each of them once, and all ranks of a sub-team give its communicator back at the same place, as MPI wants
//! it (`MPI_Comm_free` is collective). A team that is dropped just anywhere does not promise that.
//!
//! A panic is not an error. Who panics has left the sequence of collective calls, and the others would wait for ever; so
//! the job ends. Under MPI the hook of a session ends it before anything unwinds. On threads the scopes close on the way
//! out, and the whole group with them: every other rank stops at its next collective call, also if the panic is caught.
//! On one process nobody waits, and who catches the panic may go on.

use std::rc::Rc;

use tracing::span::EnteredSpan;

use super::agree::Pending;
use super::{Comm, Team};
use crate::error::{Error, Fault};

impl Team {
    /// Runs `body` on the sub-team of all ranks with the same colour, while other colours do something else; a rank without
    /// a colour does nothing, and gets `None`. The sub-team ends with the body.
    ///
    /// Scopes may be nested. What the body makes of its team, a stack for example, must not outlive it; vectors and numbers
    /// may. What is sent inside counts on the sub-team's meter. Opening and closing is logged at the level `debug`, in a span
    /// `scope`.
    ///
    /// Collective: yes, a split, and one scalar reduction at the end, which settles. Errors: an error of any sub-team, on all
    /// ranks of this team: of several the one with the lowest operator index, with the rank that had the fault; a fault that
    /// a body left pending; a sub-team that outlives its scope. The team is usable afterwards. Panics: a panic in an operator
    /// is an error, as everywhere; any other ends the job.
    ///
    /// ```
    /// use stackphys::comm::{Team, threads};
    /// use stackphys::physics::Diagonal;
    /// use stackphys::stack::{Description, FromFn, Stack};
    /// use stackphys::{Error, Shape};
    /// let line = Shape::new([("x", 3)]);
    /// let weights = FromFn::new( // [I; 2 I; 3 I; 4 I]
    ///     4,
    ///     |i| Ok(Description::new(format!("weight {i}"), line.clone(), line.clone())),
    ///     |i| Ok(Box::new(Diagonal::new([("x", 3)], vec![1.0 + i as f64; 3])?) as _),
    /// );
    /// let results = threads::run(3, |comm| {
    ///     let team = Team::new(comm);
    ///     let colour = usize::from(team.rank() == 2);
    ///     team.scope(Some(colour), |part| {
    ///         if colour == 1 {
    ///             return Ok(0.0); // rank 2 does something else
    ///         }
    ///         let stack = Stack::build(part, &weights, Default::default())?; // two operators on each of ranks 0 and 1
    ///         let (mut x, mut out) = (stack.zero_model(), stack.zero_model());
    ///         x.fill(1.0);
    ///         stack.normal(&x, &mut out)?;
    ///         Ok(out.as_slice()[0])
    ///     })
    /// });
    /// let values = results.into_iter().collect::<Result<Vec<_>, Error>>()?;
    /// assert_eq!(values, [Some(30.0), Some(30.0), Some(0.0)]); // 1 + 4 + 9 + 16
    /// # Ok::<(), Error>(())
    /// ```
    pub fn scope<T>(
        &self,
        colour: Option<usize>,
        body: impl FnOnce(Team) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let here = colour.zip(self.split(colour));
        let value = here.and_then(|(colour, team)| self.inside(colour, team, body));
        self.settle().map(|()| value)
    }

    /// What the body gives on this rank's sub-team. Without a value a fault is noted.
    fn inside<T>(&self, colour: usize, team: Team, body: impl FnOnce(Team) -> Result<T, Error>) -> Option<T> {
        let (rank, left) = (team.rank(), team.pending().clone());
        let scope = Open::new(colour, &team); // dropped last, so the body's own things have gone
        let outcome = body(team);
        if let Some(left) = left.take() {
            self.remember(left);
        }
        match outcome {
            Ok(value) if scope.is_alone() => Some(value),
            Ok(_) => {
                self.note(
                    Fault::new(format!("a team or a stack of scope {colour} outlives it"))
                        .hint("return vectors or numbers from the body, and drop what communicates"),
                );
                None
            }
            Err(error) => {
                self.remember(Pending::of_sub_team(error, rank));
                None
            }
        }
    }
}

/// A scope of this rank. Dropping it closes the scope.
struct Open {
    colour: usize,
    comm: Rc<dyn Comm>,
    _span: EnteredSpan,
}

impl Open {
    fn new(colour: usize, team: &Team) -> Self {
        let span = tracing::debug_span!("scope", colour, ranks = team.size()).entered();
        tracing::debug!("scope {colour} opened");
        Open { colour, comm: team.comm_handle(), _span: span }
    }

    /// Whether nobody else holds the communicator any more.
    fn is_alone(&self) -> bool {
        Rc::strong_count(&self.comm) == 1
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let colour = self.colour;
        if std::thread::panicking() {
            self.comm.lost();
            tracing::debug!("scope {colour} closed by a panic");
        } else {
            tracing::debug!("scope {colour} closed");
        }
    }
}
