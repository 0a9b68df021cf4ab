//! Ranks as MPI processes. The only file that names rsmpi: it checks lengths, cuts what is too long for a C `int`, and
//! ends the job when a rank panics (without that, the others would wait for ever).

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::rc::Rc;

use mpi::collective::SystemOperation;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::request::{Request, Scope, scope};
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{AsRaw, Communicator, CommunicatorCollectives, Destination, Equivalence, Root, Source};

use super::shared::{FACTS, cores, facts as facts_of};
use super::{Buf, BufMut, Comm, MESSAGE, Message, NodeCell, Reduce, lifeline, signs};

/// Whether this process was started by `mpirun`, `mpiexec` or `srun` as one of several.
///
/// Collective: no. A process that was not is better served by [`Solo`](super::Solo): starting MPI takes a while.
pub fn launched() -> bool {
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_SIZE"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

/// MPI itself, from its start to its end. Dropping it ends MPI, so it must outlive every communicator in use.
pub struct Session {
    world: Rc<Mpi>, // before the universe, since its sub-communicators cannot outlive MPI
    _universe: Universe,
}

impl Session {
    /// Starts MPI. `None` if it was started before.
    ///
    /// From here on a panic on any rank, unless something catches it, ends the whole job at once with status 101 and a
    /// message that names rank and host.
    pub fn start() -> Option<Session> {
        // funneled: only the thread that started MPI talks; the pool's threads compute
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled)?;
        let world = universe.world();
        let yields = waits_without_yielding() && is_crowded(&world);
        let world = Rc::new(Mpi::new(world, yields));
        let (rank, host) = (world.rank(), world.host());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if crate::stack::panic_is_caught() {
                return; // a guarded operator: it becomes a fault
            }
            before(panic);
            eprintln!(
                "error: rank {rank} on host {host} panicked: {panic}\n  help: this is a defect of the program or of an operator; the job is ended on all ranks"
            );
            lifeline::told();
            SimpleCommunicator::world().abort(101);
        }));
        Some(Session { world, _universe: universe })
    }

    /// All ranks of the job.
    pub fn world(&self) -> Rc<dyn Comm> {
        self.world.clone()
    }
}

/// The MPI library, in its own words: the first line of them. Collective: no.
pub fn library() -> String {
    let version = mpi::environment::library_version().unwrap_or_default();
    version.lines().next().unwrap_or_default().trim_end_matches('\0').to_owned()
}

/// `MPI_IN_PLACE`, if the library is one whose value is known. An address in a macro of C, which rsmpi does not pass on.
///
/// On 2 ranks a CG iteration of 2²⁰ `f64` takes three quarters of the time with it that it takes if sums are copied back.
fn in_place() -> Option<isize> {
    if is_library(&["Open MPI"]) {
        Some(1)
    } else if is_library(&["MPICH", "MVAPICH", "Intel(R) MPI"]) {
        Some(-1) // they share a binary interface
    } else {
        None
    }
}

/// Whether the MPI library calls itself by one of these names.
fn is_library(names: &[&str]) -> bool {
    let library = mpi::environment::library_version().unwrap_or_default();
    names.iter().any(|name| library.contains(name))
}

/// Whether ranks that wait in the library never let others run. Open MPI does where a host has more ranks than cores, MPICH
/// does not: three ranks on two cores then take a time slice of the system for each message.
fn waits_without_yielding() -> bool {
    !is_library(&["Open MPI"])
}

/// Whether some host has more ranks than cores. Collective: yes.
fn is_crowded(world: &SimpleCommunicator) -> bool {
    let host = world.split_shared(world.rank());
    let mut facts = vec![0; FACTS * host.size() as usize];
    host.all_gather_into(&facts_of("")[..], &mut facts[..]);
    let ranks: Vec<&[u64]> = facts.chunks(FACTS).collect();
    let mut anywhere = false;
    world.all_reduce_into(&(ranks.len() > cores(&ranks)), &mut anywhere, SystemOperation::logical_or());
    anywhere
}

struct Mpi {
    node: NodeCell, // before the communicator that it was split from
    comm: SimpleCommunicator,
    /// Whether to look whether a call is done and let other ranks run in between, as the library does not do it.
    yields: bool,
    in_place: Option<isize>,
    /// Where sums arrive if they cannot be made in place.
    scratch: RefCell<Scratch>,
}

