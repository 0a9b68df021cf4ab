//! A team: the only door to the communicator. It adds agreement on faults, a meter, and the mode of summation.
//!
//! A local fault stays **pending** while the rank goes on with the same sequence of collectives as all others. Every
//! reduction carries a flag in a spare element, which costs nothing. Only a raised flag starts the slow path, after which
//! every rank returns the same [`Error`] and the team is usable again. So no rank is ever left alone in a collective.
//!
//! Numbers that decide something (stop, branch, fail) are equal on all ranks. A clock is not: rank 0 reads it, and it
//! travels as a spare element too ([`Team::seconds`]), and so does the wish of somebody outside that the ranks stop
//! ([`Team::asked_to_stop`]), which may reach any one of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::agree::Pending;
use super::shared::{Buffer, Leaves, Node};
use super::spare::Spare;
use super::{BufMut, Comm, Kind, Message, Meter, Reduce, Solo};
use crate::error::{Error, Fault};
use crate::scalar::{Real, Scalar};
use crate::space::{SPARE, Space, Vector};

/// How contributions of operators are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Summation {
    /// One all-reduce; the last bits depend on the number of ranks.
    #[default]
    Fast,
    /// A fixed tree over the operator index: the same bits on any number of ranks, for more traffic.
    Ordered,
}

/// How sums of vectors over ranks are asked to be made. Never changes what is summed; with fast summation on three ranks or
/// more it may change the last bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// In memory that the ranks of a host share, unless a host has more ranks than cores or the memory cannot be had.
    #[default]
    Auto,
    /// By messages.
    Messages,
    /// In shared memory if it can be had, whatever the number of cores.
    Shared,
}

/// How sums of vectors over ranks are made. Equal on all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// By messages.
    Messages,
    /// In memory that all ranks share.
    Shared,
    /// In memory that the ranks of each host share, then by messages between one rank of each host.
    SharedAndMessages,
}

/// Ranks that work together. See the head of this file.
///
/// ```
/// use stackphys::comm::Team;
/// let team = Team::solo();
/// assert_eq!((team.rank(), team.size()), (0, 1));
/// assert_eq!(team.sum([2.0, 3.0]).unwrap(), [2.0, 3.0]);
/// ```
pub struct Team {
    comm: Rc<dyn Comm>,
    /// Also in the hands of the scope that this team is of, which tells what is left.
    pending: Rc<RefCell<Option<Pending>>>,
    meter: Rc<Meter>,
    summation: Summation,
    reduction: Reduction,
    started: Instant,
    seconds: Cell<f64>,
    /// Raised by whoever asks this rank to stop: a handler of signals.
    hand: Option<Arc<AtomicBool>>,
    asked: Cell<bool>,
    /// Memory for numbers that are summed.
    scratch: RefCell<Vec<f64>>,
    /// The same for the parts of inner products.
    parts: RefCell<Vec<f64>>,
}

impl Team {
    /// A team over a communicator, with fast summation.
    pub fn new(comm: Rc<dyn Comm>) -> Self {
        Team {
            comm,
            pending: Rc::default(),
            meter: Rc::default(),
            summation: Summation::Fast,
            reduction: Reduction::Auto,
            started: Instant::now(),
            seconds: Cell::new(0.0),
            hand: None,
            asked: Cell::new(false),
            scratch: RefCell::default(),
            parts: RefCell::default(),
        }
    }
    /// A team of one.
    pub fn solo() -> Self {
        Team::new(Rc::new(Solo))
    }
    /// The same team with another mode of summation.
    pub fn with_summation(mut self, summation: Summation) -> Self {
        self.summation = summation;
        self
    }
    /// The same team with another way to sum vectors: the same on all ranks.
    pub fn with_reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The same team, which looks at a flag on this rank: once it is raised on any rank, [`asked_to_stop`](Self::asked_to_stop)
    /// is true on all after the next reduction.
    pub fn with_hand(mut self, hand: Arc<AtomicBool>) -> Self {
        self.hand = Some(hand);
        self
    }
    /// The same team with its clock set forward: time that earlier runs of a job took.
    pub fn with_seconds_before(mut self, seconds: f64) -> Self {
        let before = Duration::try_from_secs_f64(seconds).ok();
        self.started = before.and_then(|before| self.started.checked_sub(before)).unwrap_or(self.started);
        self
    }

