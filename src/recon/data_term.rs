//! A data fidelity on a stack: `f(x) = Σ d_i(A_i x, y_i)`, or the mean over operators.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fidelity::{AnyFidelity, distance_squared};
use crate::error::{Error, Fault, Phase};
use crate::scalar::Scalar;
use crate::solver::Memory;
use crate::space::Vector;
use crate::stack::Stack;

/// How the fidelities of the operators become one number. A sum is the operator's convention, a mean is asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Σ d_i.
    #[default]
    Sum,
    /// Σ d_i / N over the N operators. In a config the parts of one that `split` cuts count as one.
    Mean,
}

/// The data term of a reconstruction: a stack, its measurements, and a fidelity for all operators or for each.
///
/// Measurements stay where their operators are. Memory: none of its own beside them.
///
/// ```
/// use stackphys::{Shape, comm::Team, physics::Identity, recon::{DataTerm, fidelity::{AnyFidelity, L1, L2}}};
/// use stackphys::stack::{Description, FromFn, Stack};
/// let line = Shape::new([("x", 2)]);
/// let factory = FromFn::new(
///     2,
///     |_| Ok(Description::new("identity", line.clone(), line.clone())),
///     |_| Ok(Box::new(Identity::new(line.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let (y, mut x, mut gradient) = (stack.zero_data(), stack.zero_model(), stack.zero_model());
/// x.fill(3.0);
/// let fidelities = vec![AnyFidelity::L2(L2::default()), AnyFidelity::L1(L1 {})];
/// let term = DataTerm::new(&stack, &y, fidelities).unwrap();
/// assert_eq!(term.value(&x).unwrap(), 9.0 + 6.0); // ½·2·3² + 2·3
/// assert_eq!(term.gradient(&x, &mut gradient).unwrap(), 15.0);
/// assert_eq!(gradient.as_slice(), [4.0; 2]); // 3 + 1
/// ```
pub struct DataTerm<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    measured: &'a Vector<Y>,
    fidelities: Vec<AnyFidelity>,
    weight: f64,
    /// Memory for numbers that are summed over operators.
    numbers: RefCell<Vec<f64>>,
}

/// What predicted measurements `u` say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    /// Σ d_i(u_i, y_i).
    pub value: f64,
    /// ‖u − y‖².
    pub residual_squared: f64,
    /// ‖u − w‖² for another vector of the measurements.
    pub distance_squared: f64,
}

impl Look {
    /// What belongs to [`Method::remember`](crate::solver::Method::remember).
    pub fn remember(&mut self, memory: &mut dyn Memory) {
        let Look { value, residual_squared, distance_squared } = self;
        memory.scalars([("value", value), ("residual_squared", residual_squared)]);
        memory.scalars([("distance_squared", distance_squared)]);
    }
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> DataTerm<'a, X, Y> {
    /// A data term with one fidelity for all operators, or one for each. A rank uses those of its own operators only, so
    /// large parameters (variances) need be there on the owner alone.
    ///
    /// Collective: yes, one scalar reduction. Errors: another number of fidelities than one or the operators'; a parameter
    /// out of range; variances that were not read, or are not as many as measurements; measurements of another stack.
    pub fn new(stack: &'a Stack<X, Y>, measured: &'a Vector<Y>, fidelities: Vec<AnyFidelity>) -> Result<Self, Error> {
        let (count, given) = (stack.blocks(), fidelities.len());
        let term = DataTerm { stack, measured, fidelities, weight: 1.0, numbers: RefCell::default() };
        let checked = term.fidelities.iter().try_for_each(AnyFidelity::check).and_then(|()| {
            if given != 1 && given != count {
                let text = format!("expected one fidelity, or {count} (one for each operator), got {given}");
                return Err(Fault::new(text));
            }
            if !measured.space().same(stack.range()) {
                return Err(Fault::new("the measurements are not of this stack").hint("make them with `zero_data`"));
            }
            stack.local_blocks().try_for_each(|index| {
                let len = measured.block_slice(index).map_or(0, <[Y]>::len);
                term.fidelity(index).expect_len(len).map_err(|fault| fault.in_operator(index))
            })
        });
        stack.team().agree(checked)?;
        Ok(term)
    }

