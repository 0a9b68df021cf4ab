//! A copy of what this rank writes of a method's state.

use std::ops::Range;

use super::file::VectorEntry;
use super::pieces::Cursor;
use crate::solver::{Memory, Numbers};

/// A piece that this rank writes: its number, where in the file, and where in the copy.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub number: usize,
    pub offset: u64,
    pub bytes: Range<usize>,
}

/// The memory that a state is copied into.
pub(super) struct Snapshot {
    rank: usize,
    ranks: usize,
    cursor: Cursor,
    /// This rank's pieces, one behind the other.
    pub copy: Vec<u8>,
    pub parts: Vec<Part>,
    pub bits: Vec<(String, u64)>,
    pub vectors: Vec<VectorEntry>,
    /// Whether the method says that it cannot be kept.
    pub is_nothing: bool,
}

impl Snapshot {
    /// An empty one, on a rank of several, in room that is used again.
    pub fn new(rank: usize, ranks: usize, mut room: Vec<u8>) -> Self {
        room.clear();
        let (cursor, parts, bits, vectors) = (Cursor::default(), Vec::new(), Vec::new(), Vec::new());
        Snapshot { rank, ranks, cursor, copy: room, parts, bits, vectors, is_nothing: false }
    }

    /// How many pieces there are over all ranks, and how many bytes.
    pub fn total(&self) -> (usize, u64) {
        (self.cursor.number, self.cursor.offset)
    }
}

impl Memory for Snapshot {
    fn numbers(&mut self, numbers: Numbers) {
        let Numbers { space, width, bytes, .. } = &numbers;
        let entry = VectorEntry::of(&numbers);
        for piece in self.cursor.pieces(entry.blocks.iter().map(|len| len * width)) {
            let mine = piece.writer(space, self.ranks) == self.rank;
            let Some(local) = space.local(piece.block).filter(|_| mine) else { continue };
            let begin = self.copy.len();
            self.copy.extend_from_slice(&bytes[local.start * width..][piece.bytes]);
            self.parts.push(Part { number: piece.number, offset: piece.offset, bytes: begin..self.copy.len() });
        }
        self.vectors.push(entry);
    }

    fn bits(&mut self, name: &'static str, bits: &mut u64) {
        self.bits.push((name.to_owned(), *bits));
    }

    fn nothing(&mut self) {
        self.is_nothing = true;
    }
}