#[derive(Default)]
struct Scratch {
    f32: Vec<f32>,
    f64: Vec<f64>,
    u64: Vec<u64>,
    u8: Vec<u8>,
}

impl Mpi {
    fn new(comm: SimpleCommunicator, yields: bool) -> Self {
        let in_place = in_place().filter(|_| !yields); // there is no such way to wait and yield
        Mpi { node: NodeCell::default(), comm, yields, in_place, scratch: RefCell::default() }
    }

    /// Waits for what was begun.
    fn wait<'a, D: ?Sized, S: Scope<'a>>(&self, mut request: Request<'a, D, S>) {
        if !self.yields {
            return request.wait_without_status();
        }
        while let Err(again) = request.test() {
            request = again;
            std::thread::yield_now();
        }
    }

    fn reduce<T: Equivalence + Copy + Default>(&self, values: &mut [T], scratch: &mut Vec<T>, how: Reduce) {
        let operation = match how {
            Reduce::Sum => SystemOperation::sum(),
            Reduce::Max => SystemOperation::max(),
            Reduce::Min => SystemOperation::min(),
        };
        let Some(in_place) = self.in_place else {
            scratch.resize(scratch.len().max(values.len().min(MESSAGE)), T::default());
            for piece in values.chunks_mut(MESSAGE) {
                let result = &mut scratch[..piece.len()];
                if self.yields {
                    scope(|scope| {
                        self.wait(self.comm.immediate_all_reduce_into(scope, &*piece, &mut *result, operation));
                    });
                } else {
                    self.comm.all_reduce_into(&*piece, result, operation);
                }
                piece.copy_from_slice(result);
            }
            return;
        };
        for piece in values.chunks_mut(MESSAGE) {
            // SAFETY: what rsmpi's `all_reduce_into` passes for `piece`, which is borrowed mutably, but for the first
            // argument: with this value, which is the library's own, terms are taken from where the result goes
            unsafe {
                mpi::ffi::MPI_Allreduce(
                    in_place as *const c_void,
                    piece.as_mut_ptr().cast(),
                    piece.len() as c_int,
                    T::equivalent_datatype().as_raw(),
                    operation.as_raw(),
                    self.comm.as_raw(),
                );
            }
        }
    }

    fn broadcast_slice<T: Equivalence>(&self, values: &mut [T], root: usize) {
        for piece in values.chunks_mut(MESSAGE) {
            let root = self.comm.process_at_rank(root as i32);
            if self.yields {
                scope(|scope| self.wait(root.immediate_broadcast_into(scope, piece)));
            } else {
                root.broadcast_into(piece);
            }
        }
    }

    /// Straight into its place, in rounds over so much of the result that no count or displacement passes a C `int`.
    fn gather_slice<T: Equivalence>(&self, send: &[T], receive: &mut [T], counts: &[usize], root: Option<usize>) {
        assert_eq!(send.len(), counts[self.rank()], "gather: rank {} sends another length than planned", self.rank());
        let gets = root.is_none_or(|root| root == self.rank());
        assert!(!gets || receive.len() == counts.iter().sum::<usize>(), "gather: the receive buffer does not fit");
        let mut sent = 0;
        for (window, counts) in rounds(counts, i32::MAX as usize) {
            let mine = &send[sent..][..counts[self.rank()] as usize];
            sent += mine.len();
            let starts = starts(&counts);
            let mut into = gets.then(|| PartitionMut::new(&mut receive[window], &counts[..], &starts[..]));
            let root = root.map(|root| self.comm.process_at_rank(root as i32));
            if self.yields {
                scope(|scope| match (&root, &mut into) {
                    (Some(root), Some(into)) => {
                        self.wait(root.immediate_gather_varcount_into_root(scope, mine, into));
                    }
                    (Some(root), None) => self.wait(root.immediate_gather_varcount_into(scope, mine)),
                    (None, Some(into)) => self.wait(self.comm.immediate_all_gather_varcount_into(scope, mine, into)),
                    (None, None) => unreachable!("without a root everybody gets all"),
                });
                continue;
            }
            match (root, &mut into) {
                (Some(root), Some(into)) => root.gather_varcount_into_root(mine, into),
                (Some(root), None) => root.gather_varcount_into(mine),
                (None, Some(into)) => self.comm.all_gather_varcount_into(mine, into),
                (None, None) => unreachable!("without a root everybody gets all"),
            }
        }
    }

