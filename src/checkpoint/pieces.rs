//! How vectors lie in a file, and which rank writes which piece.
//!
//! Vectors follow each other, and so do the blocks of a vector, in the order of their index. A block is cut into pieces,
//! each with a checksum of its own; the cut depends on lengths alone, so a file reads the same on any number of ranks.

use std::ops::Range;

use crate::space::{Placement, Space};

/// Bytes of a piece: small enough to share the work of short vectors, large enough for disks.
const PIECE: usize = 1 << 20;

/// A piece of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its number among all pieces of the file.
    pub number: usize,
    /// Where it begins in the file.
    pub offset: u64,
    /// The block it is of.
    pub block: usize,
    /// Its bytes within the block.
    pub bytes: Range<usize>,
    /// How many pieces the block has, and which of them it is.
    of: usize,
    place: usize,
}

impl Piece {
    /// The rank that writes it, of those that hold the block: what several hold is dealt out in runs of neighbours.
    pub fn writer(&self, space: &Space, ranks: usize) -> usize {
        let holders = match &space.blocks()[self.block].placement {
            Placement::On(owner) => return *owner,
            Placement::Everywhere => return self.place * ranks / self.of,
            Placement::Among(holders) => holders,
        };
        holders[self.place * holders.len() / self.of]
    }
}

/// Where in a file the next vector begins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    /// The number of the next piece.
    pub number: usize,
    /// The next byte.
    pub offset: u64,
}

impl Cursor {
    /// The pieces of a vector with blocks of so many bytes; the cursor moves behind it.
    pub fn pieces(&mut self, blocks: impl Iterator<Item = usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (block, len) in blocks.enumerate() {
            let of = len.div_ceil(PIECE);
            for place in 0..of {
                let bytes = place * PIECE..((place + 1) * PIECE).min(len);
                pieces.push(Piece { number: self.number, offset: self.offset, block, bytes: bytes.clone(), of, place });
                self.number += 1;
                self.offset += bytes.len() as u64;
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Block, Shape};

    #[test]
    fn pieces_cover_blocks_once_and_all_holders_write() {
        let block = |len: usize, placement| Block { shape: Shape::new([("x", len)]), placement };
        let lens = [5 * PIECE / 8 + 1, 0, 3, 7 * PIECE / 8];
        let among = Placement::Among([1, 3].into());
        let placements = [Placement::Everywhere, Placement::On(2), Placement::On(1), among];
        let space = Space::new(lens.iter().zip(placements).map(|(len, placement)| block(*len, placement)).collect(), 0);
        let mut cursor = Cursor { number: 7, offset: 100 };
        let pieces = cursor.pieces(lens.iter().map(|len| len * 8));
        let (mut number, mut offset) = (7, 100);
        for piece in &pieces {
            assert_eq!((piece.number, piece.offset), (number, offset));
            number += 1;
            offset += piece.bytes.len() as u64;
            let writer = piece.writer(&space, 4);
            assert!(space.blocks()[piece.block].placement.holds(writer), "{piece:?}");
        }
        assert_eq!((cursor.number, cursor.offset), (number, offset));
        assert_eq!(offset - 100, lens.iter().map(|len| *len as u64 * 8).sum::<u64>());
        let writers = |block| -> Vec<usize> {
            let mut all: Vec<_> =
                pieces.iter().filter(|piece| piece.block == block).map(|p| p.writer(&space, 4)).collect();
            all.dedup();
            all
        };
        assert_eq!((writers(0), writers(2), writers(3)), (vec![0, 1, 2, 3], vec![1], vec![1, 3]));
    }
}
