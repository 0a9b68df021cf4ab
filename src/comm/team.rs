//! A team: the only door to the communicator. It adds agreement on faults, a meter, and the mode of summation.
//!
//! A local fault stays **pending** while the rank goes on with the same sequence of collectives as all others. Every
//! reduction carries a flag in a spare element, which costs nothing. Only a raised flag starts the slow path, after which
//! every rank returns the same [`Error`] and the team is usable again. So no rank is ever left alone in a collective.
//!
//! Numbers that decide something (stop, branch, fail) are equal on all ranks. A clock is not: rank 0 reads it, and it
//! travels as a second spare element ([`Team::seconds`]).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{BufMut, Comm, Kind, Meter, Reduce, Solo};
use crate::error::{Error, Fault};
use crate::scalar::{Real, Scalar};
use crate::space::{Placement, SPARE, Vector};

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
    pending: RefCell<Option<Fault>>,
    meter: Meter,
    summation: Summation,
    started: Instant,
    seconds: Cell<f64>,
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
            pending: RefCell::default(),
            meter: Meter::default(),
            summation: Summation::Fast,
            started: Instant::now(),
            seconds: Cell::new(0.0),
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
    /// What was sent so far.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
    /// Seconds since the team was made, by rank 0's clock, as of the last reduction: equal on all ranks.
    pub fn seconds(&self) -> f64 {
        self.seconds.get()
    }
    pub(super) fn comm(&self) -> &dyn Comm {
        &*self.comm
    }
    pub(super) fn take_pending(&self) -> Option<Fault> {
        self.pending.borrow_mut().take()
    }

    /// Remembers a fault of this rank until the next agreement. Collective: no.
    ///
    /// Of several, the one with the lowest operator index is kept.
    pub fn note(&self, fault: Fault) {
        let mut pending = self.pending.borrow_mut();
        let index = |fault: &Fault| fault.operator.unwrap_or(usize::MAX);
        if pending.as_ref().is_none_or(|before| index(&fault) < index(before)) {
            *pending = Some(fault);
        }
    }

    /// Whether this rank has a fault that others do not know of yet. Collective: no.
    pub fn has_pending(&self) -> bool {
        self.pending.borrow().is_some()
    }

    /// Returns the same error on all ranks if any has a pending fault. Collective: yes, one scalar reduction.
    pub fn settle(&self) -> Result<(), Error> {
        let mut spare = self.spare::<f64>();
        self.meter.count(Kind::Agreement, size_of_val(&spare));
        self.comm.all_reduce(BufMut::F64(&mut spare), Reduce::Sum);
        self.check_spare(spare)
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
            return self.check_spare(self.spare::<f64>());
        }
        let mut buffer = self.scratch.take();
        buffer.clear();
        buffer.extend(numbers.iter().copied().chain(self.spare::<f64>()));
        self.meter.count(Kind::ScalarReduction, size_of_val(buffer.as_slice()));
        self.comm.all_reduce(BufMut::F64(&mut buffer), Reduce::Sum);
        let (summed, spare) = buffer.split_at(numbers.len());
        numbers.copy_from_slice(summed);
        let spare = [spare[0], spare[1]];
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
            let counts = block.placement != Placement::Everywhere || self.rank() == 0;
            if counts { a.dot_blocks(b, index..index + 1) } else { 0.0 }
        })
    }

    /// The norm of a vector over all ranks. Collective: as [`dots`](Self::dots).
    pub fn norm<S: Scalar>(&self, a: &Vector<S>) -> Result<f64, Error> {
        self.dots([(a, a)]).map(|[squared]| squared.sqrt())
    }

    /// `vector ← Σ` of all ranks' vectors, by one all-reduce. Collective: yes, one vector reduction, which also settles.
    pub(crate) fn sum_vector<S: Scalar>(&self, vector: &mut Vector<S>) -> Result<(), Error> {
        let buffer = S::as_reals_mut(vector.with_spare_mut());
        let spare_at = buffer.len() - SPARE * size_of::<S>() / size_of::<S::Real>();
        let spare = self.spare::<S::Real>();
        buffer[spare_at..spare_at + SPARE].copy_from_slice(&spare);
        let buffer = &mut buffer[..spare_at + SPARE];
        self.meter.count(Kind::VectorReduction, size_of_val(buffer));
        self.comm.all_reduce(S::Real::real_buf_mut(buffer), Reduce::Sum);
        let spare = [buffer[spare_at], buffer[spare_at + 1]];
        self.check_spare(spare)
    }

    /// Parts of vectors between pairs of ranks. Collective: yes, one exchange; does not settle.
    pub(crate) fn exchange<S: Scalar>(&self, send: &[S], send_counts: &[usize], into: &mut [S], counts: &[usize]) {
        self.meter.count(Kind::Exchange, size_of_val(send));
        let per = size_of::<S>() / size_of::<S::Real>();
        let reals = |counts: &[usize]| counts.iter().map(|n| n * per).collect::<Vec<_>>();
        self.comm.exchange(S::buf(send), &reals(send_counts), S::buf_mut(into), &reals(counts));
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
    /// Collective: yes, one scalar reduction and two broadcasts.
    pub fn from_rank_0<T: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let made = if self.rank() == 0 { make().map(Some) } else { Ok(None) };
        let made = self.agree(made)?;
        let encoded = match &made {
            Some(value) => serde_json::to_vec(value).map_err(|why| Fault::new(format!("cannot pass on: {why}"))),
            None => Ok(Vec::new()),
        };
        let bytes = self.broadcast_bytes(self.agree(encoded)?, 0);
        match made {
            Some(value) => self.agree(Ok(value)),
            None => self.agree(
                serde_json::from_slice(&bytes)
                    .map_err(|why| Fault::new(format!("cannot read what rank 0 sent: {why}"))),
            ),
        }
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
    /// An error of the sub-team is a fault of its parent: `parent.agree(result.map_err(Error::into_fault))`.
    pub fn split(&self, colour: Option<usize>) -> Option<Team> {
        self.comm.split(colour, self.rank()).map(|comm| Team::new(comm).with_summation(self.summation))
    }

    fn spare<R: Real>(&self) -> [R; SPARE] {
        let clock = if self.rank() == 0 { self.started.elapsed().as_secs_f64() } else { 0.0 };
        [R::from_f64(f64::from(u8::from(self.has_pending()))), R::from_f64(clock)]
    }

    fn check_spare<R: Real>(&self, [flag, clock]: [R; SPARE]) -> Result<(), Error> {
        self.seconds.set(clock.re());
        if flag.re() == 0.0 { Ok(()) } else { Err(self.raise()) }
    }
}
