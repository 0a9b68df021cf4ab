//! Ordered sums: the same bits on any number of ranks.
//!
//! The sum over operators is a fixed binary tree over the operator index: a node over `[lo, hi)` adds the sums of its two
//! halves. Where only some operators add, the tree is the same, and halves without any are left out: they would add zero. Which rank adds does not matter for the bits, only the tree does. A **subtree** is a largest node whose
//! operators all have one owner; that rank adds it alone. What remains is combined slice by slice: every rank sends its
//! subtrees' slices to the owner of the slice (one exchange), which adds the top of the tree, and gathers the slices (one
//! gather). With contiguous ownership a rank has one to four subtrees; with any other the bits are the same and the
//! traffic is larger. Where the ranks share memory, the subtrees' sums lie in it: a rank reads its slice of all of them,
//! writes the sum into that slice of everybody's result, and nothing is sent.
//!
//! Lanes share a rank's subtrees as ranks share the tree: each adds the largest nodes whose operators are all its own, and
//! the rank adds what is above them. So the bits are the same for any number of lanes, too.
//!
//! The alternative, integer sums at a shared scale, would allow any ownership at one reduction's cost, but needs a bound on
//! the contributions before they are known, and loses bits where the bound is loose.

use std::ops::Range;

use super::lanes::{AtOnce, Lane, Lanes, OneByOne, Terms};
use crate::comm::Team;
use crate::comm::shared::Buffer;
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::space::{Vector, add};

/// Elements that one exchange carries, so that memory and message lengths stay bounded.
pub(super) const CHUNK: usize = 1 << 18;

/// A largest node of the tree that one rank can add alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subtree {
    pub owner: usize,
    pub operators: Range<usize>,
}

impl Subtree {
    pub fn len(&self) -> usize {
        self.operators.len()
    }
}

fn halves(node: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = node.start + node.len().div_ceil(2);
    (node.start..middle, middle..node.end)
}

/// Those of rising numbers that lie in a node.
fn inside<'a>(numbers: &'a [usize], node: &Range<usize>) -> &'a [usize] {
    let from = numbers.partition_point(|number| *number < node.start);
    let to = numbers.partition_point(|number| *number < node.end);
    &numbers[from..to]
}

/// The subtrees for the given owners, from left to right.
pub(super) fn subtrees(owners: &[usize]) -> Vec<Subtree> {
    subtrees_of(&(0..owners.len()).collect::<Vec<_>>(), owners)
}

/// The same where only `present` operators add.
pub(super) fn subtrees_of(present: &[usize], owners: &[usize]) -> Vec<Subtree> {
    let mut found = Vec::new();
    find_subtrees(present, &|operator| owners[operator], 0..owners.len(), &mut found);
    found
}

/// The subtrees in a node.
fn find_subtrees(present: &[usize], owner_of: &impl Fn(usize) -> usize, node: Range<usize>, found: &mut Vec<Subtree>) {
    let here = inside(present, &node);
    let Some(owner) = here.first().map(|first| owner_of(*first)) else { return };
    if here.iter().all(|operator| owner_of(*operator) == owner) {
        found.push(Subtree { owner, operators: node });
    } else {
        let (left, right) = halves(&node);
        find_subtrees(present, owner_of, left, found);
        find_subtrees(present, owner_of, right, found);
    }
}

/// The largest nodes in a rank's subtrees that one lane can add alone: it is their owner. `lane_of` knows the operators of
/// this rank.
pub(super) fn nodes_of_lanes<'s>(
    present: &[usize],
    subtrees: impl Iterator<Item = &'s Subtree>,
    lane_of: impl Fn(usize) -> usize,
) -> Vec<Subtree> {
    let mut found = Vec::new();
    subtrees.for_each(|subtree| find_subtrees(present, &lane_of, subtree.operators.clone(), &mut found));
    found
}

/// The slice of a vector of length `len` that a rank combines.
pub(super) fn slice(len: usize, ranks: usize, rank: usize) -> Range<usize> {
    len * rank / ranks..len * (rank + 1) / ranks
}

