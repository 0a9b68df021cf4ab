//! Lanes: how many operators of a rank run at once, on its one pool of threads.
//!
//! A lane has a fixed run of neighbouring operators, which it applies one after the other, and scratch of its own. So what
//! is allocated, which sums are made and in which order follow from the plan alone, never from who finishes first. Lanes are
//! tasks of the pool in which the stack is called, and so are the parts that a kernel deals out inside of one: there are
//! never more threads than the pool has. A thread that waits inside of one lane may take up another, so scratch belongs to
//! lanes, not to threads. They are started by rayon's `join`, which allocates nothing; in a pool of one thread they take
//! turns.
//!
//! Where operators write apart, lanes do too. Where they add to the same numbers, each lane has a sum of its own, and these
//! are added in the order of lanes: as many vectors as lanes live at once, however many operators there are. So sums by
//! lanes have the same bits each time; ordered ones ([`tree`](super::tree)) have the same for any number of lanes.

use std::ops::Range;
use std::time::Instant;

use super::Assignment;
use super::window::Window;
use crate::comm::Team;
use crate::error::Fault;
use crate::operator::Work;
use crate::scalar::Scalar;
use crate::space::add;

/// Numbers of which one task adds all lanes' sums.
const CHUNK: usize = 1 << 14;

/// What an operator adds to a sum, by its place among this rank's: lanes ask at once.
pub(super) type AtOnce<'t, S> = dyn Fn(usize, &mut [S], &mut Work) -> Result<(), Fault> + Sync + 't;
/// The same, for operators that are asked one after the other by the rank itself.
pub(super) type OneByOne<'t, S> = dyn FnMut(usize, &mut [S], &mut Work) -> Result<(), Fault> + 't;

/// What operators add to sums.
pub(super) enum Terms<'t, S> {
    AtOnce(&'t AtOnce<'t, S>),
    OneByOne(&'t mut OneByOne<'t, S>),
}

/// The lanes of a rank: one at least, and none without operators unless it is the only one.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    seconds: f64,
}

/// One lane: its operators, its scratch, and its trouble.
pub(super) struct Lane {
    /// Which one it is.
    pub index: usize,
    /// The place of its first operator among this rank's.
    pub first: usize,
    /// Its operators, as the stack numbers them.
    operators: Vec<usize>,
    work: Work,
    /// Of several the first, so the one of the lowest operator.
    fault: Option<Fault>,
}

/// The runs of a rank's operators that each lane has, by their places, for operators of the given costs.
pub(super) fn runs(costs: &[f64], lanes: usize) -> Vec<Range<usize>> {
    let lane_of = Assignment::ByCost.owners(costs, lanes.max(1));
    let begins = |lane: usize| lane_of.partition_point(|of| *of < lane);
    (0..lane_of.last().map_or(1, |last| last + 1)).map(|lane| begins(lane)..begins(lane + 1)).collect()
}

impl Lanes {
    /// At most `lanes` of them for the operators of a rank, with their numbers in the stack and their costs.
    pub fn new(operators: &[usize], costs: &[f64], lanes: usize) -> Self {
        let lane = |(index, run): (usize, Range<usize>)| Lane {
            index,
            first: run.start,
            operators: operators[run].to_vec(),
            work: Work::default(),
            fault: None,
        };
        Lanes { lanes: runs(costs, lanes).into_iter().enumerate().map(lane).collect(), seconds: 0.0 }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }
    /// The lane of an operator, by its place among this rank's.
    pub fn of(&self, place: usize) -> &Lane {
        &self.lanes[self.lanes.partition_point(|lane| lane.first <= place) - 1]
    }
    /// Seconds that this rank spent in operators.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
    /// Does `action` on the clock of the operators.
    pub fn timed<T>(&mut self, action: impl FnOnce(&mut [Lane]) -> T) -> T {
        let begin = Instant::now();
        let done = action(&mut self.lanes);
        self.seconds += begin.elapsed().as_secs_f64();
        done
    }

    /// Lets all lanes work at once, each on its part of `parts`, which begins where `begin` says. Faults are noted.
    pub fn run<T: Send>(
        &mut self,
        team: &Team,
        parts: &mut [T],
        begin: impl Fn(&Lane) -> usize + Sync,
        each: impl Fn(&mut Lane, &mut [T]) + Sync,
    ) {
        self.timed(|lanes| run(lanes, parts, &begin, &each));
        self.note_faults(team);
    }

    /// One operator after the other, each with the scratch of the first lane. Faults are noted.
    pub fn one_by_one(&mut self, team: &Team, mut call: impl FnMut(usize, &mut Work) -> Result<(), Fault>) {
        for place in 0..self.lanes.iter().map(|lane| lane.operators.len()).sum() {
            self.call(team, place, |work| call(place, work));
        }
    }
    /// One operator, by its place, with the scratch of the first lane. A fault is noted.
    pub fn call(&mut self, team: &Team, place: usize, call: impl FnOnce(&mut Work) -> Result<(), Fault>) {
        if let Err(fault) = self.timed(|lanes| call(&mut lanes[0].work)) {
            let lane = self.of(place);
            team.note(fault.in_operator(lane.operators[place - lane.first]));
        }
    }

