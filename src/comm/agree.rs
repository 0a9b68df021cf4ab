//! One rank's fault becomes the same error on all: the slow path, taken only after a raised flag.

use super::{BufMut, Kind, Reduce, Team};
use crate::error::{Error, Fault};

impl Team {
    /// Tells everybody of the fault with the lowest operator index (then rank). Called by all ranks, at least one of
    /// which has a pending fault; afterwards nothing is pending and the team can be used again.
    pub(super) fn raise(&self) -> Error {
        let pending = self.take_pending();
        let comm = self.comm();
        let (rank, size) = (comm.rank(), comm.size());

        let index = match &pending {
            Some(fault) => fault.operator.map_or(u64::MAX - 1, |index| index as u64),
            None => u64::MAX,
        };
        let mut lowest = [index];
        self.meter().count(Kind::Agreement, size_of_val(&lowest));
        comm.all_reduce(BufMut::U64(&mut lowest), Reduce::Min);

        let mut speaker = [if index == lowest[0] { rank as u64 } else { u64::MAX }];
        self.meter().count(Kind::Agreement, size_of_val(&speaker));
        comm.all_reduce(BufMut::U64(&mut speaker), Reduce::Min);
        let mut faulty = [u64::from(pending.is_some())];
        self.meter().count(Kind::Agreement, size_of_val(&faulty));
        comm.all_reduce(BufMut::U64(&mut faulty), Reduce::Sum);

        let speaker = speaker[0] as usize;
        let mine = if rank == speaker { serde_json::to_vec(&pending).unwrap_or_default() } else { Vec::new() };
        let told = self.broadcast_bytes(mine, speaker);
        let fault = serde_json::from_slice::<Option<Fault>>(&told).ok().flatten();
        let fault = fault.unwrap_or_else(|| Fault::new("a rank reported a fault that could not be passed on"));
        Error::agreed(fault, speaker, faulty[0] as usize, size)
    }
}
