//! Ranks as threads of one process: the whole distributed program inside `cargo test`, with injected trouble.
//!
//! Not for speed. Each collective copies through a shared board between two barriers, each message through a letter box that
//! nobody else waits for; sums of vectors may run in shared memory, by the same code as those of processes. A rank that panics breaks the
//! group: the others stop with a message instead of waiting for ever, as under MPI the job is aborted.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Buf, BufMut, Comm, Message, NodeCell, Reduce};

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Injection {
    /// The rank that misbehaves.
    pub rank: usize,
    /// The call that does, a collective one or messages, counted from zero on that rank.
    pub call: usize,
    /// Sleeps this long before the call.
    pub delay: Duration,
    /// Panics instead of calling.
    pub fail: bool,
}

/// Runs `body` on `ranks` threads, each with its communicator, and returns the results in the order of ranks.
///
/// A panic of any rank is passed on to the caller after all ranks have ended.
///
/// ```
/// use stackphys::comm::{Team, threads};
/// let sums = threads::run(3, |comm| Team::new(comm).sum([1.0]).unwrap()[0]);
/// assert_eq!(sums, [3.0, 3.0, 3.0]);
/// ```
pub fn run<T: Send>(ranks: usize, body: impl Fn(Rc<dyn Comm>) -> T + Sync) -> Vec<T> {
    run_with(ranks, Injection { call: usize::MAX, ..Injection::default() }, body)
}

