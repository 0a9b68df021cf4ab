//! Blocks of a vector moved from the ranks that hold them to the ranks that need them.
//!
//! All messages are planned beforehand, alike on all ranks, from the two spaces alone: nobody asks another rank. They go
//! straight from one vector into the other, all under way at the same time. (Compare `VecScatter` of PETSc, and `ToDevice` of
//! torch-named-linops.)

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::ends::Ends;
use super::{Message, Team};
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::space::{Space, Vector, add};

/// One message of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The block that is sent.
    pub block: usize,
    /// The rank that sends it.
    pub from: usize,
    /// The rank that gets it.
    pub to: usize,
    /// Its length.
    pub bytes: u64,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}: rank {} → {}, {} bytes", self.block, self.from, self.to, self.bytes)
    }
}

/// The operator `T` that gives each block to the ranks that hold it in the range.
///
/// Forward: each rank that is to hold a block and does not gets it from its owner. Adjoint: the reverse; what the ranks of the
/// range have made of their copies is **summed**, and every rank that holds the block in the domain gets the sum. So a copy
/// of the range counts for itself: `⟨T x, y⟩` is the sum over all copies on all ranks, `⟨x, Tᴴ y⟩` that of
/// [`Team::dots`]. `TᴴT` multiplies a block by the number of its copies in the range: where each goes to one rank it is the
/// identity, bit for bit. The sum is made in the order of ranks, so it has the same bits wherever it is made.
///
/// Collective: `forward` and `adjoint` yes: one message for each block and rank that lacks it, between these ranks only, and
/// a scalar reduction that settles. The `unsettled` forms do without the reduction: a fault stays pending in the team. When
/// they return, the source may be overwritten. Memory: none beside the vectors; for adjoints that sum, the copies that this
/// rank sums. Errors: a vector of another space, one that lives on other ranks for example; the same on all ranks.
///
/// ```
/// use stackphys::Shape;
/// use stackphys::comm::{Team, Transfer, threads};
/// use stackphys::space::{Block, Placement, Space, Vector};
/// let results = threads::run(3, |comm| {
///     let team = Team::new(comm);
///     let on = |ranks: [usize; 2]| {
///         let block = |rank| Block { shape: Shape::new([("x", 4)]), placement: Placement::On(rank) };
///         Space::new(ranks.map(block).to_vec(), team.rank())
///     };
///     let transfer = team.agree(Transfer::<f64>::new(&team, &on([0, 0]), &on([0, 2])))?;
///     assert_eq!(transfer.to_string(), "1 message, 32 bytes\n  block 1: rank 0 → 2, 32 bytes\n");
///     let (mut x, mut y) = (Vector::zeros(transfer.domain()), Vector::zeros(transfer.range()));
///     x.fill(7.0);
///     transfer.forward(&team, &x, &mut y)?;
///     Ok::<_, stackphys::Error>(y.as_slice().to_vec())
/// });
/// let parts = results.into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(parts, [vec![7.0; 4], vec![], vec![7.0; 4]]);
/// # Ok::<(), stackphys::Error>(())
/// ```
pub struct Transfer<S> {
    ends: Ends,
    there: Way,
    back: Way,
    /// Where a block of the range has several holders, who all add to the block of the domain.
    sums: Option<Sums<S>>,
}

/// One direction: what all ranks send, and what of it is this rank's affair.
struct Way {
    moves: Vec<Move>,
    /// What stays here: where it lies in the source, and in the target.
    own: Vec<(Range<usize>, Range<usize>)>,
    to: Vec<Message>,
    from: Vec<Message>,
}

/// What makes up the blocks of this rank in the domain, and room for what other ranks add.
struct Sums<S> {
    blocks: Vec<(Range<usize>, Vec<Term>)>,
    received: RefCell<Vec<S>>,
}

/// One copy of a block.
enum Term {
    /// In the vector of the range.
    Own(Range<usize>),
    /// Among what was received.
    Received(Range<usize>),
}

impl<S: Scalar> Transfer<S> {
    /// The transfer from one space to another that has the same blocks on other ranks.
    ///
    /// Collective: no; all ranks make the same plan. Cost: as many steps as blocks have copies. Faults: blocks that differ in
    /// number or shape; a rank that the team does not have.
    pub fn new(team: &Team, from: &Arc<Space>, to: &Arc<Space>) -> Result<Self, Fault> {
        let (rank, size) = (team.rank(), team.size());
        check(from, to, [rank, size])?;
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let mut has_copies = false;
        for (block, (source, target)) in from.blocks().iter().zip(to.blocks()).enumerate() {
            let bytes = (source.shape.len() * size_of::<S>()) as u64;
            let targets = target.placement.ranks(size);
            has_copies |= targets.len() > 1;
            let lacking = targets.iter().filter(|to| !source.placement.holds(**to));
            there.extend(lacking.map(|to| Move { block, from: source.placement.owner(), to: *to, bytes }));
            for to in source.placement.ranks(size) {
                let others = targets.iter().filter(|from| **from != to);
                back.extend(others.map(|from| Move { block, from: *from, to, bytes }));
            }
        }
        let there = Way::new::<S>(there, from, to, rank);
        let mut back = Way::new::<S>(back, to, from, rank);
        let sums = has_copies.then(|| Sums::new(&mut back, from, to, [rank, size]));
        Ok(Transfer { ends: Ends::new("transfer", team, from.clone(), to.clone()), there, back, sums })
    }

    /// The space that blocks are moved from.
    pub fn domain(&self) -> &Arc<Space> {
        &self.ends.domain
    }
    /// The space that they are moved to.
    pub fn range(&self) -> &Arc<Space> {
        &self.ends.range
    }
    /// All messages of `forward`, of all ranks.
    pub fn moves(&self) -> &[Move] {
        &self.there.moves
    }
    /// All messages of `adjoint`, of all ranks.
    pub fn adjoint_moves(&self) -> &[Move] {
        &self.back.moves
    }

