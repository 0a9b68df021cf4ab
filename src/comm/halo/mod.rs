//! Margins for the parts of an array that is cut: each rank sees a little more than it holds.
//!
//! An operator that looks at neighbours (a blur, a finite difference) works part by part on parts with margins, which are
//! copies of what the neighbours hold. All pieces are planned beforehand from the partition alone. One message goes to each
//! rank that needs something, those across corners included, all under way at the same time.

mod margin;
mod patch;
mod pieces;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

pub use margin::{Beyond, Margin};

use self::patch::Patch;
use self::pieces::{Given, Goal, Pieces};
use super::ends::Ends;
use super::{Message, Team, Traffic};
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::space::{Block, Partition, Placement, Selection, Shape, Space, Tile, Vector};

/// The operator `H` that gives each part of an array its margins: from its neighbours, and beyond the edges as the margins
/// say.
///
/// A vector of the domain has one block for each part, on its owner ([`Partition::owners`]); one of the range has the same
/// blocks with margins. So a stack whose member j reads block j and has the shape of part j fits in between: the range is its
/// domain, and the domain its range. Parts may be unequal, a rank may own several or none, and margins may be wider than the neighbours:
/// they then reach across several. Adjoint: what stands in the margins is added to the samples that it is a copy of. These
/// sums are made in the order of parts, so they have the same bits on any number of ranks.
///
/// Where ranks are arranged as (groups of operators) × (parts), the team is that of one group: [`Team::split`].
///
/// Collective: `forward` and `adjoint` yes: one message to each rank whose parts need something of this rank's, and a scalar
/// reduction that settles. The `unsettled` forms do without the reduction, so a rank waits for its neighbours only; a fault
/// stays pending in the team. When they return, the source may be overwritten. Memory: the messages. Errors: a vector of
/// another space, the same on all ranks.
///
/// A Gaussian blur of an image that is cut into 2 × 2 parts is that of each part with margins, as far as it does not depend
/// on what lies beyond them:
///
/// ```
/// use stackphys::comm::{Beyond, Halo, Margin, Team, threads};
/// use stackphys::operator::{Apply, Work};
/// use stackphys::physics::{Blur, Padding};
/// use stackphys::space::{Partition, Vector};
/// use stackphys::{Fault, Shape};
/// let image = Shape::new([("y", 9), ("x", 12)]);
/// let pixels: Vec<f64> = (0..108).map(|k| f64::from(k * k % 97)).collect();
/// let blur = |of: &Shape| Blur::<f64>::gaussian(of, &[0.8, 0.8], Some(3), Padding::Circular);
/// let mut whole = vec![0.0; 108];
/// blur(&image).and_then(|blur| blur.forward(&pixels, &mut whole, &mut Work::default())).unwrap();
///
/// let parts = Partition::even(&image, &[("y", 2), ("x", 2)]).unwrap();
/// let margins = ["y", "x"].map(|dim| Margin::both(dim, 3, Beyond::Circular));
/// let results = threads::run(4, |comm| {
///     let team = Team::new(comm);
///     let halo = team.agree(Halo::<f64>::new(&team, &parts, &margins))?;
///     let part = team.rank(); // four parts on four ranks
///     let (mut x, mut wide) = (Vector::zeros(halo.domain()), Vector::zeros(halo.range()));
///     for (x, at) in x.as_mut_slice().iter_mut().zip(parts.tile(part).offsets()) {
///         *x = pixels[at];
///     }
///     halo.forward(&team, &x, &mut wide)?;
///     let mut blurred = Vector::zeros(halo.range());
///     let shape = &halo.range().blocks()[part].shape;
///     let done = blur(shape)
///         .and_then(|blur| blur.forward(wide.as_slice(), blurred.as_mut_slice(), &mut Work::default()));
///     team.agree(done)?;
///     let kept: Vec<f64> = halo.inner(part).offsets().map(|at| blurred.as_slice()[at]).collect();
///     Ok::<_, stackphys::Error>(kept)
/// });
/// for (part, kept) in results.into_iter().enumerate() {
///     let near = |(kept, at): (&f64, usize)| (kept - whole[at]).abs() < 1e-12;
///     assert!(kept?.iter().zip(parts.tile(part).offsets()).all(near));
/// }
/// # Ok::<(), stackphys::Error>(())
/// ```
///
/// Source: W. Gropp, E. Lusk, A. Skjellum, *Using MPI* (3rd ed., 2014), chapter 4; for the adjoint R. Hewett, T. Grady, *A
/// linear-algebraic approach to model parallelism in deep learning* (2020).
pub struct Halo<S> {
    partition: Partition,
    /// One for each dim.
    margins: Vec<Margin>,
    ends: Ends,
    given: Vec<Given>,
    taken: Vec<Patch>,
    to: Vec<Message>,
    from: Vec<Message>,
    buffers: RefCell<Buffers<S>>,
}

/// The messages.
struct Buffers<S> {
    sent: Vec<S>,
    received: Vec<S>,
}