/// Vectors for ordered sums, kept from call to call.
pub(super) struct Ordered<S> {
    /// The number of operators, and those that add.
    count: usize,
    present: Vec<usize>,
    subtrees: Vec<Subtree>,
    /// The place of each subtree among its owner's.
    places: Vec<usize>,
    /// The sums of this rank's subtrees, one after the other, but for the first, which lies in the result.
    more: Option<Buffer<S>>,
    /// Partial sums on the way down a subtree.
    partial: Vec<Vec<S>>,
    /// Where lanes share the subtrees.
    shared: Option<InLanes<S>>,
    /// Partial sums on the way down the top of the tree.
    partial_top: Vec<Vec<S>>,
    send: Vec<S>,
    received: Vec<S>,
    result: Vec<S>,
}

impl<S: Scalar> Ordered<S> {
    pub fn new(owners: &[usize]) -> Self {
        Ordered::of((0..owners.len()).collect(), owners)
    }

    /// A sum over the operators `present`, rising, out of all that have an owner.
    pub fn of(present: Vec<usize>, owners: &[usize]) -> Self {
        let subtrees = subtrees_of(&present, owners);
        let before = |k: usize| subtrees[..k].iter().filter(|s| s.owner == subtrees[k].owner).count();
        Ordered {
            count: owners.len(),
            present,
            places: (0..subtrees.len()).map(before).collect(),
            subtrees,
            more: None,
            partial: Vec::new(),
            shared: None,
            partial_top: Vec::new(),
            send: Vec::new(),
            received: Vec::new(),
            result: Vec::new(),
        }
    }