    /// Adds what the operators add, each in its window on `vector`. `sums` keeps those of all lanes but the first, which
    /// adds to the vector itself: of each the span of the vector that its operators touch. Faults are noted.
    pub fn add<S: Scalar>(
        &mut self,
        team: &Team,
        windows: &[Window],
        vector: &mut [S],
        sums: &mut Vec<Vec<S>>,
        terms: Terms<S>,
    ) {
        let add_term = match terms {
            Terms::AtOnce(add_term) => add_term,
            Terms::OneByOne(add_term) => {
                return self.one_by_one(team, |place, work| {
                    windows[place].add(vector, 0, work, |window, work| add_term(place, window, work))
                });
            }
        };
        let to = |lane: &mut Lane, sum: &mut [S], start: usize| {
            lane.each(|place, work| windows[place].add(sum, start, work, |window, work| add_term(place, window, work)));
        };
        let span = |lane: &Lane| {
            let windows = &windows[lane.first..][..lane.operators.len()];
            let start = windows.iter().map(|window| window.span().start).min().unwrap_or(0);
            start..windows.iter().map(|window| window.span().end).max().unwrap_or(start)
        };
        sums.resize_with(self.lanes.len() - 1, Vec::new);
        self.timed(|lanes| {
            let Some((first, others)) = lanes.split_first_mut() else { return };
            if others.is_empty() {
                return to(first, vector, 0); // needs no pool
            }
            let into_own = |lane: &mut Lane, own: &mut [Vec<S>]| {
                let (span, sum) = (span(lane), &mut own[0]);
                sum.resize(span.len(), S::default());
                sum.fill(S::default());
                to(lane, sum, span.start);
            };
            both(|| to(first, vector, 0), || run(others, sums, &|lane: &Lane| lane.index, &into_own));
            let sums = || others.iter().map(&span).zip(&*sums).map(|(span, sum)| (span, sum.as_slice()));
            add_all(&sums, 0, vector);
        });
        self.note_faults(team);
    }

    fn note_faults(&mut self, team: &Team) {
        self.lanes.iter_mut().filter_map(|lane| lane.fault.take()).for_each(|fault| team.note(fault));
    }
}

impl Lane {
    /// Calls for each of its operators, by the place among this rank's; those after a faulty one are called all the same.
    pub fn each(&mut self, mut call: impl FnMut(usize, &mut Work) -> Result<(), Fault>) {
        for at in 0..self.operators.len() {
            let place = self.first + at;
            self.call(self.operators[at], |work| call(place, work));
        }
    }
    /// Calls for one operator, by its number in the stack. Of several faults the first is kept.
    pub fn call(&mut self, operator: usize, call: impl FnOnce(&mut Work) -> Result<(), Fault>) {
        if let Err(fault) = call(&mut self.work) {
            self.fault.get_or_insert(fault.in_operator(operator));
        }
    }
}

/// Does both at once where there are threads for it.
fn both(left: impl FnOnce() + Send, right: impl FnOnce() + Send) {
    if rayon::current_num_threads() == 1 {
        left();
        right();
    } else {
        rayon::join(left, right);
    }
}

/// Adds sums over spans of a vector to a part of it that begins at `start`, in their order.
fn add_all<'s, S: Scalar, I>(sums: &(impl Fn() -> I + Sync), start: usize, part: &mut [S])
where
    I: Iterator<Item = (Range<usize>, &'s [S])>,
{
    if part.len() > CHUNK {
        let middle = part.len() / 2;
        let (left, right) = part.split_at_mut(middle);
        return both(|| add_all(sums, start, left), || add_all(sums, start + middle, right));
    }
    for (span, sum) in sums() {
        let here = start.max(span.start)..(start + part.len()).min(span.end);
        if !here.is_empty() {
            add(&sum[here.start - span.start..here.end - span.start], &mut part[here.start - start..here.end - start]);
        }
    }
}

/// Halves the lanes until they are single.
fn run<T: Send>(
    lanes: &mut [Lane],
    parts: &mut [T],
    begin: &(impl Fn(&Lane) -> usize + Sync),
    each: &(impl Fn(&mut Lane, &mut [T]) + Sync),
) {
    match lanes {
        [] => {}
        [lane] => each(lane, parts),
        _ => {
            let (left, right) = lanes.split_at_mut(lanes.len() / 2);
            let (of_left, of_right) = parts.split_at_mut(begin(&right[0]) - begin(&left[0]));
            both(|| run(left, of_left, begin, each), || run(right, of_right, begin, each));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_one_lane_and_no_lane_is_without() {
        assert_eq!(runs(&[], 3).len(), 1); // of a rank without operators
        assert_eq!(runs(&[1.0; 8], 4), [0..2, 2..4, 4..6, 6..8]);
        assert_eq!(runs(&[1.0; 5], 4), [0..2, 2..4, 4..5]); // a fourth would not be done sooner
        assert_eq!(runs(&[1.0, 1.0, 9.0, 1.0], 2), [0..2, 2..4]);
        assert_eq!(runs(&[1.0, 2.0], 9), [0..1, 1..2]);
        assert_eq!(runs(&[1.0, 2.0], 0).len(), 1);
    }

    /// Spans that overlap, touch and lie apart, over a vector of several chunks.
    #[test]
    fn sums_of_lanes_are_added_where_they_belong() {
        let mut expected = vec![1.0; 5 * CHUNK + 3];
        let spans = [0..CHUNK + 1, CHUNK / 2..3 * CHUNK, 3 * CHUNK..3 * CHUNK, 4 * CHUNK + 1..5 * CHUNK + 3];
        let sums: Vec<Vec<f64>> = spans.iter().map(|span| span.clone().map(|k| k as f64).collect()).collect();
        let mut vector = expected.clone();
        let all = || spans.iter().cloned().zip(sums.iter().map(Vec::as_slice));
        add_all(&all, 0, &mut vector);
        spans.iter().for_each(|span| span.clone().for_each(|k| expected[k] += k as f64));
        assert_eq!(vector, expected);
    }
}