    fn exchange_slice<T: Equivalence>(&self, send: &[T], send_counts: &[usize], receive: &mut [T], counts: &[usize]) {
        assert_eq!(send.len(), send_counts.iter().sum::<usize>(), "exchange: the send buffer does not fit");
        assert_eq!(receive.len(), counts.iter().sum::<usize>(), "exchange: the receive buffer does not fit");
        let narrow = |counts: &[usize]| -> Vec<i32> {
            assert!(counts.iter().sum::<usize>() <= i32::MAX as usize, "exchange: more than 2³¹ elements on one rank");
            counts.iter().map(|n| *n as i32).collect()
        };
        let (send_counts, counts) = (narrow(send_counts), narrow(counts));
        let (send_starts, receive_starts) = (starts(&send_counts), starts(&counts));
        let from = Partition::new(send, &send_counts[..], &send_starts[..]);
        let mut to = PartitionMut::new(receive, &counts[..], &receive_starts[..]);
        if self.yields {
            scope(|scope| self.wait(self.comm.immediate_all_to_all_varcount_into(scope, &from, &mut to)));
        } else {
            self.comm.all_to_all_varcount_into(&from, &mut to);
        }
    }

    /// Long ones go in pieces. Receives are ready before anything is sent, so that nothing is kept elsewhere on the way.
    fn message_slices<T: Equivalence>(&self, send: &[T], to: &[Message], receive: &mut [T], from: &[Message]) {
        let rises = from.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start);
        assert!(rises, "messages: what is received does not lie one behind the other");
        scope(|scope| {
            let mut requests = Vec::with_capacity(to.len() + from.len());
            let (mut rest, mut at) = (receive, 0);
            for Message { rank, range } in from {
                let (into, behind) = std::mem::take(&mut rest)[range.start - at..].split_at_mut(range.len());
                (rest, at) = (behind, range.end);
                let source = self.comm.process_at_rank(*rank as i32);
                requests.extend(into.chunks_mut(MESSAGE).map(|piece| source.immediate_receive_into(scope, piece)));
            }
            for Message { rank, range } in to {
                let target = self.comm.process_at_rank(*rank as i32);
                let pieces = send[range.clone()].chunks(MESSAGE);
                requests.extend(pieces.map(|piece| target.immediate_send(scope, piece)));
            }
            for request in requests {
                self.wait(request);
            }
        });
    }
}

/// Cuts the parts of all ranks, one behind the other, into windows of a length; with how much of each part lies there.
fn rounds(counts: &[usize], length: usize) -> impl Iterator<Item = (Range<usize>, Vec<i32>)> {
    let total: usize = counts.iter().sum();
    (0..total).step_by(length).map(move |begin| {
        let window = begin..(begin + length).min(total);
        let mut start = 0;
        let overlap = |count: &usize| {
            let part = start..start + count;
            start = part.end;
            part.end.min(window.end).saturating_sub(part.start.max(window.start)) as i32
        };
        let inside = counts.iter().map(overlap).collect();
        (window, inside)
    })
}

fn starts(counts: &[i32]) -> Vec<i32> {
    counts
        .iter()
        .scan(0, |at, n| {
            let start = *at;
            *at += n;
            Some(start)
        })
        .collect()
}

