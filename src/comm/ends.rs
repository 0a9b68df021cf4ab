//! The two ends of an operator that moves numbers between ranks: what its vectors must be, and what a rank does whose
//! vectors are not.

use std::sync::Arc;

use super::Team;
use crate::error::{Fault, Phase};
use crate::scalar::Scalar;
use crate::space::{Space, Vector};

/// The spaces on both sides, as seen from one rank of a team.
pub(super) struct Ends {
    /// The operator, in errors.
    name: &'static str,
    pub domain: Arc<Space>,
    pub range: Arc<Space>,
    rank: usize,
    size: usize,
}

impl Ends {
    /// The ends of an operator on the ranks of a team.
    pub fn new(name: &'static str, team: &Team, domain: Arc<Space>, range: Arc<Space>) -> Self {
        Ends { name, domain, range, rank: team.rank(), size: team.size() }
    }

    /// Hands `x` and `y` to `carry`. If one of them is of another space this notes the fault and hands over zeros, since other
    /// ranks wait for messages of the planned lengths.
    pub fn forward<S: Scalar>(
        &self,
        team: &Team,
        x: &Vector<S>,
        y: &mut Vector<S>,
        carry: impl FnOnce(&[S], &mut [S]),
    ) {
        self.pass(team, Phase::Forward, ("x", x, &self.domain), ("y", y, &self.range), carry);
    }

    /// As [`forward`](Self::forward), from `y` to `x`.
    pub fn adjoint<S: Scalar>(
        &self,
        team: &Team,
        y: &Vector<S>,
        x: &mut Vector<S>,
        carry: impl FnOnce(&[S], &mut [S]),
    ) {
        self.pass(team, Phase::Adjoint, ("y", y, &self.range), ("x", x, &self.domain), carry);
    }

    /// A vector with its name, and the space that it should be of, on both sides.
    fn pass<S: Scalar>(
        &self,
        team: &Team,
        phase: Phase,
        from: (&str, &Vector<S>, &Arc<Space>),
        to: (&str, &mut Vector<S>, &Arc<Space>),
        carry: impl FnOnce(&[S], &mut [S]),
    ) {
        if (team.rank(), team.size()) != (self.rank, self.size) {
            let planned = format!("a {} planned for rank {} of {}", self.name, self.rank, self.size);
            let fault = Fault::new(format!("{planned} is called as rank {} of {}", team.rank(), team.size()))
                .hint("pass a team of the ranks that it was planned with, in the same order");
            return team.note(fault.in_phase(phase));
        }
        let fits = self.expect(from.0, from.1.space(), from.2).and_then(|()| self.expect(to.0, to.1.space(), to.2));
        match fits {
            Ok(()) => carry(from.1.as_slice(), to.1.as_mut_slice()),
            Err(fault) => {
                team.note(fault.in_phase(phase));
                carry(Vector::zeros(from.2).as_slice(), Vector::zeros(to.2).as_mut_slice());
            }
        }
    }

    fn expect(&self, name: &str, got: &Space, want: &Space) -> Result<(), Fault> {
        let alike = || want.blocks().iter().map(|block| &block.shape).eq(got.blocks().iter().map(|block| &block.shape));
        if want.same(got) || (self.size == 1 && alike()) {
            return Ok(()); // one rank holds everything, whatever its place is called
        }
        want.expect(got, &format!("{name} of a {}", self.name))
            .map_err(|fault| fault.hint("its `domain` and `range` are the spaces of its vectors"))
    }
}