    /// The same team with the clock of another one, so that a time means the same to both.
    pub(crate) fn with_clock_of(mut self, other: &Team) -> Self {
        self.started = other.started;
        self
    }

    /// This rank, from zero.
    pub fn rank(&self) -> usize {
        self.comm.rank()
    }
    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.comm.size()
    }
    /// How contributions are added.
    pub fn summation(&self) -> Summation {
        self.summation
    }
    /// How sums of vectors are asked to be made.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }
    /// How sums of vectors into a [`zero_sum`](Self::zero_sum) are made, in this team's mode of summation.
    ///
    /// Collective: yes, the first time on a communicator: a gather, two splits, a few scalar reductions.
    pub fn through(&self) -> Through {
        match self.node().map(Node::hosts) {
            None => Through::Messages,
            Some(1) => Through::Shared,
            Some(_) if self.summation == Summation::Ordered => Through::Messages, // the tree knows no hosts
            Some(_) => Through::SharedAndMessages,
        }
    }
    fn node(&self) -> Option<&Node> {
        if self.size() == 1 || self.reduction == Reduction::Messages {
            return None;
        }
        let node = self.comm.node()?.get(self.comm());
        node.filter(|node| self.reduction == Reduction::Shared || !node.is_crowded())
    }
    /// Bytes that this rank puts into a sum of a vector of `len` elements in shared memory; `None` by messages.
    pub(crate) fn shared_bytes<S: Scalar>(&self, len: usize) -> Option<usize> {
        self.node().filter(|_| self.through() != Through::Messages).map(|node| node.bytes_sent::<S>(len))
    }
    /// How often the ranks agreed so far: reductions of vectors and of numbers, which carry the flag and the clock, and
    /// settled calls.
    pub(crate) fn agreements(&self) -> u64 {
        [Kind::VectorReduction, Kind::ScalarReduction, Kind::Agreement]
            .map(|kind| self.meter.of(kind).calls)
            .iter()
            .sum()
    }
    /// What was sent so far.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
    /// Seconds since the team was made, by rank 0's clock, as of the last reduction: equal on all ranks.
    pub fn seconds(&self) -> f64 {
        self.seconds.get()
    }
    /// Whether any rank was asked to stop, as of the last reduction: equal on all ranks. Collective: no.
    pub fn asked_to_stop(&self) -> bool {
        self.asked.get()
    }
    pub(super) fn comm(&self) -> &dyn Comm {
        &*self.comm
    }
    pub(super) fn comm_handle(&self) -> Rc<dyn Comm> {
        self.comm.clone()
    }
    pub(super) fn pending(&self) -> &Rc<RefCell<Option<Pending>>> {
        &self.pending
    }

    /// Remembers a fault of this rank until the next agreement. Collective: no.
    ///
    /// Of several, the one with the lowest operator index is kept.
    pub fn note(&self, fault: Fault) {
        self.remember(Pending::own(fault));
    }

    /// Whether this rank has a fault that others do not know of yet. Collective: no.
    pub fn has_pending(&self) -> bool {
        self.pending.borrow().is_some()
    }

    /// Returns the same error on all ranks if any has a pending fault. Collective: yes, one scalar reduction.
    pub fn settle(&self) -> Result<(), Error> {
        let mut spare = self.spare().words::<f64>();
        self.meter.count(Kind::Agreement, size_of_val(&spare));
        self.comm.all_reduce(BufMut::F64(&mut spare), Reduce::Sum);
        self.check_spare(Spare::of_words(spare))
    }

    /// Turns one rank's result into the same outcome on all. Collective: yes, one scalar reduction.
    ///
    /// ```
    /// use stackphys::{Fault, comm::Team};
    /// let team = Team::solo();
    /// let error = team.agree::<()>(Err(Fault::new("no such file"))).unwrap_err();
    /// assert_eq!(error.to_string(), "no such file");
    /// assert!(team.agree(Ok(1)).is_ok()); // usable again
    /// ```
    pub fn agree<T>(&self, local: Result<T, Fault>) -> Result<T, Error> {
        match local {
            Ok(value) => self.settle().map(|()| value),
            Err(fault) => {
                self.note(fault);
                match self.settle() {
                    Err(error) => Err(error),
                    Ok(()) => unreachable!("a pending fault raises the flag"),
                }
            }
        }
    }

    /// The sum of all ranks' numbers. Collective: yes, one scalar reduction, which also settles.
    pub fn sum<const K: usize>(&self, numbers: [f64; K]) -> Result<[f64; K], Error> {
        let mut numbers = numbers;
        self.sum_in_place(&mut numbers)?;
        Ok(numbers)
    }

    /// As [`sum`](Self::sum), for a number of numbers that is known only at run time.
    pub fn sum_in_place(&self, numbers: &mut [f64]) -> Result<(), Error> {
        if self.size() == 1 {
            self.meter.count(Kind::ScalarReduction, 0);
            return self.check_spare(self.spare());
        }
        let mut buffer = self.scratch.take();
        buffer.clear();
        buffer.extend(numbers.iter().copied().chain(self.spare().words()));
        self.meter.count(Kind::ScalarReduction, size_of_val(buffer.as_slice()));
        self.comm.all_reduce(BufMut::F64(&mut buffer), Reduce::Sum);
        let (summed, spare) = buffer.split_at(numbers.len());
        numbers.copy_from_slice(summed);
        let spare = Spare::of_words(std::array::from_fn::<f64, SPARE, _>(|word| spare[word]));
        self.scratch.replace(buffer);
        self.check_spare(spare)
    }

    /// The largest of all ranks' numbers. Collective: yes, one scalar reduction.
    pub fn max<const K: usize>(&self, mut numbers: [f64; K]) -> [f64; K] {
        self.meter.count(Kind::ScalarReduction, size_of_val(&numbers));
        self.comm.all_reduce(BufMut::F64(&mut numbers), Reduce::Max);
        numbers
    }

    /// The smallest of all ranks' numbers. Collective: yes, one scalar reduction.
    pub fn min<const K: usize>(&self, mut numbers: [f64; K]) -> [f64; K] {
        self.meter.count(Kind::ScalarReduction, size_of_val(&numbers));
        self.comm.all_reduce(BufMut::F64(&mut numbers), Reduce::Min);
        numbers
    }

    /// Every rank's numbers, in the order of ranks. Collective: yes, one gather.
    pub fn gather_numbers(&self, numbers: &[f64]) -> Vec<Vec<f64>> {
        let counts = vec![numbers.len(); self.size()];
        let mut all = vec![0.0; numbers.len() * self.size()];
        self.meter.count(Kind::Gather, size_of_val(numbers));
        self.comm.gather(super::Buf::F64(numbers), BufMut::F64(&mut all), &counts, None);
        (0..self.size()).map(|rank| all[rank * numbers.len()..][..numbers.len()].to_vec()).collect()
    }

    /// Re⟨a, b⟩ for each pair, over all ranks; a replicated block counts once.
    ///
    /// Collective: only if a block is cut; then one scalar reduction for all pairs together, which also settles. In
    /// ordered mode it carries one number per block, so that the sum has the same bits on any number of ranks.
    pub fn dots<S: Scalar, const K: usize>(&self, pairs: [(&Vector<S>, &Vector<S>); K]) -> Result<[f64; K], Error> {
        if pairs.iter().all(|(a, _)| a.space().is_replicated()) {
            return Ok(pairs.map(|(a, b)| a.dot_blocks(b, 0..a.space().blocks().len())));
        }
        match self.summation {
            Summation::Fast => self.sum(pairs.map(|(a, b)| self.own_dots(a, b).sum())),
            Summation::Ordered => {
                let mut all = self.parts.take();
                all.clear();
                all.extend(pairs.iter().flat_map(|(a, b)| self.own_dots(a, b)));
                self.sum_in_place(&mut all)?; // each number has one rank that does not add zero: exact
                let mut rest = all.as_slice();
                let sums = pairs.map(|(a, _)| {
                    let (mine, others) = rest.split_at(a.space().blocks().len());
                    rest = others;
                    mine.iter().sum()
                });
                self.parts.replace(all);
                Ok(sums)
            }
        }
    }

    /// This rank's share of Re⟨a, b⟩, block by block: zero for what it does not hold, or leaves to rank 0.
    fn own_dots<S: Scalar>(&self, a: &Vector<S>, b: &Vector<S>) -> impl Iterator<Item = f64> {
        a.space().blocks().iter().enumerate().map(|(index, block)| {
            let counts = block.placement.owner() == self.rank();
            if counts { a.dot_blocks(b, index..index + 1) } else { 0.0 }
        })
    }

    /// The norm of a vector over all ranks. Collective: as [`dots`](Self::dots).
    pub fn norm<S: Scalar>(&self, a: &Vector<S>) -> Result<f64, Error> {
        self.dots([(a, a)]).map(|[squared]| squared.sqrt())
    }

    /// A zero vector of a replicated space to sum over ranks into: in memory that the ranks of a host share, where that can
    /// be had. Into any other vector a sum goes by messages.
    ///
    /// Collective: yes, a broadcast and a scalar reduction, where memory is shared; dropping it is not.
    pub fn zero_sum<S: Scalar>(&self, space: &Arc<Space>) -> Vector<S> {
        let node = self.node().filter(|_| space.is_replicated() && self.through() != Through::Messages);
        let slot = node.and_then(|node| {
            self.count_allocation();
            node.allocate(self.comm(), |_| space.local_len() + SPARE)
        });
        slot.map_or_else(|| Vector::zeros(space), |slot| Vector::in_slot(space, slot))
    }

    /// `lens[r]` zeros on rank r beside a [`zero_sum`](Self::zero_sum), for sums that go through
    /// [`combine`](Self::combine). Collective: as `zero_sum`.
    pub(crate) fn zeros_beside<S: Scalar>(&self, lens: &[usize]) -> Buffer<S> {
        let any = lens.iter().any(|len| *len > 0);
        let slot = self.node().filter(|_| any && self.through() == Through::Shared).and_then(|node| {
            self.count_allocation();
            node.allocate(self.comm(), |rank| lens[rank])
        });
        slot.map_or_else(|| Buffer::Own(vec![S::default(); lens[self.rank()]]), Buffer::Shared)
    }

    fn count_allocation(&self) {
        self.meter.count(Kind::Broadcast, 5 * size_of::<u64>());
        self.meter.count(Kind::Agreement, size_of::<u64>());
    }

    /// `vector ← Σ` of all ranks' vectors. Collective: yes, one vector reduction, which also settles.
    ///
    /// In shared memory if all ranks pass the same [`zero_sum`](Self::zero_sum), or if the vector is short; by one
    /// all-reduce otherwise. The same bits on all ranks either way.
    pub fn sum_vector<S: Scalar>(&self, vector: &mut Vector<S>) -> Result<(), Error> {
        let len = vector.as_slice().len();
        let buffer = vector.with_spare_mut();
        if let Some(node) = self.node()
            && let Some(spare) = node.sum(self.comm(), buffer, self.spare())
        {
            self.meter.count(Kind::VectorReduction, node.bytes_sent::<S>(len));
            return self.check_spare(spare);
        }
        let buffer = S::as_reals_mut(buffer);
        let spare_at = buffer.len() - SPARE * size_of::<S>() / size_of::<S::Real>();
        buffer[spare_at..spare_at + SPARE].copy_from_slice(&self.spare().words());
        let buffer = &mut buffer[..spare_at + SPARE];
        self.meter.count(Kind::VectorReduction, size_of_val(buffer));
        self.comm.all_reduce(S::Real::real_buf_mut(buffer), Reduce::Sum);
        self.check_spare(Spare::of_words(std::array::from_fn(|word| buffer[spare_at + word])))
    }

    /// `numbers ← Σ` of all ranks' numbers. Collective: yes, one vector reduction; does not settle.
    pub(crate) fn sum_slice<S: Scalar>(&self, numbers: &mut [S]) {
        self.meter.count(Kind::VectorReduction, size_of_val(numbers));
        self.comm.all_reduce(S::buf_mut(numbers), Reduce::Sum);
    }

    /// `out ← top` of all ranks' `out` and of what they have beside it, in shared memory. `None` where that cannot be: then
    /// nothing has changed. Collective: yes, one vector reduction, which also settles.
    pub(crate) fn combine<S: Scalar>(
        &self,
        out: &mut Vector<S>,
        beside: &mut Buffer<S>,
        top: impl FnMut(&Leaves<S>, &mut [S]),
    ) -> Option<Result<(), Error>> {
        let node = self.node().filter(|node| node.hosts() == 1)?;
        let spare = node.combine(self.comm(), out.with_spare_mut(), beside, self.spare(), top)?;
        self.meter.count(Kind::VectorReduction, 0);
        Some(self.check_spare(spare))
    }

    /// Parts of vectors between pairs of ranks. Collective: yes, one exchange; does not settle.
    pub(crate) fn exchange<S: Scalar>(&self, send: &[S], send_counts: &[usize], into: &mut [S], counts: &[usize]) {
        self.meter.count(Kind::Exchange, size_of_val(send));
        let per = size_of::<S>() / size_of::<S::Real>();
        let reals = |counts: &[usize]| counts.iter().map(|n| n * per).collect::<Vec<_>>();
        self.comm.exchange(S::buf(send), &reals(send_counts), S::buf_mut(into), &reals(counts));
    }

    /// Messages between pairs of ranks, all under way at the same time: `to` are taken out of `send`, `from` arrive in `into`,
    /// one behind the other. Only the ranks that they name wait for each other; does not settle.
    pub(crate) fn messages<S: Scalar>(&self, send: &[S], to: &[Message], into: &mut [S], from: &[Message]) {
        for message in to {
            self.meter.count(Kind::Message, message.range.len() * size_of::<S::Real>());
        }
        self.comm.messages(S::buf(send), to, S::buf_mut(into), from);
    }

    /// Every rank's part, in the order of ranks, on `root` or on all. Collective: yes, one gather; does not settle.
    pub(crate) fn gather<S: Scalar>(&self, send: &[S], into: &mut [S], counts: &[usize], root: Option<usize>) {
        self.meter.count(Kind::Gather, size_of_val(send));
        let per = size_of::<S>() / size_of::<S::Real>();
        let reals: Vec<usize> = counts.iter().map(|n| n * per).collect();
        self.comm.gather(S::buf(send), S::buf_mut(into), &reals, root);
    }

    /// The bytes of `root`, on all. Collective: yes, two broadcasts.
    pub(crate) fn broadcast_bytes(&self, bytes: Vec<u8>, root: usize) -> Vec<u8> {
        let mut bytes = bytes;
        let mut len = [bytes.len() as u64];
        self.meter.count(Kind::Broadcast, size_of_val(&len));
        self.comm.broadcast(BufMut::U64(&mut len), root);
        bytes.resize(len[0] as usize, 0);
        self.meter.count(Kind::Broadcast, bytes.len());
        self.comm.broadcast(BufMut::U8(&mut bytes), root);
        bytes
    }

    /// What rank 0 makes, on all ranks, or its fault as the same error on all. The others do not call `make`.
    ///
    /// For anything that serde knows: parameters, shapes, tables. Large arrays go by [`share`](Self::share). Collective:
    /// yes, three scalar reductions and two broadcasts.
    pub fn from_rank_0<T: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Error> {
        self.from_rank(0, make)
    }

    /// As [`from_rank_0`](Self::from_rank_0), from another rank.
    pub fn from_rank<T: Serialize + DeserializeOwned>(
        &self,
        root: usize,
        make: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let made = if self.rank() == root { make().map(Some) } else { Ok(None) };
        let made = self.agree(made)?;
        let encoded = match &made {
            Some(value) => serde_json::to_vec(value).map_err(|why| Fault::new(format!("cannot pass on: {why}"))),
            None => Ok(Vec::new()),
        };
        let bytes = self.broadcast_bytes(self.agree(encoded)?, root);
        match made {
            Some(value) => self.agree(Ok(value)),
            None => self.agree(
                serde_json::from_slice(&bytes)
                    .map_err(|why| Fault::new(format!("cannot read what rank {root} sent: {why}"))),
            ),
        }
    }

    /// The numbers that rank 0 makes, on all ranks, however many: longer ones than 2³¹ bytes are cut on the way.
    ///
    /// So data that a factory needs are read once. Collective: yes, three scalar reductions and three broadcasts.
    ///
    /// ```
    /// use stackphys::comm::{Team, threads};
    /// let maps = threads::run(2, |comm| Team::new(comm).share(|| Ok(vec![1.5f32, 2.5])).unwrap());
    /// assert_eq!(maps[1], [1.5, 2.5]);
    /// ```
    pub fn share<S: Scalar>(&self, make: impl FnOnce() -> Result<Vec<S>, Fault>) -> Result<Vec<S>, Error> {
        let made = if self.rank() == 0 { make() } else { Ok(Vec::new()) };
        let mut numbers = self.agree(made)?;
        let len = self.from_rank_0(|| Ok(numbers.len()))?;
        numbers.resize(len, S::default());
        self.broadcast(&mut numbers, 0);
        Ok(numbers)
    }

    /// The numbers of `root`, on all ranks. All have the same length. Collective: yes, one broadcast; does not settle.
    pub(crate) fn broadcast<S: Scalar>(&self, numbers: &mut [S], root: usize) {
        self.meter.count(Kind::Broadcast, size_of_val(numbers));
        self.comm.broadcast(S::buf_mut(numbers), root);
    }

    /// The bytes of `root`, on all. All have the same length. Collective: yes, one broadcast; does not settle.
    pub(crate) fn broadcast_in_place(&self, bytes: &mut [u8], root: usize) {
        self.meter.count(Kind::Broadcast, bytes.len());
        self.comm.broadcast(BufMut::U8(bytes), root);
    }

    /// The host of each rank. Collective: yes, two gathers.
    pub fn hosts(&self) -> Vec<String> {
        let mine = self.comm.host().into_bytes();
        let lengths = self.gather_numbers(&[mine.len() as f64]);
        let counts: Vec<usize> = lengths.iter().map(|rank| rank[0] as usize).collect();
        let mut all = vec![0; counts.iter().sum()];
        self.meter.count(Kind::Gather, mine.len());
        self.comm.gather(super::Buf::U8(&mine), BufMut::U8(&mut all), &counts, None);
        let mut rest = all.as_slice();
        let names = counts.iter().map(|count| {
            let (name, others) = rest.split_at(*count);
            rest = others;
            String::from_utf8_lossy(name).into_owned()
        });
        names.collect()
    }

    /// Waits for everybody. Collective: yes.
    pub fn barrier(&self) {
        self.meter.count(Kind::Barrier, 0);
        self.comm.barrier();
    }

    /// The sub-team of all ranks with the same colour. Collective: yes.
    ///
    /// An error of the sub-team is a fault of its parent: `parent.agree(result.map_err(Error::into_fault))`, which
    /// [`scope`](Self::scope) does by itself; it also sees to it that the sub-team ends on all its ranks together.
    pub fn split(&self, colour: Option<usize>) -> Option<Team> {
        self.comm
            .split(colour, self.rank())
            .map(|comm| Team::new(comm).with_summation(self.summation).with_reduction(self.reduction))
    }

    /// The same, with its messages counted as those of this team. Collective: yes.
    pub(crate) fn split_counted(&self, colour: Option<usize>) -> Option<Team> {
        self.split(colour).map(|team| Team { meter: self.meter.clone(), ..team })
    }

    fn spare(&self) -> Spare {
        let clock = if self.rank() == 0 { self.started.elapsed().as_secs_f64() } else { 0.0 };
        let asked = self.hand.as_ref().is_some_and(|hand| hand.load(Ordering::Relaxed));
        Spare { fault: self.has_pending(), asked, clock }
    }

    fn check_spare(&self, Spare { fault, asked, clock }: Spare) -> Result<(), Error> {
        self.seconds.set(clock);
        self.asked.set(asked);
        if fault { Err(self.raise()) } else { Ok(()) }
    }
}