impl Comm for Mpi {
    fn rank(&self) -> usize {
        self.comm.rank() as usize
    }
    fn size(&self) -> usize {
        self.comm.size() as usize
    }
    fn host(&self) -> String {
        mpi::environment::processor_name().unwrap_or_else(|_| super::solo::host_name())
    }
    fn broadcast(&self, buffer: BufMut, root: usize) {
        let _waits = signs::waiting();
        match buffer {
            BufMut::F32(values) => self.broadcast_slice(values, root),
            BufMut::F64(values) => self.broadcast_slice(values, root),
            BufMut::U64(values) => self.broadcast_slice(values, root),
            BufMut::U8(values) => self.broadcast_slice(values, root),
        }
    }
    fn all_reduce(&self, buffer: BufMut, how: Reduce) {
        let _waits = signs::waiting();
        let scratch = &mut *self.scratch.borrow_mut();
        match buffer {
            BufMut::F32(values) => self.reduce(values, &mut scratch.f32, how),
            BufMut::F64(values) => self.reduce(values, &mut scratch.f64, how),
            BufMut::U64(values) => self.reduce(values, &mut scratch.u64, how),
            BufMut::U8(values) => self.reduce(values, &mut scratch.u8, how),
        }
    }
    fn gather(&self, send: Buf, receive: BufMut, counts: &[usize], root: Option<usize>) {
        let _waits = signs::waiting();
        match (send, receive) {
            (Buf::F32(send), BufMut::F32(receive)) => self.gather_slice(send, receive, counts, root),
            (Buf::F64(send), BufMut::F64(receive)) => self.gather_slice(send, receive, counts, root),
            (Buf::U64(send), BufMut::U64(receive)) => self.gather_slice(send, receive, counts, root),
            (Buf::U8(send), BufMut::U8(receive)) => self.gather_slice(send, receive, counts, root),
            _ => panic!("gather: different types to send and to receive"),
        }
    }
    fn exchange(&self, send: Buf, send_counts: &[usize], receive: BufMut, receive_counts: &[usize]) {
        let _waits = signs::waiting();
        match (send, receive) {
            (Buf::F32(send), BufMut::F32(receive)) => self.exchange_slice(send, send_counts, receive, receive_counts),
            (Buf::F64(send), BufMut::F64(receive)) => self.exchange_slice(send, send_counts, receive, receive_counts),
            (Buf::U64(send), BufMut::U64(receive)) => self.exchange_slice(send, send_counts, receive, receive_counts),
            (Buf::U8(send), BufMut::U8(receive)) => self.exchange_slice(send, send_counts, receive, receive_counts),
            _ => panic!("exchange: different types to send and to receive"),
        }
    }
    fn messages(&self, send: Buf, to: &[Message], receive: BufMut, from: &[Message]) {
        let _waits = signs::waiting();
        match (send, receive) {
            (Buf::F32(send), BufMut::F32(receive)) => self.message_slices(send, to, receive, from),
            (Buf::F64(send), BufMut::F64(receive)) => self.message_slices(send, to, receive, from),
            (Buf::U64(send), BufMut::U64(receive)) => self.message_slices(send, to, receive, from),
            (Buf::U8(send), BufMut::U8(receive)) => self.message_slices(send, to, receive, from),
            _ => panic!("messages: different types to send and to receive"),
        }
    }
    fn barrier(&self) {
        let _waits = signs::waiting();
        if self.yields {
            self.wait(self.comm.immediate_barrier());
        } else {
            self.comm.barrier();
        }
    }
    fn split(&self, colour: Option<usize>, key: usize) -> Option<Rc<dyn Comm>> {
        let _waits = signs::waiting();
        let colour = colour.map_or_else(Color::undefined, |colour| Color::with_value(colour as i32));
        self.comm
            .split_by_color_with_key(colour, key as i32)
            .map(|comm| Rc::new(Mpi::new(comm, self.yields)) as Rc<dyn Comm>)
    }
    fn abort(&self, status: i32) -> ! {
        self.comm.abort(status)
    }
    fn node(&self) -> Option<&NodeCell> {
        Some(&self.node)
    }
    fn breathe(&self) {
        let _ = self.comm.any_process().immediate_probe(); // any call lets the library progress
    }
    /// Only after a panic that the hook let pass, inside a guarded call: there is no way back into the sequence of calls.
    fn lost(&self) {
        eprintln!(
            "error: rank {} on host {} panicked between collective calls\n  help: operators and factories must not communicate; the job is ended on all ranks",
            SimpleCommunicator::world().rank(),
            self.host()
        );
        lifeline::told();
        SimpleCommunicator::world().abort(101)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_cover_each_part_once_and_in_order() {
        for counts in [vec![3, 0, 7, 1], vec![0, 0, 5], vec![10], vec![4, 4, 4]] {
            let total: usize = counts.iter().sum();
            for length in [1, 2, 3, 4, 5, total, 100] {
                let (mut end, mut sums) = (0, vec![0; counts.len()]);
                for (window, inside) in rounds(&counts, length) {
                    assert_eq!((window.start, inside.iter().sum::<i32>() as usize), (end, window.len()));
                    assert!(window.len() <= length && !window.is_empty());
                    // the parts of a window lie there in the order of ranks: of a later rank only after all of an earlier
                    for rank in 0..counts.len() {
                        sums[rank] += inside[rank] as usize;
                        assert!(inside[rank] == 0 || (0..rank).all(|before| sums[before] == counts[before]));
                    }
                    end = window.end;
                }
                assert_eq!((end, &sums), (total, &counts));
            }
        }
        assert_eq!(rounds(&[0, 0], 3).count(), 0);
    }
}