    /// `y = T x`. Collective: yes, see [`Transfer`]; settles.
    pub fn forward(&self, team: &Team, x: &Vector<S>, y: &mut Vector<S>) -> Result<(), Error> {
        self.forward_unsettled(team, x, y);
        team.settle()
    }
    /// As [`forward`](Self::forward); a fault stays pending. Collective: yes, between the ranks of [`moves`](Self::moves).
    pub fn forward_unsettled(&self, team: &Team, x: &Vector<S>, y: &mut Vector<S>) {
        self.ends.forward(team, x, y, |x, y| self.there.carry(team, x, y));
    }

    /// `x = Tᴴ y`. Collective: yes, see [`Transfer`]; settles.
    pub fn adjoint(&self, team: &Team, y: &Vector<S>, x: &mut Vector<S>) -> Result<(), Error> {
        self.adjoint_unsettled(team, y, x);
        team.settle()
    }
    /// As [`adjoint`](Self::adjoint); a fault stays pending. Collective: yes, between the ranks of
    /// [`adjoint_moves`](Self::adjoint_moves).
    pub fn adjoint_unsettled(&self, team: &Team, y: &Vector<S>, x: &mut Vector<S>) {
        self.ends.adjoint(team, y, x, |y, x| match &self.sums {
            None => self.back.carry(team, y, x),
            Some(sums) => {
                let received = &mut *sums.received.borrow_mut();
                team.messages(y, &self.back.to, received, &self.back.from);
                sums.make(y, received, x);
            }
        });
    }
}

/// The number of messages, and a line for each.
impl<S> fmt::Display for Transfer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moves = &self.there.moves;
        let bytes: u64 = moves.iter().map(|message| message.bytes).sum();
        writeln!(f, "{} message{}, {bytes} bytes", moves.len(), if moves.len() == 1 { "" } else { "s" })?;
        moves.iter().try_for_each(|message| writeln!(f, "  {message}"))
    }
}

/// What is wrong with two spaces, if anything.
fn check(from: &Space, to: &Space, [rank, size]: [usize; 2]) -> Result<(), Fault> {
    if from.blocks().len() != to.blocks().len() {
        let text = format!("transfer: from {} blocks to {}", from.blocks().len(), to.blocks().len());
        return Err(Fault::new(text).hint("a transfer moves blocks; both spaces have the same ones"));
    }
    for (block, (source, target)) in from.blocks().iter().zip(to.blocks()).enumerate() {
        source.shape.expect(&target.shape, &format!("transfer: block {block}"))?;
        for (space, placement) in [(from, &source.placement), (to, &target.placement)] {
            let ranks = placement.ranks(size);
            if ranks.is_empty() || ranks.iter().any(|rank| *rank >= size) {
                let text = format!("transfer: expected block {block} on some of {size} ranks, got it on {placement}");
                return Err(Fault::new(text).hint("ranks are counted from 0"));
            }
            if space.local(block).is_some() != placement.holds(rank) {
                return Err(Fault::new(format!("transfer: a space is not the one that rank {rank} sees"))
                    .hint("make spaces with `Space::new(blocks, team.rank())`"));
            }
        }
    }
    Ok(())
}

impl Way {
    fn new<S: Scalar>(moves: Vec<Move>, source: &Space, target: &Space, rank: usize) -> Self {
        let out = moves.iter().filter(|planned| planned.from == rank);
        let to = out.filter_map(|planned| Some(Message::of::<S>(planned.to, source.local(planned.block)?))).collect();
        let coming = moves.iter().filter(|planned| planned.to == rank);
        let from =
            coming.filter_map(|planned| Some(Message::of::<S>(planned.from, target.local(planned.block)?))).collect();
        let own = (0..source.blocks().len()).filter_map(|block| source.local(block).zip(target.local(block))).collect();
        Way { moves, own, to, from }
    }

    fn carry<S: Scalar>(&self, team: &Team, source: &[S], target: &mut [S]) {
        team.messages(source, &self.to, target, &self.from);
        for (from, to) in &self.own {
            target[to.clone()].copy_from_slice(&source[from.clone()]);
        }
    }
}

impl<S: Scalar> Sums<S> {
    /// The sums at the end of a way `back` from `range` to `domain`, whose messages arrive elsewhere from now on.
    fn new(back: &mut Way, domain: &Space, range: &Space, [rank, size]: [usize; 2]) -> Self {
        let (mut len, mut arriving) = (0, back.from.iter_mut());
        let blocks = (0..domain.blocks().len()).filter_map(|block| {
            let sum = domain.local(block)?;
            let term = |from: usize| {
                if from == rank {
                    return range.local(block).map(Term::Own);
                }
                let place = len..len + sum.len();
                len = place.end;
                *arriving.next()? = Message::of::<S>(from, place.clone());
                Some(Term::Received(place))
            };
            let terms = range.blocks()[block].placement.ranks(size).into_iter().filter_map(term).collect();
            Some((sum, terms))
        });
        let blocks = blocks.collect();
        Sums { blocks, received: RefCell::new(vec![S::default(); len]) }
    }

    fn make(&self, y: &[S], received: &[S], x: &mut [S]) {
        for (sum, terms) in &self.blocks {
            let sum = &mut x[sum.clone()];
            for (place, term) in terms.iter().enumerate() {
                let term = match term {
                    Term::Own(range) => &y[range.clone()],
                    Term::Received(range) => &received[range.clone()],
                };
                if place == 0 { sum.copy_from_slice(term) } else { add(term, sum) }
            }
        }
    }
}