impl<S: Scalar> Halo<S> {
    /// The halo of a partition on the ranks of a team: margins for the dims that are named, none for the others.
    ///
    /// Collective: no; all ranks make the same plan. Cost: for each part, as many steps as it has neighbours. Faults: a dim that
    /// the array does not have or that is named twice; margins to be reflected that are as wide as the array.
    pub fn new(team: &Team, partition: &Partition, margins: &[Margin]) -> Result<Self, Fault> {
        let margins = by_dim(partition.whole(), margins)?;
        let (rank, size) = (team.rank(), team.size());
        let owners = partition.owners(size);
        let domain = partition.space(rank, size);
        // placed as a stack places the blocks of `x` that one member each reads
        let block = |(part, owner): (usize, &usize)| Block {
            shape: wide(partition, &margins, part),
            placement: Placement::on(&[*owner], size),
        };
        let range = Space::new(owners.iter().enumerate().map(block).collect(), rank);
        let Pieces { given, taken, to, from } = Pieces::new(partition, &margins, &owners, [&domain, &range]);
        let messages = |ranges: &[(usize, Range<usize>)]| -> Vec<Message> {
            ranges.iter().map(|(rank, range)| Message::of::<S>(*rank, range.clone())).collect()
        };
        let buffer =
            |ranges: &[(usize, Range<usize>)]| vec![S::default(); ranges.last().map_or(0, |(_, last)| last.end)];
        Ok(Halo {
            partition: partition.clone(),
            margins,
            ends: Ends::new("halo", team, domain, range),
            given,
            taken,
            to: messages(&to),
            from: messages(&from),
            buffers: RefCell::new(Buffers { sent: buffer(&to), received: buffer(&from) }),
        })
    }

    /// How the array is cut.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }
    /// The space of the parts.
    pub fn domain(&self) -> &Arc<Space> {
        &self.ends.domain
    }
    /// The space of the parts with margins.
    pub fn range(&self) -> &Arc<Space> {
        &self.ends.range
    }
    /// Where a part lies inside itself with margins.
    pub fn inner(&self, part: usize) -> Tile {
        let ranges = self.partition.ranges(part);
        let sides = self.margins.iter().zip(ranges).enumerate();
        sides.fold(Tile::whole(&wide(&self.partition, &self.margins, part)), |tile, (axis, (margin, range))| {
            tile.with(axis, Selection { start: margin.before, step: 1, count: range.len() })
        })
    }
    /// The messages that this rank sends in `forward`, and receives in `adjoint`. Collective: no.
    pub fn sends(&self) -> Traffic {
        traffic::<S>(&self.to)
    }
    /// The messages that this rank receives in `forward`, and sends in `adjoint`. Collective: no.
    pub fn receives(&self) -> Traffic {
        traffic::<S>(&self.from)
    }

    /// `y = H x`. Collective: yes, see [`Halo`]; settles.
    pub fn forward(&self, team: &Team, x: &Vector<S>, y: &mut Vector<S>) -> Result<(), Error> {
        self.forward_unsettled(team, x, y);
        team.settle()
    }
    /// As [`forward`](Self::forward); a fault stays pending. Collective: yes, between neighbours.
    pub fn forward_unsettled(&self, team: &Team, x: &Vector<S>, y: &mut Vector<S>) {
        self.ends.forward(team, x, y, |x, y| {
            let Buffers { sent, received } = &mut *self.buffers.borrow_mut();
            if self.margins.iter().any(Margin::may_be_zero) {
                y.fill(S::default());
            }
            for Given { patch, to } in &self.given {
                patch.widen(x, if *to == Goal::Message { &mut *sent } else { &mut *y });
            }
            team.messages(sent, &self.to, received, &self.from);
            for patch in &self.taken {
                patch.widen(received, y);
            }
        });
    }

    /// `x = Hᴴ y`. Collective: yes, see [`Halo`]; settles.
    pub fn adjoint(&self, team: &Team, y: &Vector<S>, x: &mut Vector<S>) -> Result<(), Error> {
        self.adjoint_unsettled(team, y, x);
        team.settle()
    }
    /// As [`adjoint`](Self::adjoint); a fault stays pending. Collective: yes, between neighbours.
    pub fn adjoint_unsettled(&self, team: &Team, y: &Vector<S>, x: &mut Vector<S>) {
        self.ends.adjoint(team, y, x, |y, x| {
            let Buffers { sent, received } = &mut *self.buffers.borrow_mut();
            for patch in &self.taken {
                patch.narrow(y, received);
            }
            team.messages(received, &self.from, sent, &self.to);
            for Given { patch, to } in &self.given {
                match to {
                    Goal::Itself => patch.narrow(y, x), // before anything is added: these are all numbers of `x`
                    Goal::Margin => patch.narrow_add(y, x),
                    Goal::Message => patch.narrow_add(sent, x),
                }
            }
        });
    }
}

/// The margins of each dim of an array, in order.
fn by_dim(whole: &Shape, margins: &[Margin]) -> Result<Vec<Margin>, Fault> {
    let mut all: Vec<Margin> = whole.names().map(Margin::none).collect();
    for (place, margin) in margins.iter().enumerate() {
        let dim = &margin.dim;
        if margins[..place].iter().any(|before| before.dim == *dim) {
            return Err(Fault::new(format!("halo: dim `{dim}` has two margins")).hint("one says both of its sides"));
        }
        let axis = whole.axis(dim).ok_or_else(|| {
            Fault::new(format!("halo: there is no dim `{dim}` in {whole}"))
                .hint("margins are named by dims of the array")
        })?;
        margin.check(whole.dims()[axis].size)?;
        all[axis] = margin.clone();
    }
    Ok(all)
}

/// The shape of a part with its margins.
fn wide(partition: &Partition, margins: &[Margin], part: usize) -> Shape {
    let sides = margins.iter().zip(partition.ranges(part));
    Shape::new(sides.map(|(margin, range)| (margin.dim.clone(), margin.before + range.len() + margin.after)))
}

fn traffic<S: Scalar>(messages: &[Message]) -> Traffic {
    let numbers: usize = messages.iter().map(|message| message.range.len()).sum();
    Traffic { calls: messages.len() as u64, bytes: (numbers * size_of::<S::Real>()) as u64 }
}
