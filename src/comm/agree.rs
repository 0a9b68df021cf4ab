//! One rank's fault becomes the same error on all: the slow path, taken only after a raised flag.

use super::{BufMut, Kind, Reduce, Team};
use crate::error::{Error, Fault};

/// A fault that waits for the next agreement.
pub(super) struct Pending {
    fault: Fault,
    /// How many ranks had it. None if another rank tells it too, and is the one to be named.
    ranks: usize,
}

impl Pending {
    /// A fault of this rank.
    pub fn own(fault: Fault) -> Self {
        Pending { fault, ranks: 1 }
    }

    /// An error of a sub-team, in which this rank has the given number. All its ranks tell it, but the one that had the
    /// fault is named.
    pub fn of_sub_team(error: Error, rank: usize) -> Self {
        let ranks = if error.rank() == rank { error.ranks() } else { 0 };
        Pending { fault: error.into_fault(), ranks }
    }

    /// The lowest is told: by operator, and of one operator those who had the fault before those who heard of it.
    fn order(&self) -> u64 {
        let operator = self.fault.operator.map_or(NO_OPERATOR, |index| index as u64);
        2 * operator + u64::from(self.ranks == 0)
    }
}

/// Behind all operators, and its order is below [`NOTHING`].
const NO_OPERATOR: u64 = NOTHING / 4;
/// The order of a rank that has nothing to tell. No higher, since MPICH 4.0 compares unsigned numbers as if they had a sign.
const NOTHING: u64 = i64::MAX as u64;

impl Team {
    /// Keeps what is to be told in the next agreement: of several, the lowest.
    pub(super) fn remember(&self, new: Pending) {
        let mut pending = self.pending().borrow_mut();
        if pending.as_ref().is_none_or(|before| new.order() < before.order()) {
            *pending = Some(new);
        }
    }

    /// Tells everybody of the fault with the lowest operator index (then rank). Called by all ranks, at least one of
    /// which has a pending fault; afterwards nothing is pending and the team can be used again.
    pub(super) fn raise(&self) -> Error {
        let pending = self.pending().take();
        let comm = self.comm();
        let (rank, size) = (comm.rank(), comm.size());

        let order = pending.as_ref().map_or(NOTHING, Pending::order);
        let mut lowest = [order];
        self.meter().count(Kind::Agreement, size_of_val(&lowest));
        comm.all_reduce(BufMut::U64(&mut lowest), Reduce::Min);

        let mut speaker = [if order == lowest[0] { rank as u64 } else { NOTHING }];
        self.meter().count(Kind::Agreement, size_of_val(&speaker));
        comm.all_reduce(BufMut::U64(&mut speaker), Reduce::Min);
        let mut faulty = [pending.as_ref().map_or(0, |pending| pending.ranks as u64)];
        self.meter().count(Kind::Agreement, size_of_val(&faulty));
        comm.all_reduce(BufMut::U64(&mut faulty), Reduce::Sum);

        let speaker = speaker[0] as usize;
        let told = pending.filter(|_| rank == speaker).map(|pending| pending.fault);
        let told = if rank == speaker { serde_json::to_vec(&told).unwrap_or_default() } else { Vec::new() };
        let told = self.broadcast_bytes(told, speaker);
        let fault = serde_json::from_slice::<Option<Fault>>(&told).ok().flatten();
        let fault = fault.unwrap_or_else(|| Fault::new("a rank reported a fault that could not be passed on"));
        Error::agreed(fault, speaker, faulty[0].max(1) as usize, size)
    }
}
