//! A space: an ordered product of named blocks, and which rank holds which.
//!
//! A [`Space`] is plain shared data. It is made once, alike on all ranks, never communicates and never allocates
//! afterwards. Two spaces are compared by a stored hash.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::Shape;
use crate::error::Fault;

/// Which ranks hold a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Placement {
    /// All ranks hold the same numbers.
    Everywhere,
    /// One rank holds them.
    On(usize),
    /// These ranks, rising, hold the same numbers.
    Among(Arc<[usize]>),
}

impl Placement {
    /// On these ranks, rising, of a team of `size`.
    pub fn on(ranks: &[usize], size: usize) -> Self {
        match ranks {
            all if all.len() == size => Placement::Everywhere,
            [one] => Placement::On(*one),
            some => Placement::Among(some.into()),
        }
    }
    /// Whether a rank holds the numbers.
    pub fn holds(&self, rank: usize) -> bool {
        match self {
            Placement::Everywhere => true,
            Placement::On(owner) => *owner == rank,
            Placement::Among(ranks) => ranks.binary_search(&rank).is_ok(),
        }
    }
    /// The ranks that hold the numbers, rising, of a team of `size`.
    pub fn ranks(&self, size: usize) -> Vec<usize> {
        match self {
            Placement::Everywhere => (0..size).collect(),
            Placement::On(owner) => vec![*owner],
            Placement::Among(ranks) => ranks.to_vec(),
        }
    }
    /// The rank whose numbers count, of those that hold them: the first.
    pub fn owner(&self) -> usize {
        match self {
            Placement::Everywhere => 0,
            Placement::On(owner) => *owner,
            Placement::Among(ranks) => ranks.first().copied().unwrap_or(0),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::Everywhere => f.write_str("all ranks"),
            Placement::On(owner) => write!(f, "rank {owner}"),
            Placement::Among(ranks) => write!(f, "ranks {ranks:?}"),
        }
    }
}

/// One block of a space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Block {
    /// What it looks like.
    pub shape: Shape,
    /// Who holds it.
    pub placement: Placement,
}

/// A product of blocks with an owner each, as seen from one rank.
///
/// ```
/// use stackphys::space::{Block, Placement, Shape, Space};
/// let part = |n, rank| Block { shape: Shape::new([("row", n)]), placement: Placement::On(rank) };
/// let data = Space::new(vec![part(3, 0), part(4, 1), part(5, 1)], 1); // seen from rank 1
/// assert_eq!((data.len(), data.local_len()), (12, 9));
/// assert_eq!(data.local(2), Some(4..9));
/// assert_eq!(data.local(0), None);
/// ```
#[derive(Debug)]
pub struct Space {
    blocks: Vec<Block>,
    local: Vec<Option<Range<usize>>>,
    len: usize,
    local_len: usize,
    replicated: bool,
    hash: u64,
}

impl Space {
    /// A space from its blocks, as seen from `rank`.
    pub fn new(blocks: Vec<Block>, rank: usize) -> Arc<Self> {
        let mut local_len = 0;
        let local = blocks
            .iter()
            .map(|block| {
                block.placement.holds(rank).then(|| {
                    let start = local_len;
                    local_len += block.shape.len();
                    start..local_len
                })
            })
            .collect();
        let mut hasher = DefaultHasher::new();
        blocks.hash(&mut hasher);
        Arc::new(Space {
            local,
            len: blocks.iter().map(|block| block.shape.len()).sum(),
            local_len,
            replicated: blocks.iter().all(|block| block.placement == Placement::Everywhere),
            hash: hasher.finish(),
            blocks,
        })
    }

    /// One block that every rank holds.
    pub fn replicated(shape: Shape) -> Arc<Self> {
        Space::new(vec![Block { shape, placement: Placement::Everywhere }], 0)
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
    /// The number of elements over all ranks; a replicated block counts once.
    #[allow(clippy::len_without_is_empty)] // a space may be empty on one rank and not on another: see `local_len`
    pub fn len(&self) -> usize {
        self.len
    }
    /// The number of elements that this rank holds.
    pub fn local_len(&self) -> usize {
        self.local_len
    }
    /// Where block `index` lies in this rank's buffer, if there is one and it is here.
    pub fn local(&self, index: usize) -> Option<Range<usize>> {
        self.local.get(index)?.clone()
    }
    /// Whether every rank holds everything, so that sums over elements need no communication.
    pub fn is_replicated(&self) -> bool {
        self.replicated
    }
    /// Whether this is the same space.
    pub fn same(&self, other: &Space) -> bool {
        self.hash == other.hash
    }

    /// A fault that says what differs, if `got` is not this space; `what` names the vector.
    pub fn expect(&self, got: &Space, what: &str) -> Result<(), Fault> {
        if self.same(got) {
            return Ok(());
        }
        let mut blocks = self.blocks.iter().zip(&got.blocks).enumerate();
        let difference = if self.blocks.len() != got.blocks.len() {
            format!("expected {} blocks, got {}", self.blocks.len(), got.blocks.len())
        } else if self.len != got.len {
            format!("expected {} numbers in all, got {}", self.len, got.len)
        } else if let Some((index, (want, got))) = blocks.clone().find(|(_, (want, got))| want.shape != got.shape) {
            format!("expected {} in block {index}, got {}", want.shape, got.shape)
        } else if let Some((index, (want, got))) = blocks.find(|(_, (want, got))| want.placement != got.placement) {
            format!("expected block {index} on {}, got it on {}", want.placement, got.placement)
        } else {
            "it is seen from another rank".into()
        };
        Err(Fault::new(format!("{what} is a vector of another space: {difference}")))
    }
}
