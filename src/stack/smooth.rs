//! A stack whose operators need not be linear: values, and derivatives at a point.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Description, Frame, Measured, PlanOptions};
use crate::comm::{Team, signs};
use crate::error::{Error, Fault, Phase};
use crate::operator::{Differentiable, Linear, LinearOperator, Point, Work};
use crate::scalar::Scalar;
use crate::space::{Shape, Vector};

/// A member of a stack that may be linear or smooth.
///
/// An enum, since a blanket implementation of smooth for linear would forbid generic wrappers.
pub enum AnyOperator<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    /// A linear operator; its derivative is itself.
    Linear(Box<dyn LinearOperator<X, Y>>),
    /// A differentiable one.
    Smooth(Box<dyn Differentiable<X, Y>>),
}

/// Makes the members of a [`SmoothStack`] by their index; `describe` on all ranks, `build` on the owner.
pub trait SmoothFactory<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    /// How many members there are.
    fn count(&self) -> usize;
    /// The blocks of `x`, where it has several. Empty: one block, the domain of all members.
    fn blocks(&self) -> Vec<Shape> {
        Vec::new()
    }
    /// What member `index` looks like.
    fn describe(&self, index: usize) -> Result<Description, Fault>;
    /// Builds member `index`.
    fn build(&self, index: usize) -> Result<AnyOperator<X, Y>, Fault>;
}

impl<X, Y, D, B> SmoothFactory<X, Y> for super::FromFn<D, B>
where
    X: Scalar,
    Y: Scalar<Real = X::Real>,
    D: Fn(usize) -> Result<Description, Fault>,
    B: Fn(usize) -> Result<AnyOperator<X, Y>, Fault>,
{
    fn count(&self) -> usize {
        self.count
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        (self.describe)(index)
    }
    fn build(&self, index: usize) -> Result<AnyOperator<X, Y>, Fault> {
        (self.build)(index)
    }
}

/// A stack `F = [F_0; F_1; …]` of smooth operators, linear ones among them, over a team of ranks.
///
/// It has values (`forward`), a linearisation that fills this rank's [`Points`], and products with the derivative there.
/// Vectors are laid out as in a [`Stack`](super::Stack).
///
/// ```
/// use stackphys::operator::{Differentiable, LinearOperator};
/// use stackphys::physics::{Identity, Intensity};
/// use stackphys::stack::{AnyOperator, Description, FromFn, SmoothStack};
/// use stackphys::{Shape, comm::Team};
/// let line = Shape::new([("x", 2)]);
/// let factory = FromFn::new( // [x; |x|²]
///     2,
///     |_| Ok(Description::new("member", line.clone(), line.clone())),
///     |index| Ok(match index {
///         0 => AnyOperator::Linear(Box::new(Identity::new(line.clone()))),
///         _ => AnyOperator::Smooth(Box::new(Intensity(Identity::new(line.clone())))),
///     }),
/// );
/// let stack = SmoothStack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let (mut x, mut value, mut at) = (stack.zero_model(), stack.zero_data(), stack.points());
/// x.fill(3.0);
/// stack.linearize(&x, &mut value, &mut at).unwrap();
/// assert_eq!(value.as_slice(), [3.0, 3.0, 9.0, 9.0]);
/// let mut gradient = stack.zero_model();
/// value.fill(1.0);
/// stack.vjp(&at, &value, &mut gradient).unwrap();
/// assert_eq!(gradient.as_slice(), [7.0, 7.0]); // 1 + 2·3
/// ```
pub struct SmoothStack<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    frame: Frame<X, Y>,
    pub(super) members: Vec<Smooth<X, Y>>,
    is_linear: bool,
}

/// What this rank's operators remember of the point at which a stack was linearised.
///
/// R3: who holds on to the derivative at one point cannot linearise at another one in its place; it does not compile. (Two
/// `Points` are two derivatives.)
///
/// ```compile_fail,E0502
/// # use stackphys::{Error, space::Vector, stack::{Points, SmoothStack}};
/// fn stale(stack: &SmoothStack<f64>, x: &Vector<f64>, y: &mut Vector<f64>, out: &mut Vector<f64>) -> Result<(), Error> {
///     let mut at = stack.points();
///     stack.linearize(x, y, &mut at)?;
///     let first: &Points = &at;
///     stack.linearize(out, y, &mut at)?; // would make `first` another derivative than it was
///     stack.vjp(first, y, out)
/// }
/// ```
pub struct Points(pub(super) Vec<Remembered>);

/// What one operator remembers. Whichever lane has the operator asks for it, so nobody waits for the lock.
pub(super) struct Remembered(Mutex<Point>);

