//! What of a vector an operator sees: some of its blocks, one after the other.

use std::ops::Range;

use crate::error::Fault;
use crate::operator::Work;
use crate::scalar::Scalar;
use crate::space::{Space, add};

/// The blocks of a vector that an operator reads, or adds to, as this rank holds them.
pub(super) struct Window {
    /// Of each block: which, where it lies in the vector, and where among the operator's own numbers.
    blocks: Vec<(usize, Range<usize>, Range<usize>)>,
    /// All of them in the vector, where they are neighbours there.
    run: Option<Range<usize>>,
    len: usize,
}

impl Window {
    /// The window on blocks that this rank holds.
    pub fn new(blocks: &[usize], space: &Space) -> Self {
        let mut len = 0;
        let blocks: Vec<_> = blocks
            .iter()
            .filter_map(|block| {
                let there = space.local(*block)?;
                let here = len..len + there.len();
                len = here.end;
                Some((*block, there, here))
            })
            .collect();
        let neighbours = blocks.windows(2).all(|pair| pair[0].1.end == pair[1].1.start);
        let run = blocks.first().filter(|_| neighbours).map(|(_, first, _)| first.start..first.start + len);
        Window { blocks, run, len }
    }

    /// How many numbers the operator sees.
    pub fn len(&self) -> usize {
        self.len
    }
    /// From the first to the last number in it.
    pub fn span(&self) -> Range<usize> {
        let start = self.blocks.iter().map(|(_, there, _)| there.start).min().unwrap_or(0);
        start..self.blocks.iter().map(|(_, there, _)| there.end).max().unwrap_or(start)
    }
    /// The numbers in the window on one block. Of several there are none.
    pub fn slice<'v, S>(&self, vector: &'v [S]) -> &'v [S] {
        self.run.clone().map_or(&[], |run| &vector[run])
    }
    /// Where a block lies among the operator's own numbers.
    pub fn part(&self, block: usize) -> Range<usize> {
        let found = self.blocks.iter().find(|(of, ..)| *of == block);
        found.map_or(0..0, |(_, _, here)| here.clone())
    }

    /// Hands the numbers in the window to `read`. Cost: a copy of them, unless the blocks are neighbours.
    pub fn read<S: Scalar, T>(&self, vector: &[S], work: &mut Work, read: impl FnOnce(&[S], &mut Work) -> T) -> T {
        if let Some(run) = &self.run {
            return read(&vector[run.clone()], work);
        }
        let mut joined = work.take("blocks that are read", self.len);
        for (_, there, here) in &self.blocks {
            joined[here.clone()].copy_from_slice(&vector[there.clone()]);
        }
        let done = read(&joined, work);
        work.give("blocks that are read", joined);
        done
    }

    /// Lets `add_to` add to the numbers in the window, of a vector from number `start` on. Cost: a copy of them, unless the
    /// blocks are neighbours.
    pub fn add<S: Scalar>(
        &self,
        vector: &mut [S],
        start: usize,
        work: &mut Work,
        add_to: impl FnOnce(&mut [S], &mut Work) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if let Some(run) = &self.run {
            return add_to(&mut vector[run.start - start..run.end - start], work);
        }
        let mut joined = work.take("blocks that are added to", self.len);
        joined.fill(S::default());
        let done = add_to(&mut joined, work);
        for (_, there, here) in &self.blocks {
            add(&joined[here.clone()], &mut vector[there.start - start..there.end - start]);
        }
        work.give("blocks that are added to", joined);
        done
    }
}