    /// `out ← Σ` over all operators, in the tree's order. `add_term(index, out)` adds one operator's contribution to a
    /// zeroed buffer; a fault is noted and the rank goes on.
    pub fn sum(
        &mut self,
        team: &Team,
        out: &mut Vector<S>,
        mut add_term: impl FnMut(usize, &mut [S]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let (present, mut partial) = (std::mem::take(&mut self.present), std::mem::take(&mut self.partial));
        let mut add_or_note = |index: usize, sum: &mut [S]| {
            if let Err(fault) = add_term(index, sum) {
                team.note(fault.in_operator(index));
            }
        };
        let summed = self.sum_subtrees(team, out, |node, sum| {
            add_node(node, &present, sum, &mut partial, &mut add_or_note);
        });
        (self.present, self.partial) = (present, partial);
        summed
    }

    /// The same over what operators add in lanes, told by their places among this rank's, which are `local`.
    pub fn sum_terms(
        &mut self,
        team: &Team,
        out: &mut Vector<S>,
        local: &[usize],
        lanes: &mut Lanes,
        terms: Terms<S>,
    ) -> Result<(), Error> {
        let place_of = |operator: usize| local.binary_search(&operator).unwrap_or_default();
        let add_term: &mut OneByOne<S> = match terms {
            Terms::AtOnce(add_term) if lanes.count() > 1 => {
                let len = out.as_slice().len();
                let Ordered { present, subtrees, .. } = self;
                let mut shared = self.shared.take().unwrap_or_else(|| {
                    let mine = subtrees.iter().filter(|subtree| subtree.owner == team.rank());
                    InLanes::new(nodes_of_lanes(present, mine, |of| lanes.of(place_of(of)).index), lanes.count())
                });
                lanes.run(
                    team,
                    &mut shared.shares,
                    |lane| lane.index,
                    |lane, share| {
                        share.iter_mut().for_each(|share| share.add(present, len, lane, &place_of, add_term));
                    },
                );
                let summed = self.sum_subtrees(team, out, |node, sum| shared.add_above(node, sum));
                self.shared = Some(shared);
                return summed;
            }
            Terms::AtOnce(add_term) => &mut |place, sum, work| add_term(place, sum, work),
            Terms::OneByOne(add_term) => add_term,
        };
        self.sum(team, out, |operator, sum| {
            let place = place_of(operator);
            lanes.call(team, place, |work| add_term(place, sum, work));
            Ok(())
        })
    }

    /// `out ← Σ` over all subtrees, of which `add_subtree` sums those of this rank.
    fn sum_subtrees(
        &mut self,
        team: &Team,
        out: &mut Vector<S>,
        mut add_subtree: impl FnMut(Range<usize>, &mut [S]),
    ) -> Result<(), Error> {
        let (rank, len) = (team.rank(), out.as_slice().len());
        let operators = 0..self.count;
        if team.size() == 1 {
            add_subtree(operators, out.as_mut_slice());
            return team.settle();
        }
        let Ordered { subtrees, places, more, partial_top, .. } = self;
        let more = more.get_or_insert_with(|| {
            let of = |owner: usize| subtrees.iter().filter(|s| s.owner == owner).count();
            let lens: Vec<usize> = (0..team.size()).map(|owner| of(owner).saturating_sub(1) * len).collect();
            team.zeros_beside(&lens)
        });
        for (subtree, place) in subtrees.iter().zip(&*places).filter(|(subtree, _)| subtree.owner == rank) {
            let sum = match place {
                0 => out.as_mut_slice(),
                _ => &mut more[(place - 1) * len..place * len],
            };
            add_subtree(subtree.operators.clone(), sum);
        }
        let shared = team.combine(out, more, |leaves, sum| {
            let leaf = |k: usize| leaves.leaf(subtrees[k].owner, places[k]);
            add_top(operators.clone(), subtrees, sum, partial_top, &leaf);
        });
        if let Some(summed) = shared {
            return summed;
        }
        for start in (0..len).step_by(CHUNK) {
            self.combine(team, start..(start + CHUNK).min(len), out);
        }
        team.settle()
    }

    /// Combines the subtrees' sums over one chunk of the vector, by messages.
    fn combine(&mut self, team: &Team, chunk: Range<usize>, out: &mut Vector<S>) {
        let (rank, ranks) = (team.rank(), team.size());
        let slices: Vec<Range<usize>> = (0..ranks)
            .map(|r| slice(chunk.len(), ranks, r))
            .map(|s| chunk.start + s.start..chunk.start + s.end)
            .collect();
        let of = |owner: usize| self.subtrees.iter().filter(move |s| s.owner == owner).count();

        self.send.clear();
        let len = out.as_slice().len();
        for slice in &slices {
            for place in 0..of(rank) {
                let sum = match (place, &self.more) {
                    (1.., Some(more)) => &more[(place - 1) * len..place * len],
                    _ => out.as_slice(),
                };
                self.send.extend_from_slice(&sum[slice.clone()]);
            }
        }
        let here = slices[rank].len();
        let send_counts: Vec<usize> = slices.iter().map(|slice| slice.len() * of(rank)).collect();
        let counts: Vec<usize> = (0..ranks).map(|owner| here * of(owner)).collect();
        self.received.resize(counts.iter().sum(), S::default());
        team.exchange(&self.send, &send_counts, &mut self.received, &counts);

        // received: by owner, then in the order of that owner's subtrees; the tree wants them from left to right
        let mut next: Vec<usize> = counts.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
        let leaves: Vec<usize> = self
            .subtrees
            .iter()
            .map(|subtree| {
                let at = &mut next[subtree.owner];
                std::mem::replace(at, *at + here)
            })
            .collect();
        let operators = 0..self.count;
        let Ordered { subtrees, partial_top, received, result, .. } = self;
        result.resize(here, S::default());
        let received = &*received;
        add_top(operators, subtrees, result, partial_top, &|k| &received[leaves[k]..leaves[k] + here]);

        let gather_counts: Vec<usize> = slices.iter().map(|slice| slice.len()).collect();
        team.gather(result, &mut out.as_mut_slice()[chunk], &gather_counts, None);
    }
}

/// A rank's subtrees, shared by its lanes.
struct InLanes<S> {
    /// From left to right; of each its place among its lane's.
    nodes: Vec<Subtree>,
    places: Vec<usize>,
    shares: Vec<Share<S>>,
    partial: Vec<Vec<S>>,
}

/// The nodes of one lane and their sums.
struct Share<S> {
    nodes: Vec<(Range<usize>, Vec<S>)>,
    partial: Vec<Vec<S>>,
}

impl<S: Scalar> InLanes<S> {
    fn new(nodes: Vec<Subtree>, lanes: usize) -> Self {
        let mut shares: Vec<_> = (0..lanes).map(|_| Share { nodes: Vec::new(), partial: Vec::new() }).collect();
        let places = nodes
            .iter()
            .map(|node| {
                let of_lane = &mut shares[node.owner].nodes;
                of_lane.push((node.operators.clone(), Vec::new()));
                of_lane.len() - 1
            })
            .collect();
        InLanes { nodes, places, shares, partial: Vec::new() }
    }