/// As [`run`], with something going wrong on purpose.
pub fn run_with<T: Send>(ranks: usize, injection: Injection, body: impl Fn(Rc<dyn Comm>) -> T + Sync) -> Vec<T> {
    let group = Arc::new(Group::new(ranks, Arc::default()));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (0..ranks)
            .map(|rank| {
                let group = group.clone();
                scope.spawn(move || {
                    let guard = BreakOnPanic(group.clone());
                    let comm = Threads::new(rank, group, injection);
                    let outcome = body(Rc::new(comm));
                    std::mem::forget(guard);
                    outcome
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    // the rank that broke the group, not one that only noticed, is the news
    let news = |panic: &Box<dyn std::any::Any + Send>| panic.downcast_ref::<&str>() == Some(&LOST);
    let mut lost = None;
    let mut results = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(result) => results.push(result),
            Err(panic) if news(&panic) => lost = Some(panic),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    match lost {
        Some(panic) => std::panic::resume_unwind(panic),
        None => results,
    }
}

const LOST: &str = "another rank of this group was lost";

/// What ranks share: a board with one place for each, a letter box, and a barrier that can break.
struct Group {
    ranks: usize,
    state: Mutex<State>,
    turn: Condvar,
    /// Whether a rank of this group, or of one that it was split from, was lost.
    broken: Arc<AtomicBool>,
}

struct State {
    board: Vec<Posted>,
    letters: Vec<Letter>,
    subgroups: Vec<(usize, Arc<Group>)>,
    waiting: usize,
    round: u64,
}

/// A message that has not arrived.
struct Letter {
    from: usize,
    to: usize,
    numbers: Posted,
}

#[derive(Clone, Default)]
enum Posted {
    #[default]
    Nothing,
    F32(Vec<f32>),
    F64(Vec<f64>),
    U64(Vec<u64>),
    U8(Vec<u8>),
}

impl Posted {
    fn len(&self) -> usize {
        match self {
            Posted::Nothing => 0,
            Posted::F32(values) => values.len(),
            Posted::F64(values) => values.len(),
            Posted::U64(values) => values.len(),
            Posted::U8(values) => values.len(),
        }
    }
}

struct BreakOnPanic(Arc<Group>);
impl Drop for BreakOnPanic {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Group {
    fn new(ranks: usize, broken: Arc<AtomicBool>) -> Self {
        let board = vec![Posted::Nothing; ranks];
        let state = State { board, letters: Vec::new(), subgroups: Vec::new(), waiting: 0, round: 0 };
        Group { ranks, state: Mutex::new(state), turn: Condvar::new(), broken }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits any more, here or in a group that this one was split from or into; later calls say so at once.
    fn close(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.turn.notify_all();
    }

    fn stop_if_closed(&self) {
        if self.broken.load(Ordering::SeqCst) {
            std::panic::panic_any(LOST);
        }
    }

    fn meet(&self) {
        self.stop_if_closed(); // else those who caught the news could make up a full round among themselves
        let mut state = self.lock();
        let round = state.round;
        state.waiting += 1;
        if state.waiting == self.ranks {
            state.waiting = 0;
            state.round += 1;
            self.turn.notify_all();
        }
        self.wait(state, |state| (state.round != round).then_some(()));
    }

    /// Waits until there is what `take` looks for.
    fn wait<T>(&self, mut state: MutexGuard<State>, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            if let Some(taken) = take(&mut state) {
                return taken;
            }
            if self.broken.load(Ordering::SeqCst) {
                drop(state);
                std::panic::panic_any(LOST);
            }
            // a rank may be lost in a group that this one was split from: look now and then
            let woken = self.turn.wait_timeout(state, Duration::from_millis(50));
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn send(&self, letter: Letter) {
        self.lock().letters.push(letter);
        self.turn.notify_all();
    }

    /// The first letter from one rank to another, waited for.
    fn receive(&self, from: usize, to: usize) -> Posted {
        self.wait(self.lock(), |state| {
            let first = state.letters.iter().position(|letter| (letter.from, letter.to) == (from, to))?;
            Some(state.letters.remove(first).numbers)
        })
    }
}

/// One rank's handle.
struct Threads {
    rank: usize,
    group: Arc<Group>,
    injection: Injection,
    calls: std::cell::Cell<usize>,
    node: NodeCell,
}

impl Threads {
    fn new(rank: usize, group: Arc<Group>, injection: Injection) -> Self {
        Threads { rank, group, injection, calls: std::cell::Cell::new(0), node: NodeCell::default() }
    }

    /// Lets happen what is to happen on purpose in the next call.
    fn inject(&self) {
        let call = self.calls.replace(self.calls.get() + 1);
        if self.injection.rank == self.rank && self.injection.call == call {
            std::thread::sleep(self.injection.delay);
            assert!(!self.injection.fail, "injected failure on rank {} in collective {call}", self.rank);
        }
    }

    /// Posts this rank's numbers, waits for all, lets `take` read the board, waits again.
    fn collective(&self, mine: Posted, take: impl FnOnce(&[Posted])) {
        self.inject();
        self.group.lock().board[self.rank] = mine;
        self.group.meet();
        take(&self.group.lock().board);
        self.group.meet();
    }
}

impl Comm for Threads {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.group.ranks
    }
    fn host(&self) -> String {
        super::solo::host_name()
    }

    fn broadcast(&self, buffer: BufMut, root: usize) {
        let mine = if self.rank == root { post(buffer.as_buf()) } else { Posted::Nothing };
        self.collective(mine, |board| place(&board[root], 0, buffer, 0));
    }

    fn all_reduce(&self, buffer: BufMut, how: Reduce) {
        self.collective(post(buffer.as_buf()), |board| match buffer {
            BufMut::F32(out) => combine(board, out, how, |p| if let Posted::F32(v) = p { Some(v) } else { None }),
            BufMut::F64(out) => combine(board, out, how, |p| if let Posted::F64(v) = p { Some(v) } else { None }),
            BufMut::U64(out) => combine(board, out, how, |p| if let Posted::U64(v) = p { Some(v) } else { None }),
            BufMut::U8(out) => combine(board, out, how, |p| if let Posted::U8(v) = p { Some(v) } else { None }),
        });
    }

    fn gather(&self, send: Buf, mut receive: BufMut, counts: &[usize], root: Option<usize>) {
        self.collective(post(send), |board| {
            if root.is_none_or(|root| root == self.rank) {
                let mut at = 0;
                for (posted, count) in board.iter().zip(counts) {
                    at = place_part(posted, 0, *count, &mut receive, at);
                }
            }
        });
    }

    fn exchange(&self, send: Buf, send_counts: &[usize], mut receive: BufMut, receive_counts: &[usize]) {
        // two rounds: where each rank's pieces begin, then the pieces
        let mut starts = Vec::new();
        let mine = send_counts.iter().map(|n| *n as u64).collect();
        self.collective(Posted::U64(mine), |board| {
            for posted in board {
                let Posted::U64(counts) = posted else { unreachable!("all ranks posted counts") };
                starts.push(counts[..self.rank].iter().sum::<u64>() as usize);
                assert_eq!(counts[self.rank] as usize, receive_counts[starts.len() - 1], "exchange: counts differ");
            }
        });
        self.collective(post(send), |board| {
            let mut at = 0;
            for ((posted, start), count) in board.iter().zip(starts).zip(receive_counts) {
                at = place_part(posted, start, *count, &mut receive, at);
            }
        });
    }

    fn messages(&self, send: Buf, to: &[Message], mut receive: BufMut, from: &[Message]) {
        self.inject();
        self.group.stop_if_closed();
        for Message { rank, range } in to {
            self.group.send(Letter { from: self.rank, to: *rank, numbers: post(send.part(range.clone())) });
        }
        for Message { rank, range } in from {
            let numbers = self.group.receive(*rank, self.rank);
            assert_eq!(numbers.len(), range.len(), "messages: rank {rank} sends another length than planned");
            place(&numbers, 0, receive.part_mut(range.clone()), 0);
        }
    }

    fn barrier(&self) {
        self.collective(Posted::Nothing, |_| ());
    }

    fn split(&self, colour: Option<usize>, key: usize) -> Option<Rc<dyn Comm>> {
        let mine = vec![colour.map_or(u64::MAX, |colour| colour as u64), key as u64];
        let mut members = Vec::new();
        self.collective(Posted::U64(mine), |board| {
            for (rank, posted) in board.iter().enumerate() {
                let Posted::U64(theirs) = posted else { unreachable!("all ranks posted a colour") };
                if colour.is_some_and(|colour| colour as u64 == theirs[0]) {
                    members.push((theirs[1], rank));
                }
            }
        });
        members.sort_unstable();
        let place = members.iter().position(|(_, rank)| *rank == self.rank);
        if let (Some(0), Some(colour)) = (place, colour) {
            self.group.lock().subgroups.push((colour, Arc::new(Group::new(members.len(), self.group.broken.clone()))));
        }
        self.barrier();
        let subgroup = colour.and_then(|colour| {
            self.group.lock().subgroups.iter().find(|(of, _)| *of == colour).map(|(_, group)| group.clone())
        });
        self.barrier();
        self.group.lock().subgroups.clear();
        self.barrier();
        let injection = Injection { call: usize::MAX, ..self.injection };
        place.zip(subgroup).map(|(rank, group)| Rc::new(Threads::new(rank, group, injection)) as Rc<dyn Comm>)
    }

    fn abort(&self, status: i32) -> ! {
        panic!("rank {} aborted the job with status {status}", self.rank)
    }
    fn node(&self) -> Option<&NodeCell> {
        Some(&self.node)
    }
    fn breathe(&self) {
        self.group.stop_if_closed();
    }
    fn lost(&self) {
        self.group.close();
    }
}

fn post(buffer: Buf) -> Posted {
    match buffer {
        Buf::F32(values) => Posted::F32(values.to_vec()),
        Buf::F64(values) => Posted::F64(values.to_vec()),
        Buf::U64(values) => Posted::U64(values.to_vec()),
        Buf::U8(values) => Posted::U8(values.to_vec()),
    }
}

fn place(posted: &Posted, start: usize, mut into: BufMut, at: usize) {
    let count = match &into {
        BufMut::F32(values) => values.len(),
        BufMut::F64(values) => values.len(),
        BufMut::U64(values) => values.len(),
        BufMut::U8(values) => values.len(),
    };
    place_part(posted, start, count, &mut into, at);
}

/// Copies `count` posted numbers from `start` to `at`, and returns the place behind them.
fn place_part(posted: &Posted, start: usize, count: usize, into: &mut BufMut, at: usize) -> usize {
    let (from, to) = (start..start + count, at..at + count);
    match (posted, into) {
        (Posted::F32(values), BufMut::F32(out)) => out[to].copy_from_slice(&values[from]),
        (Posted::F64(values), BufMut::F64(out)) => out[to].copy_from_slice(&values[from]),
        (Posted::U64(values), BufMut::U64(out)) => out[to].copy_from_slice(&values[from]),
        (Posted::U8(values), BufMut::U8(out)) => out[to].copy_from_slice(&values[from]),
        _ => panic!("ranks used different types in one collective"),
    }
    at + count
}

fn combine<T: Copy + PartialOrd + std::ops::Add<Output = T>>(
    board: &[Posted],
    out: &mut [T],
    how: Reduce,
    as_slice: impl Fn(&Posted) -> Option<&Vec<T>>,
) {
    let all: Vec<&Vec<T>> = board.iter().filter_map(as_slice).collect();
    assert_eq!(all.len(), board.len(), "ranks used different types in one collective");
    assert!(all.iter().all(|values| values.len() == out.len()), "ranks used different lengths in one collective");
    for (k, out) in out.iter_mut().enumerate() {
        let numbers = all.iter().map(|values| values[k]);
        let combined = match how {
            Reduce::Sum => numbers.reduce(|a, b| a + b),
            Reduce::Max => numbers.reduce(|a, b| if b > a { b } else { a }),
            Reduce::Min => numbers.reduce(|a, b| if b < a { b } else { a }),
        };
        *out = combined.unwrap_or(*out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::Team;

    #[test]
    fn collectives_on_any_number_of_ranks() {
        for ranks in 1..=4 {
            run(ranks, |comm| {
                let rank = comm.rank();
                let mut numbers = [rank as f64, 1.0];
                comm.all_reduce(BufMut::F64(&mut numbers), Reduce::Sum);
                assert_eq!(numbers, [(ranks * (ranks - 1) / 2) as f64, ranks as f64]);

                let counts: Vec<usize> = (0..ranks).collect();
                let mut all = vec![99; ranks * (ranks - 1) / 2];
                comm.gather(Buf::U64(&vec![rank as u64; rank]), BufMut::U64(&mut all), &counts, None);
                let expected: Vec<u64> = (0..ranks).flat_map(|r| vec![r as u64; r]).collect();
                assert_eq!(all, expected);

                // rank r sends r + 1 numbers 10·r + s to rank s
                let send: Vec<f32> = (0..ranks).flat_map(|s| vec![(10 * rank + s) as f32; rank + 1]).collect();
                let receive_counts: Vec<usize> = (1..=ranks).collect();
                let mut received = vec![0.0; receive_counts.iter().sum()];
                comm.exchange(Buf::F32(&send), &vec![rank + 1; ranks], BufMut::F32(&mut received), &receive_counts);
                let expected: Vec<f32> = (0..ranks).flat_map(|r| vec![(10 * r + rank) as f32; r + 1]).collect();
                assert_eq!(received, expected);

                // two messages to each rank, itself included, the second longer by one
                let send: Vec<u64> = (0..100).map(|k| 100 * rank as u64 + k).collect();
                let to = |s: usize, second: usize| Message { rank: s, range: 10 * s..10 * s + 1 + second };
                let to: Vec<Message> = (0..ranks).flat_map(|s| [to(s, 0), to(s, 1)]).collect();
                let from =
                    |r: usize, second: usize| Message { rank: r, range: 4 * r + 2 * second..4 * r + 1 + 3 * second };
                let from: Vec<Message> = (0..ranks).flat_map(|r| [from(r, 0), from(r, 1)]).collect();
                let mut received = vec![7; 4 * ranks];
                comm.messages(Buf::U64(&send), &to, BufMut::U64(&mut received), &from);
                let first = |r: usize| 100 * r as u64 + 10 * rank as u64;
                let expected: Vec<u64> = (0..ranks).flat_map(|r| [first(r), 7, first(r), first(r) + 1]).collect();
                assert_eq!(received, expected);
            });
        }
    }

    #[test]
    fn a_group_splits_by_colour() {
        let sizes = run(4, |comm| {
            let colour = if comm.rank() == 3 { None } else { Some(comm.rank() % 2) };
            Team::new(comm).split(colour).map(|team| (team.rank(), team.size(), team.sum([1.0]).unwrap()[0]))
        });
        assert_eq!(sizes, [Some((0, 2, 2.0)), Some((0, 1, 1.0)), Some((1, 2, 2.0)), None]);
    }

    #[test]
    #[should_panic(expected = "injected failure on rank 1 in collective 2")]
    fn a_lost_rank_ends_the_group() {
        let injection = Injection { rank: 1, call: 2, fail: true, ..Injection::default() };
        run_with(3, injection, |comm| (0..5).for_each(|_| comm.barrier()));
    }

    #[test]
    #[should_panic(expected = "injected failure on rank 1 in collective 1")]
    fn nobody_waits_for_a_message_of_a_lost_rank() {
        let injection = Injection { rank: 1, call: 1, fail: true, ..Injection::default() };
        run_with(2, injection, |comm| {
            comm.barrier();
            let other = [Message { rank: 1 - comm.rank(), range: 0..1 }];
            comm.messages(Buf::U64(&[1]), &other, BufMut::U64(&mut [0]), &other);
        });
    }
}
