//! A data fidelity on a stack: `f(x) = Σ d_i(A_i x, y_i)`, or the mean over operators.

use super::fidelity::AnyFidelity;
use crate::error::{Error, Fault, Phase};
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// How the fidelities of the operators become one number. A sum is the operator's convention, a mean is asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// Σ d_i.
    #[default]
    Sum,
    /// Σ d_i / N.
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
/// let fidelities = vec![AnyFidelity::L2(L2 { sigma: 1.0 }), AnyFidelity::L1(L1 {})];
/// let term = DataTerm::new(&stack, &y, fidelities).unwrap();
/// assert_eq!(term.value(&x).unwrap(), 9.0 + 6.0); // ½·2·3² + 2·3
/// assert_eq!(term.gradient(&x, &mut gradient).unwrap(), 15.0);
/// assert_eq!(gradient.as_slice(), [4.0; 2]); // 3 + 1
/// ```
pub struct DataTerm<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    measured: &'a Vector<Y>,
    fidelities: Vec<AnyFidelity>,
    loss: Loss,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> DataTerm<'a, X, Y> {
    /// A data term with one fidelity for all operators, or one for each.
    ///
    /// Collective: yes, one scalar reduction. Errors: another number of fidelities than one or the operators'; a parameter
    /// out of range; measurements of another stack.
    pub fn new(stack: &'a Stack<X, Y>, measured: &'a Vector<Y>, fidelities: Vec<AnyFidelity>) -> Result<Self, Error> {
        let (count, given) = (stack.count(), fidelities.len());
        let checked = fidelities.iter().try_for_each(AnyFidelity::check).and_then(|()| {
            if given != 1 && given != count {
                let text = format!("expected one fidelity, or {count} (one for each operator), got {given}");
                return Err(Fault::new(text));
            }
            match measured.space().same(stack.range()) {
                true => Ok(()),
                false => Err(Fault::new("the measurements are not of this stack").hint("make them with `zero_data`")),
            }
        });
        stack.team().agree(checked)?;
        Ok(DataTerm { stack, measured, fidelities, loss: Loss::Sum })
    }

    /// The same term, summed or averaged.
    pub fn with_loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    /// The fidelity of an operator.
    pub fn fidelity(&self, index: usize) -> &AnyFidelity {
        &self.fidelities[if self.fidelities.len() == 1 { 0 } else { index }]
    }

    fn weight(&self) -> f64 {
        match self.loss {
            Loss::Sum => 1.0,
            Loss::Mean => 1.0 / self.stack.count() as f64,
        }
    }

    /// `f(x)`. Collective: yes, one scalar reduction. Cost: one `A x`. Memory: a vector of the data.
    pub fn value(&self, x: &Vector<X>) -> Result<f64, Error> {
        let mut predicted = self.stack.zero_data();
        self.stack.forward_unsettled(x, &mut predicted);
        self.value_of(&predicted)
    }

    /// `Σ d_i(u_i, y_i)` of predicted measurements. Collective: yes, one scalar reduction, which settles.
    pub fn value_of(&self, predicted: &Vector<Y>) -> Result<f64, Error> {
        let mut values = vec![0.0; self.stack.count()];
        if let Err(fault) = self.stack.expect_data(predicted, "the prediction") {
            self.stack.team().note(fault.in_phase(Phase::Forward));
        }
        for index in self.stack.local_indices() {
            if let (Some(u), Some(y)) = (predicted.block_slice(*index), self.measured.block_slice(*index)) {
                match self.fidelity(*index).value(u, y) {
                    Ok(value) => values[*index] = value,
                    Err(fault) => self.stack.team().note(fault.in_operator(*index).in_phase(Phase::Forward)),
                }
            }
        }
        self.stack.team().sum_in_place(&mut values)?; // one owner each: the same bits on any number of ranks
        Ok(self.weight() * values.iter().sum::<f64>())
    }

    /// `out = ∇f(x) = Σ A_iᴴ ∇d_i(A_i x, y_i)`, and returns `f(x)`.
    ///
    /// Collective: yes, **one** vector reduction, and one scalar reduction for the value. Cost: one `A x`, one `Aᴴ`.
    /// Memory: the largest block of one operator.
    pub fn gradient(&self, x: &Vector<X>, out: &mut Vector<X>) -> Result<f64, Error> {
        let value = self.stack.forward_then_adjoint(x, out, |index, data| {
            let y = self.measured.block_slice(index).unwrap_or_default();
            self.fidelity(index).gradient(data, y)
        })?;
        if self.loss == Loss::Mean {
            out.scale(self.weight());
        }
        Ok(self.weight() * value)
    }

    /// `v ← argmin_u step·f(u) + ½‖u − v‖²` in the space of the measurements, block by block.
    ///
    /// Collective: yes, one scalar reduction, which settles; nothing else is sent.
    pub fn prox_of_measurements(&self, v: &mut Vector<Y>, step: f64) -> Result<(), Error> {
        if let Err(fault) = self.stack.expect_data(v, "v") {
            self.stack.team().note(fault.in_phase(Phase::Forward));
        }
        for index in self.stack.local_indices() {
            let (Some(v), Some(y)) = (v.block_slice_mut(*index), self.measured.block_slice(*index)) else { continue };
            if let Err(fault) = self.fidelity(*index).prox(v, y, step * self.weight()) {
                self.stack.team().note(fault.in_operator(*index).in_phase(Phase::Forward));
            }
        }
        self.stack.team().settle()
    }
}
