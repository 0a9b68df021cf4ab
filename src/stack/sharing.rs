//! Blocks that several ranks hold, and sums over just these ranks.
//!
//! Each set of ranks that holds some block has a team of its own. All ranks go through the sets in the same order, so the
//! sums of sets that overlap wait for each other and never in a circle. What one rank holds alone is not sent.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::Part;
use super::lanes::{Lanes, Terms};
use super::tree::Ordered;
use super::window::Window;
use crate::comm::{Summation, Team};
use crate::error::Error;
use crate::scalar::Scalar;
use crate::space::{Space, Vector, add};

/// The sums that complete the blocks of one side of a stack: of `x`, or of the measurements.
pub(super) struct Sharing<S> {
    /// In the order of the first block of each, alike on all ranks.
    sets: Vec<Set<S>>,
    /// What each operator of this rank adds, for ordered sums.
    terms: Vec<Vec<S>>,
    /// What each lane but the first adds, for fast ones.
    of_lanes: Vec<Vec<S>>,
}

/// The blocks that one set of ranks holds together, this rank among them.
struct Set<S> {
    team: Team,
    /// Runs of blocks in this rank's buffer.
    runs: Vec<Range<usize>>,
    /// For ordered sums; none for fast ones.
    blocks: Vec<Shared<S>>,
}

/// One block, for ordered sums.
struct Shared<S> {
    block: usize,
    ordered: Ordered<S>,
    sum: Vector<S>,
}

impl<S: Scalar> Sharing<S> {
    /// The sums for blocks of a space. Collective: yes, one split for each set of more than one rank.
    pub fn new(team: &Team, parts: &[Part], space: &Arc<Space>, owners: &[usize]) -> Self {
        let ordered = team.summation() == Summation::Ordered;
        let mut known = HashSet::new();
        let all = parts.iter().map(|part| part.ranks.as_slice()).filter(|ranks| known.insert(*ranks));
        let set = |ranks: &[usize]| {
            let mine = ranks.binary_search(&team.rank()).is_ok();
            let of_set = match ranks {
                [_] => mine.then(Team::solo),
                _ => team.split_counted(mine.then_some(0)),
            };
            let team = of_set?;
            // an owner that is not among these ranks adds nothing here
            let in_set: Vec<usize> = owners.iter().map(|owner| ranks.binary_search(owner).unwrap_or(0)).collect();
            let mut set = Set { team, runs: Vec::<Range<usize>>::new(), blocks: Vec::new() };
            let mut last = None;
            for (block, part) in parts.iter().enumerate().filter(|(_, part)| part.ranks == ranks) {
                let range = space.local(block)?;
                // neighbours by number are neighbours on every rank; others may be on some
                match set.runs.last_mut().filter(|_| last.is_some_and(|last: usize| last + 1 == block)) {
                    Some(run) => run.end = range.end,
                    None => set.runs.push(range),
                }
                last = Some(block);
                if !ordered {
                    continue;
                }
                let sum = Vector::zeros(&Space::replicated(part.shape.clone()));
                set.blocks.push(Shared { block, ordered: Ordered::of(part.operators.clone(), &in_set), sum });
            }
            Some(set)
        };
        Sharing { sets: all.filter_map(set).collect(), terms: Vec::new(), of_lanes: Vec::new() }
    }

    /// Each block of `vector` as the sum of what operators add to it in their windows. A fault is noted; it settles nothing.
    ///
    /// Collective: yes. Fast: one reduction for each set of several ranks and each run of its blocks. Ordered: an ordered sum
    /// for each block, in the order of operators whoever owns them. Both among the ranks that share the blocks.
    pub fn sum(
        &mut self,
        team: &Team,
        vector: &mut Vector<S>,
        local: &[usize],
        windows: &[Window],
        lanes: &mut Lanes,
        terms: Terms<S>,
    ) -> Result<(), Error> {
        if team.summation() == Summation::Fast {
            vector.fill(S::default());
            lanes.add(team, windows, vector.as_mut_slice(), &mut self.of_lanes, terms);
            for set in self.sets.iter().filter(|set| set.team.size() > 1) {
                for run in &set.runs {
                    set.team.sum_slice(&mut vector.as_mut_slice()[run.clone()]);
                }
            }
            return Ok(());
        }
        self.terms.resize_with(windows.len(), Vec::new);
        let zero = |term: &mut Vec<S>, place: usize| {
            term.clear();
            term.resize(windows[place].len(), S::default());
        };
        match terms {
            Terms::AtOnce(add_term) => lanes.run(
                team,
                &mut self.terms,
                |lane| lane.first,
                |lane, terms| {
                    let first = lane.first;
                    lane.each(|place, work| {
                        let term = &mut terms[place - first];
                        zero(term, place);
                        add_term(place, term, work)
                    });
                },
            ),
            Terms::OneByOne(add_term) => lanes.one_by_one(team, |place, work| {
                let term = &mut self.terms[place];
                zero(term, place);
                add_term(place, term, work)
            }),
        }
        let terms = &self.terms;
        for Set { team, blocks, .. } in &mut self.sets {
            for Shared { block, ordered, sum } in blocks {
                ordered.sum(team, sum, |operator, sum| {
                    if let Ok(place) = local.binary_search(&operator) {
                        add(&terms[place][windows[place].part(*block)], sum);
                    }
                    Ok(())
                })?;
                if let Some(to) = vector.block_slice_mut(*block) {
                    to.copy_from_slice(sum.as_slice());
                }
            }
        }
        Ok(())
    }
}
