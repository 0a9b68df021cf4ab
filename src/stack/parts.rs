//! Results of single operators, and how they are put together: apart, summed, averaged; here, everywhere, on one rank.
//!
//! The forward operator gives one block for each operator. So can the adjoint and the normal operator: their **parts**
//! `A_iᴴ y_i` and `A_iᴴA_i x`, whose sum is what `adjoint` and `normal` give. A vector of parts has a block for each operator,
//! held by its owner, just as measurements have; all of them are put together by [`Frame::collect`].

use std::sync::Arc;

use super::tree::Ordered;
use super::{Frame, Measured, Points, SmoothStack, Stack};
use crate::comm::Summation;
use crate::error::{Error, Fault, Phase};
use crate::scalar::Scalar;
use crate::space::{Block, Placement, Space, Vector, add};

/// How the blocks of operators become one result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combine {
    /// One after the other.
    Apart,
    /// Their sum: the convention of an operator. All must have the same shape.
    #[default]
    Sum,
    /// Their sum over N. All must have the same shape.
    Mean,
}

/// Who gets a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Each rank what its own operators give; nothing is sent. Of a sum or a mean the share of this rank: the shares of all
    /// ranks add up to the whole.
    Here,
    /// All ranks.
    #[default]
    Everywhere,
    /// One rank; the others get nothing.
    On(usize),
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Frame<X, Y> {
    /// A zero vector of parts: a block of the model's shape for each operator, on its owner. Collective: no. Memory: as many
    /// vectors of the model as this rank has operators.
    pub fn zero_parts(&self) -> Vector<X> {
        Vector::zeros(&self.parts_space())
    }
    pub(super) fn parts_space(&self) -> Arc<Space> {
        let blocks = self
            .plan()
            .entries()
            .iter()
            .map(|entry| Block { shape: entry.description.domain.clone(), placement: Placement::On(entry.owner) });
        Space::new(blocks.collect(), self.team().rank())
    }

    /// The blocks of operators put together: measurements, or parts.
    ///
    /// | | `Here` | `Everywhere` | `On(rank)` |
    /// | --- | --- | --- | --- |
    /// | `Apart` | this rank's blocks | all blocks | all blocks, on that rank |
    /// | `Sum`, `Mean` | this rank's share | Σ or Σ/N | Σ or Σ/N, on that rank |
    ///
    /// In the order of operators. Collective: yes, one scalar reduction; then nothing (`Here`), one gather (`Apart`) or one
    /// vector reduction (`Sum`, `Mean`: in the stack's mode of summation, `On` costs as much as `Everywhere`). Errors: a vector
    /// that has not one block for each operator, held by its owner; for a sum, blocks of different shapes.
    ///
    /// ```
    /// use stackphys::stack::{Combine, Description, FromFn, Place, Stack};
    /// use stackphys::{Shape, comm::Team, physics::Diagonal};
    /// let line = Shape::new([("x", 2)]);
    /// let factory = FromFn::new( // [I; 2I]
    ///     2,
    ///     |_| Ok(Description::new("weights", line.clone(), line.clone())),
    ///     |index| Ok(Box::new(Diagonal::new([("x", 2)], vec![1.0 + index as f64; 2])?) as _),
    /// );
    /// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
    /// let (mut x, mut y) = (stack.zero_model(), stack.zero_data());
    /// x.fill(1.0);
    /// stack.forward(&x, &mut y).unwrap();
    /// assert_eq!(stack.collect(&y, Combine::Apart, Place::Everywhere).unwrap(), [1.0, 1.0, 2.0, 2.0]);
    /// assert_eq!(stack.collect(&y, Combine::Mean, Place::On(0)).unwrap(), [1.5, 1.5]);
    /// ```
    pub fn collect<S: Scalar>(&self, blocks: &Vector<S>, combine: Combine, place: Place) -> Result<Vec<S>, Error> {
        let shape = self.team().agree(self.expect_blocks(blocks.space(), combine, place))?;
        let root = if let Place::On(rank) = place { Some(rank) } else { None };
        if combine == Combine::Apart {
            if place == Place::Here {
                return Ok(blocks.as_slice().to_vec());
            }
            let arrives = root.is_none_or(|root| root == self.team().rank());
            let mut all = vec![S::default(); if arrives { blocks.space().len() } else { 0 }];
            self.concatenated(blocks, root, &mut all);
            return Ok(all);
        }
        let mut sum = Vector::<S>::zeros(&Space::replicated(shape));
        let block = |index: usize| blocks.block_slice(index).unwrap_or_default();
        let owners: Vec<usize> = blocks.space().blocks().iter().map(|block| block.placement.owner()).collect();
        let weight = if combine == Combine::Mean { 1.0 / owners.len() as f64 } else { 1.0 };
        let rank = self.team().rank();
        let add_here = |sum: &mut Vector<S>| {
            let here = (0..owners.len()).filter(|index| owners[*index] == rank);
            here.for_each(|index| add(block(index), sum.as_mut_slice()));
        };
        match (place, self.team().summation()) {
            (Place::Here, _) => add_here(&mut sum),
            (_, Summation::Fast) => {
                add_here(&mut sum);
                self.team().sum_vector(&mut sum)?;
            }
            (_, Summation::Ordered) => {
                Ordered::new(&owners).sum(self.team(), &mut sum, |index, sum| {
                    add(block(index), sum);
                    Ok(())
                })?;
            }
        }
        sum.scale(weight);
        let gets = root.is_none_or(|root| root == self.team().rank());
        Ok(if gets { sum.as_slice().to_vec() } else { Vec::new() })
    }

    /// The shape of the blocks, of the first one where they stay apart; a fault if they cannot be put together so.
    fn expect_blocks(&self, space: &Arc<Space>, combine: Combine, place: Place) -> Result<crate::Shape, Fault> {
        if let Place::On(rank) = place
            && rank >= self.team().size()
        {
            let text = format!("there is no rank {rank} to put the result on: there are {}", self.team().size());
            return Err(Fault::new(text).hint("ranks count from zero"));
        }
        let blocks = space.blocks();
        let owners = self.plan().owners().into_iter().map(Placement::On);
        let placed = blocks.iter().map(|block| block.placement.clone()).eq(owners);
        let apart = blocks.iter().all(|block| matches!(block.placement, Placement::On(_)));
        let measured = apart && space.same(self.range());
        if !(placed || measured) {
            let text =
                format!("expected a vector with a block for each of the {} operators, on its owner", self.count());
            return Err(Fault::new(text).hint("make it with `zero_data` or `zero_parts` of this stack"));
        }
        let first = &blocks[0].shape;
        let other = blocks.iter().position(|block| block.shape != *first).filter(|_| combine != Combine::Apart);
        match other {
            None => Ok(first.clone()),
            Some(index) => {
                let shape = &blocks[index].shape;
                let text =
                    format!("blocks of different shapes have no sum: expected {first} as of operator 0, got {shape}");
                Err(Fault::new(text).in_operator(index).hint("put them together with `Combine::Apart`"))
            }
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Stack<X, Y> {
    /// `parts_i = A_iᴴ y_i`, in a vector of [`zero_parts`](Frame::zero_parts). Collective: yes, one scalar reduction, which
    /// settles; no vector is sent.
    pub fn adjoint_parts(&self, y: &(impl Measured<Y> + ?Sized), parts: &mut Vector<X>) -> Result<(), Error> {
        let y = y.on(self.range(), "y").map_err(|fault| fault.in_phase(Phase::Adjoint));
        let (members, views) = (&self.members, self.views());
        self.fill_parts(parts, y, |y, local, out, work| {
            members[local].adjoint_add(views.row(local, y.as_slice()), out, work)
        })
    }

    /// `parts_i = A_iᴴ A_i x`, in a vector of [`zero_parts`](Frame::zero_parts). Collective: yes, one scalar reduction, which
    /// settles; no vector is sent.
    pub fn normal_parts(&self, x: &Vector<X>, parts: &mut Vector<X>) -> Result<(), Error> {
        let fits = self.expect_model(x, "x").map_err(|fault| fault.in_phase(Phase::Normal));
        let (members, views, x) = (&self.members, self.views(), x.as_slice());
        self.fill_parts(parts, fits, |(), local, out, work| {
            views.read(local, x, work, |x, work| members[local].normal_add(x, out, work))
        })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> SmoothStack<X, Y> {
    /// `parts_i = F_i′(x)* dy_i` at the point `at`, in a vector of [`zero_parts`](Frame::zero_parts). Collective: yes, one
    /// scalar reduction, which settles; no vector is sent.
    pub fn vjp_parts(&self, at: &Points, dy: &(impl Measured<Y> + ?Sized), parts: &mut Vector<X>) -> Result<(), Error> {
        let dy = self.expect_points(at).and(dy.on(self.range(), "dy")).map_err(|fault| fault.in_phase(Phase::Adjoint));
        let (members, views) = (&self.members, self.views());
        self.fill_parts(parts, dy, |dy, local, out, work| {
            members[local].vjp_add(&at.0[local], views.row(local, dy.as_slice()), out, work)
        })
    }
}