impl Remembered {
    fn get(&self) -> MutexGuard<'_, Point> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Deref for SmoothStack<X, Y> {
    type Target = Frame<X, Y>;
    fn deref(&self) -> &Frame<X, Y> {
        &self.frame
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> SmoothStack<X, Y> {
    /// Plans the stack, checks that all ranks made the same plan, and builds this rank's operators.
    ///
    /// Collective: yes. Errors: as [`Stack::build`](super::Stack::build).
    pub fn build(team: Team, factory: &dyn SmoothFactory<X, Y>, options: PlanOptions) -> Result<Self, Error> {
        let team = team.with_summation(options.summation).with_reduction(options.reduction);
        let plan =
            Frame::<X, Y>::plan_of(&team, factory.blocks(), factory.count(), |index| factory.describe(index), options)?;
        let linear = std::cell::Cell::new(true);
        let members = Frame::<X, Y>::build_members(&team, &plan, |index, described| {
            let operator: Box<dyn Differentiable<X, Y>> = match factory.build(index)? {
                AnyOperator::Linear(operator) => Box::new(Linear(operator)),
                AnyOperator::Smooth(operator) => {
                    linear.set(false);
                    operator
                }
            };
            described.expect_built(operator.domain(), operator.range())?;
            Ok(Smooth { index, name: described.name.clone(), operator })
        })?;
        let [all_linear] = team.min([f64::from(u8::from(linear.get()))]);
        Ok(SmoothStack { frame: Frame::new(team, plan), members, is_linear: all_linear > 0.0 })
    }

    /// Whether all operators of all ranks are linear, so that the derivative is the same at all points. Collective: no.
    pub fn is_linear(&self) -> bool {
        self.is_linear
    }

    /// Slots for [`linearize`](Self::linearize) to fill. Collective: no.
    pub fn points(&self) -> Points {
        Points(self.members.iter().map(|member| Remembered(Mutex::new(member.operator.point()))).collect())
    }

    /// `y = F(x)`. Collective: yes, one scalar reduction, which settles.
    pub fn forward(&self, x: &Vector<X>, y: &mut Vector<Y>) -> Result<(), Error> {
        let fits = self.expect_model(x, "x").map_err(|fault| fault.in_phase(Phase::Forward));
        let (members, views, x) = (&self.members, self.views(), x.as_slice());
        self.fill_blocks(y, fits, |(), local, block, work| {
            views.read(local, x, work, |x, work| {
                members[local].call(Phase::Forward, |operator| operator.evaluate(x, block, work))
            })
        });
        self.team().settle()
    }

    /// `value = F(x)`, and fills `at` for the derivatives at `x`. Collective: yes, one scalar reduction, which settles.
    pub fn linearize(&self, x: &Vector<X>, value: &mut Vector<Y>, at: &mut Points) -> Result<(), Error> {
        let fits = self.expect_model(x, "x").and(self.expect_points(at));
        let fits = fits.map_err(|fault| fault.in_phase(Phase::Linearize));
        let (members, views, x, at) = (&self.members, self.views(), x.as_slice(), &*at);
        self.fill_blocks(value, fits, |(), local, block, work| {
            let mut point = at.0[local].get();
            views.read(local, x, work, |x, work| {
                members[local].call(Phase::Linearize, |operator| operator.linearize(x, block, &mut point, work))
            })
        });
        self.team().settle()
    }

    /// `dy = F′(x) dx` at the point `at`. Collective: yes, one scalar reduction, which settles.
    pub fn jvp(&self, at: &Points, dx: &Vector<X>, dy: &mut Vector<Y>) -> Result<(), Error> {
        let fits = self.expect_model(dx, "dx").and(self.expect_points(at));
        let fits = fits.map_err(|fault| fault.in_phase(Phase::Derivative));
        let (members, views, dx) = (&self.members, self.views(), dx.as_slice());
        self.fill_blocks(dy, fits, |(), local, block, work| {
            let point = at.0[local].get();
            views.read(local, dx, work, |dx, work| {
                members[local].call(Phase::Derivative, |operator| operator.jvp(&point, dx, block, work))
            })
        });
        self.team().settle()
    }

    /// `dx = F′(x)* dy = Σ F_i′(x)* dy_i` at the point `at`, of `dy` in any form ([`Measured`]). Collective: yes, one vector
    /// reduction, which settles.
    pub fn vjp(&self, at: &Points, dy: &(impl Measured<Y> + ?Sized), dx: &mut Vector<X>) -> Result<(), Error> {
        let dy = self.expect_points(at).and(dy.on(self.range(), "dy")).map_err(|fault| fault.in_phase(Phase::Adjoint));
        let (members, views) = (&self.members, self.views());
        self.sum_over_local(dx, dy, |dy, local, out, work| {
            members[local].vjp_add(&at.0[local], views.row(local, dy.as_slice()), out, work)
        })?;
        self.settle_blocks()
    }

    pub(super) fn expect_points(&self, at: &Points) -> Result<(), Fault> {
        if at.0.len() == self.members.len() {
            return Ok(());
        }
        let (want, got) = (self.members.len(), at.0.len());
        Err(Fault::new(format!("the points are of another stack: expected {want} on this rank, got {got}"))
            .hint("make them with `points()` of this stack"))
    }
}

/// A smooth operator with its index in the stack, as its owner calls it.
pub(super) struct Smooth<X: Scalar, Y: Scalar<Real = X::Real>> {
    index: usize,
    name: String,
    operator: Box<dyn Differentiable<X, Y>>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Smooth<X, Y> {
    pub fn vjp_add(&self, at: &Remembered, dy: &[Y], dx: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.call(Phase::Adjoint, |operator| operator.vjp_add(&at.get(), dy, dx, work))
    }

    fn call(
        &self,
        phase: Phase,
        action: impl FnOnce(&dyn Differentiable<X, Y>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        super::guarded(|| signs::call(phase, self.index, || action(&*self.operator))).map_err(|mut fault| {
            fault.text = format!("`{}`: {}", self.name, fault.text);
            fault.in_operator(self.index).in_phase(phase)
        })
    }
}