    /// The same term, summed or averaged over the operators of the stack.
    pub fn with_loss(self, loss: Loss) -> Self {
        let count = self.stack.blocks() as f64;
        match loss {
            Loss::Sum => self.with_weight(1.0),
            Loss::Mean => self.with_weight(1.0 / count),
        }
    }
    /// The same term, summed and multiplied by a number: the same on all ranks.
    pub fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// The stack.
    pub fn stack(&self) -> &'a Stack<X, Y> {
        self.stack
    }
    /// The measurements.
    pub fn measured(&self) -> &'a Vector<Y> {
        self.measured
    }
    /// The fidelity of an operator.
    pub fn fidelity(&self, index: usize) -> &AnyFidelity {
        fidelity(&self.fidelities, index)
    }
    /// All fidelities: one, or one for each operator.
    pub fn fidelities(&self) -> &[AnyFidelity] {
        &self.fidelities
    }

    /// `f(x)`. Collective: yes, one scalar reduction. Cost: one `A x`. Memory: a vector of the data.
    pub fn value(&self, x: &Vector<X>) -> Result<f64, Error> {
        let mut predicted = self.stack.zero_data();
        self.stack.forward_unsettled(x, &mut predicted);
        self.value_of(&predicted)
    }

    /// `Σ d_i(u_i, y_i)` of predicted measurements. Collective: yes, one scalar reduction, which settles.
    pub fn value_of(&self, predicted: &Vector<Y>) -> Result<f64, Error> {
        let [value] = self.sums(predicted, |index, u, y| Ok([self.fidelity(index).value(u, y)?]))?;
        Ok(self.weight * value)
    }

    /// All that an iteration asks of predicted measurements. Collective: yes, one scalar reduction, which settles.
    pub(super) fn look(&self, predicted: &Vector<Y>, from: Option<&Vector<Y>>) -> Result<Look, Error> {
        let [value, residual_squared, distance_squared] = self.sums(predicted, |index, u, y| {
            let from = from.and_then(|from| from.block_slice(index));
            let away = from.map_or(0.0, |from| distance_squared(u, from));
            Ok([self.fidelity(index).value(u, y)?, distance_squared(u, y), away])
        })?;
        Ok(Look { value: self.weight * value, residual_squared, distance_squared })
    }

    /// Sums over operators of what `of(index, predicted, measured)` says of each. Collective: yes, one scalar reduction,
    /// which settles. The same bits on any number of ranks, since each number has one owner.
    fn sums<const K: usize>(
        &self,
        predicted: &Vector<Y>,
        of: impl Fn(usize, &[Y], &[Y]) -> Result<[f64; K], Fault>,
    ) -> Result<[f64; K], Error> {
        let mut numbers = self.numbers.take();
        numbers.clear();
        numbers.resize(K * self.stack.blocks(), 0.0);
        if let Err(fault) = self.stack.expect_data(predicted, "the prediction") {
            self.stack.team().note(fault.in_phase(Phase::Forward));
        }
        for index in self.stack.local_blocks() {
            let (Some(u), Some(y)) = (predicted.block_slice(index), self.measured.block_slice(index)) else {
                continue;
            };
            match of(index, u, y) {
                // of all that hold a block one speaks
                Ok(found) if self.stack.speaks_for(index) => numbers[K * index..][..K].copy_from_slice(&found),
                Ok(_) => {}
                Err(fault) => self.stack.team().note(fault.in_operator(index).in_phase(Phase::Forward)),
            }
        }
        let summed = self.stack.team().sum_in_place(&mut numbers);
        let sums = std::array::from_fn(|k| numbers.iter().skip(k).step_by(K).sum());
        self.numbers.replace(numbers);
        summed.map(|()| sums)
    }

    /// `out = ∇f(x) = Σ A_iᴴ ∇d_i(A_i x, y_i)`, and returns `f(x)`.
    ///
    /// Collective: yes, **one** vector reduction, and one scalar reduction for the value. Cost: one `A x`, one `Aᴴ`.
    /// Memory: the largest block of one operator.
    pub fn gradient(&self, x: &Vector<X>, out: &mut Vector<X>) -> Result<f64, Error> {
        let (measured, fidelities) = (self.measured, &*self.fidelities);
        let value = self.stack.forward_then_adjoint(x, out, |index, data| {
            let y = measured.block_slice(index).unwrap_or_default();
            fidelity(fidelities, index).gradient(data, y)
        })?;
        if self.weight != 1.0 {
            out.scale(self.weight);
        }
        Ok(self.weight * value)
    }

    /// `out = Σ A_iᴴ ∇d_i(u_i, y_i)` of predicted measurements `u = A x`, in whose place the gradients are left.
    ///
    /// Collective: yes, one vector reduction, which settles. Cost: one `Aᴴ`.
    pub(super) fn gradient_of(&self, predicted: &mut Vector<Y>, out: &mut Vector<X>) -> Result<(), Error> {
        self.in_each_block(predicted, |fidelity, u, y| fidelity.gradient(u, y).map(|_| ()));
        self.stack.adjoint(predicted, out)?;
        if self.weight != 1.0 {
            out.scale(self.weight);
        }
        Ok(())
    }

    /// Σ ‖∇d_i(2y_i, y_i)‖²: how steep the fidelities are where the data are explained by half; of balls nothing. Overwrites
    /// `scratch`. Collective: yes, one scalar reduction, which settles.
    pub(super) fn steepness(&self, scratch: &mut Vector<Y>) -> Result<f64, Error> {
        scratch.copy_from(self.measured);
        scratch.scale(2.0);
        self.in_each_block(scratch, |fidelity, u, y| match fidelity.is_indicator() {
            true => {
                u.fill(Y::default());
                Ok(())
            }
            false => fidelity.gradient(u, y).map(|_| ()),
        });
        let [squared] = self.stack.team().dots([(&*scratch, &*scratch)])?;
        Ok(self.weight * self.weight * squared)
    }

    /// `v ← argmin_u step·f(u) + ½‖u − v‖²` in the space of the measurements, block by block.
    ///
    /// Collective: yes, one scalar reduction, which settles; nothing else is sent.
    pub fn prox_of_measurements(&self, v: &mut Vector<Y>, step: f64) -> Result<(), Error> {
        self.prox_unsettled(v, step);
        self.stack.team().settle()
    }

    /// As [`prox_of_measurements`](Self::prox_of_measurements); a fault stays pending. Collective: no.
    pub(super) fn prox_unsettled(&self, v: &mut Vector<Y>, step: f64) {
        self.in_each_block(v, |fidelity, v, y| fidelity.prox(v, y, step * self.weight));
    }

    /// Changes each block of this rank; faults are noted. Collective: no.
    fn in_each_block(&self, of: &mut Vector<Y>, change: impl Fn(&AnyFidelity, &mut [Y], &[Y]) -> Result<(), Fault>) {
        if let Err(fault) = self.stack.expect_data(of, "v") {
            self.stack.team().note(fault.in_phase(Phase::Forward));
        }
        for index in self.stack.local_blocks() {
            let (Some(block), Some(y)) = (of.block_slice_mut(index), self.measured.block_slice(index)) else {
                continue;
            };
            if let Err(fault) = change(self.fidelity(index), block, y) {
                self.stack.team().note(fault.in_operator(index).in_phase(Phase::Forward));
            }
        }
    }
}

/// The fidelity of an operator, out of one for all or one for each.
fn fidelity(of: &[AnyFidelity], index: usize) -> &AnyFidelity {
    &of[if of.len() == 1 { 0 } else { index }]
}