    /// `sum ← Σ` of what the lanes have added below a subtree of the rank.
    fn add_above(&mut self, subtree: Range<usize>, sum: &mut [S]) {
        let InLanes { nodes, places, shares, partial } = self;
        add_top(subtree, nodes, sum, partial, &|k| &shares[nodes[k].owner].nodes[places[k]].1);
    }
}

impl<S: Scalar> Share<S> {
    /// Adds up the nodes of a lane.
    fn add(
        &mut self,
        present: &[usize],
        len: usize,
        lane: &mut Lane,
        place_of: &impl Fn(usize) -> usize,
        add_term: &AtOnce<S>,
    ) {
        for (node, sum) in &mut self.nodes {
            sum.resize(len, S::default());
            add_node(node.clone(), present, sum, &mut self.partial, &mut |operator, sum| {
                let place = place_of(operator);
                lane.call(operator, |work| add_term(place, sum, work));
            });
        }
    }
}

/// `sum ← Σ` of a node's operators; `partial` keeps a buffer for each level.
fn add_node<S: Scalar>(
    node: Range<usize>,
    present: &[usize],
    sum: &mut [S],
    partial: &mut Vec<Vec<S>>,
    add_term: &mut impl FnMut(usize, &mut [S]),
) {
    if let few @ ([] | [_]) = inside(present, &node) {
        sum.fill(S::default());
        few.iter().for_each(|only| add_term(*only, sum));
        return;
    }
    let (left, right) = halves(&node);
    for (half, other) in [(&left, &right), (&right, &left)] {
        if inside(present, other).is_empty() {
            return add_node(half.clone(), present, sum, partial, add_term);
        }
    }
    add_node(left, present, sum, partial, add_term);
    let mut other = partial.pop().unwrap_or_default();
    other.resize(sum.len(), S::default());
    add_node(right, present, &mut other, partial, add_term);
    add(&other, sum);
    partial.push(other);
}

/// `sum ← Σ` of the subtrees below a node of the top of the tree; `leaf(k)` is the sum of subtree k.
fn add_top<'l, S: Scalar>(
    node: Range<usize>,
    subtrees: &[Subtree],
    sum: &mut [S],
    partial: &mut Vec<Vec<S>>,
    leaf: &impl Fn(usize) -> &'l [S],
) {
    if let Some(index) = leaf_at(&node, subtrees) {
        sum.copy_from_slice(leaf(index));
        return;
    }
    let (left, right) = halves(&node);
    for (half, other) in [(&left, &right), (&right, &left)] {
        if !subtrees.iter().any(|subtree| other.contains(&subtree.operators.start)) {
            return add_top(half.clone(), subtrees, sum, partial, leaf);
        }
    }
    add_top(left, subtrees, sum, partial, leaf);
    if let Some(index) = leaf_at(&right, subtrees) {
        add(leaf(index), sum);
        return;
    }
    let mut other = partial.pop().unwrap_or_default();
    other.resize(sum.len(), S::default());
    add_top(right, subtrees, &mut other, partial, leaf);
    add(&other, sum);
    partial.push(other);
}

/// The subtree that is this node, if one is.
fn leaf_at(node: &Range<usize>, subtrees: &[Subtree]) -> Option<usize> {
    let found = subtrees.binary_search_by_key(&node.start, |subtree| subtree.operators.start).ok()?;
    (subtrees[found].operators == *node).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees_are_the_largest_nodes_of_one_owner() {
        let found = subtrees(&[0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(found.len(), 2);
        // 0..12 halves at 6; ranks 0 and 2 own 4 each: 0..3 | 3 | 4..6 | 6..8 | 8 | 9..12 …
        let found = subtrees(&[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        let covered: Vec<usize> = found.iter().flat_map(|s| s.operators.clone()).collect();
        assert_eq!(covered, (0..12).collect::<Vec<_>>());
        assert!(found.iter().all(|s| s.operators.clone().all(|i| i / 4 == s.owner)));
    }

    #[test]
    fn round_robin_has_one_subtree_for_each_operator() {
        assert_eq!(subtrees(&[0, 1, 0, 1, 0]).len(), 5);
        assert_eq!(subtrees(&[0, 0, 0]).len(), 1);
    }
}
