//! Which piece of which part goes where: the plan of a halo, from the partition alone.
//!
//! A part with its margins is made of boxes, one for each choice of a run along each dim; each is a copy of a box in one part.
//! All ranks go through all parts and boxes in the same order, so both ends of a message know what stands where in it.

use std::ops::Range;

use super::margin::{Margin, Run};
use super::patch::{Patch, Place};
use crate::space::{Partition, Space};

/// The pieces that a rank has to do with.
pub(super) struct Pieces {
    /// What this rank's parts give: first to themselves, then in the order of the parts that get it.
    pub given: Vec<Given>,
    /// What parts of this rank get from other ranks, in the order in which it stands in the messages.
    pub taken: Vec<Patch>,
    /// To whom a message goes, and where it lies among what is sent.
    pub to: Vec<(usize, Range<usize>)>,
    /// From whom one comes, and where it lies among what is received.
    pub from: Vec<(usize, Range<usize>)>,
}

/// A piece of a part of this rank, and where it goes.
pub(super) struct Given {
    pub patch: Patch,
    pub to: Goal,
}

/// Where a piece goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// All of a part, into the same part with margins.
    Itself,
    /// Into a margin on this rank.
    Margin,
    /// Into a message.
    Message,
}

impl Pieces {
    /// The pieces of the rank that sees parts as `domain`, and parts with margins as `range`.
    pub fn new(partition: &Partition, margins: &[Margin], owners: &[usize], [domain, range]: [&Space; 2]) -> Self {
        let runs_along = |(axis, margin): (usize, &Margin)| -> Vec<Vec<Run>> {
            let edges = partition.edges(axis);
            (0..edges.len() - 1).map(|part| margin.runs(edges, part)).collect()
        };
        let runs: Vec<Vec<Vec<Run>>> = margins.iter().enumerate().map(runs_along).collect();
        let (mut given, mut to, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (part, getter) in owners.iter().enumerate() {
            let runs: Vec<&[Run]> = runs.iter().zip(partition.place(part)).map(|(runs, at)| &runs[at][..]).collect();
            each_box(&runs, |sides| {
                let source = partition.part(&sides.iter().map(|run| run.part).collect::<Vec<_>>());
                let counts: Vec<usize> = sides.iter().map(|run| run.count).collect();
                let narrow = domain.local(source).map(|at| {
                    let begins = sides.iter().map(|run| (run.start, run.step));
                    Place::inside(at.start, &domain.blocks()[source].shape.sizes(), begins)
                });
                let wide = range.local(part).map(|at| {
                    let begins = sides.iter().map(|run| (run.wide, 1));
                    Place::inside(at.start, &range.blocks()[part].shape.sizes(), begins)
                });
                match (narrow, wide) {
                    (Some(narrow), Some(wide)) => {
                        let is_inside = sides.iter().zip(margins).all(|(run, margin)| run.wide == margin.before);
                        let to = if is_inside { Goal::Itself } else { Goal::Margin };
                        given.push(Given { patch: Patch { counts, narrow, wide }, to });
                    }
                    (Some(narrow), None) => {
                        let wide = Place::packed(pack(&mut to, *getter, &counts), &counts);
                        given.push(Given { patch: Patch { counts, narrow, wide }, to: Goal::Message });
                    }
                    (None, Some(wide)) => taken.push((owners[source], counts, wide)),
                    (None, None) => {}
                }
            });
        }
        given.sort_by_key(|given| given.to != Goal::Itself);
        taken.sort_by_key(|(giver, ..)| *giver); // keeps the order of parts, which is that of each message
        let mut from = Vec::new();
        let unpack = |(giver, counts, wide): (usize, Vec<usize>, Place)| {
            let narrow = Place::packed(pack(&mut from, giver, &counts), &counts);
            Patch { counts, narrow, wide }
        };
        let taken = taken.into_iter().map(unpack).collect();
        Pieces { given, taken, to, from }
    }
}

/// Visits each box that one run of each dim makes.
fn each_box(runs: &[&[Run]], mut visit: impl FnMut(&[Run])) {
    for index in 0..runs.iter().map(|runs| runs.len()).product() {
        let mut rest = index;
        let mut sides: Vec<Run> = Vec::with_capacity(runs.len());
        for runs in runs.iter().rev() {
            sides.push(runs[rest % runs.len()]);
            rest /= runs.len();
        }
        sides.reverse();
        visit(&sides);
    }
}

/// Room for a box at the end of the last rank's message, or in a first one for another rank; where it begins.
fn pack(messages: &mut Vec<(usize, Range<usize>)>, rank: usize, counts: &[usize]) -> usize {
    let begin = messages.last().map_or(0, |(_, last)| last.end);
    let end = begin + counts.iter().product::<usize>();
    match messages.last_mut().filter(|(last, _)| *last == rank) {
        Some((_, range)) => range.end = end,
        None => messages.push((rank, begin..end)),
    }
    begin
}
