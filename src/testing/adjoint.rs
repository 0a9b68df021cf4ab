//! The dot test: `⟨A x, y⟩ = ⟨x, Aᴴ y⟩` for random `x` and `y`.
//!
//! The difference is divided by `‖A x‖‖y‖`, so that a small number means equal whatever the scale. The fitted `scale`
//! `⟨A x, y⟩ / ⟨x, Aᴴ y⟩` should be 1; where it is 2, or −1, it says what is wrong.

use crate::error::{Error, Fault};
use crate::operator::{Apply, LinearOperator, Work};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::{Space, Vector, dot};
use crate::stack::Stack;

/// What a dot test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DotTest {
    /// |⟨A x, y⟩ − ⟨x, Aᴴ y⟩| / (‖A x‖ ‖y‖).
    pub ratio: f64,
    /// ⟨A x, y⟩ / ⟨x, Aᴴ y⟩: 1 if the adjoint is right, another number if only its scale is wrong.
    pub scale: f64,
}

impl DotTest {
    pub(super) fn new(forward: f64, adjoint: f64, norms: f64) -> Self {
        let difference = (forward - adjoint).abs();
        DotTest {
            ratio: if difference == 0.0 { 0.0 } else { difference / norms },
            scale: if forward == adjoint { 1.0 } else { forward / adjoint },
        }
    }

    /// The largest ratio that rounding alone explains: 1e-12 in double, 1e-5 in single precision.
    pub fn tolerance<S: Scalar>() -> f64 {
        if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 }
    }

    /// Whether rounding alone explains the ratio. A ratio that is not a number does not pass.
    pub fn passes<S: Scalar>(&self) -> bool {
        self.ratio <= Self::tolerance::<S>()
    }
}

const X: u64 = 0x7;
const Y: u64 = 0x8;

/// The dot test of one operator, with vectors drawn from a seed.
///
/// Collective: no. Cost: two forwards and two adjoints, one each that accumulates. Faults: those of the operator; an
/// `adjoint_add` that differs from the adjoint, or a `forward_add` from the forward.
pub fn dot_test<D: Scalar, R: Scalar<Real = D::Real>>(
    operator: &(impl LinearOperator<D, R> + ?Sized),
    seed: u64,
) -> Result<DotTest, Fault> {
    let nan = f64::NAN;
    let mut work = Work::default();
    let mut x = vec![D::default(); operator.domain().len()];
    let mut y = vec![R::default(); operator.range().len()];
    Stream::new(seed, X).fill_normal(0, &mut x);
    Stream::new(seed, Y).fill_normal(0, &mut y);
    let mut ax = vec![R::from_parts(nan, nan); y.len()];
    let mut ahy = vec![D::from_parts(nan, nan); x.len()];
    operator.forward(&x, &mut ax, &mut work)?;
    operator.adjoint(&y, &mut ahy, &mut work)?;

    let (mut x_sum, mut y_sum) = (x.clone(), y.clone());
    operator.adjoint_add(&y, &mut x_sum, &mut work)?;
    operator.forward_add(&x, &mut y_sum, &mut work)?;
    if !adds(&x_sum, &x, &ahy) {
        return Err(Fault::new("`apply_adjoint_add` does not add what `apply_adjoint` writes"));
    }
    if !adds(&y_sum, &y, &ax) {
        return Err(Fault::new("`apply_forward_add` does not add what `apply_forward` writes"));
    }
    let norms = (dot(&ax, &ax) * dot(&y, &y)).sqrt();
    Ok(DotTest::new(dot(&ax, &y), dot(&x, &ahy), norms))
}

/// Whether rounding alone tells `sum` from `a + b`.
fn adds<S: Scalar>(sum: &[S], a: &[S], b: &[S]) -> bool {
    let largest = a.iter().chain(b).map(|z| z.modulus_squared()).fold(0.0, f64::max).sqrt();
    sum.iter().zip(a).zip(b).all(|((sum, a), b)| {
        let difference = *sum - *a - *b;
        difference.modulus_squared().sqrt() <= 10.0 * DotTest::tolerance::<S>() * largest
    })
}

/// The dot tests of a stack: of `A`, of its normal operator `AᴴA`, and of its Gram operator `AAᴴ`.
///
/// Collective: yes. The vectors are drawn by (seed, element), so they are the same on any number of ranks; no vector of the
/// data is gathered.
pub fn stack_dot_tests<D: Scalar, R: Scalar<Real = D::Real>>(
    stack: &Stack<D, R>,
    seed: u64,
) -> Result<[(&'static str, DotTest); 3], Error> {
    let team = stack.team();
    let (x, other_x) = (random(stack.domain(), seed, X), random(stack.domain(), seed + 1, X));
    let (y, other_y) = (random(stack.range(), seed, Y), random(stack.range(), seed + 1, Y));
    let (mut ax, mut ahy) = (not_a_number(stack.range()), not_a_number(stack.domain()));

    stack.forward(&x, &mut ax)?;
    stack.adjoint(&y, &mut ahy)?;
    let [forward, ax_squared, y_squared] = team.dots([(&ax, &y), (&ax, &ax), (&y, &y)])?;
    let [adjoint] = team.dots([(&x, &ahy)])?;
    let plain = DotTest::new(forward, adjoint, (ax_squared * y_squared).sqrt());

    // ⟨AᴴA x, x′⟩ = ⟨A x, A x′⟩: the normal operator may be computed in another way than by A and Aᴴ
    let (mut normal_x, mut other_ax) = (not_a_number(stack.domain()), not_a_number(stack.range()));
    stack.normal(&x, &mut normal_x)?;
    stack.forward(&other_x, &mut other_ax)?;
    let [left] = team.dots([(&normal_x, &other_x)])?;
    let [right, other_squared] = team.dots([(&ax, &other_ax), (&other_ax, &other_ax)])?;
    let normal = DotTest::new(left, right, (ax_squared * other_squared).sqrt());

    // for the self-adjoint one the two sides are the same operator
    let (mut a, mut b) = (not_a_number(stack.range()), not_a_number(stack.range()));
    stack.forward_adjoint(&y, &mut a)?;
    stack.forward_adjoint(&other_y, &mut b)?;
    let [left, right, a_squared, y_squared] = team.dots([(&a, &other_y), (&y, &b), (&a, &a), (&other_y, &other_y)])?;
    let gram = DotTest::new(left, right, (a_squared * y_squared).sqrt());
    Ok([("A", plain), ("AᴴA", normal), ("AAᴴ", gram)])
}

/// A vector of standard normal numbers, drawn by the place among all elements of the space. Collective: no.
pub fn random<S: Scalar>(space: &std::sync::Arc<Space>, seed: u64, stream: u64) -> Vector<S> {
    let mut vector = Vector::zeros(space);
    vector.fill_normal(&Stream::new(seed, stream));
    vector
}

fn not_a_number<S: Scalar>(space: &std::sync::Arc<Space>) -> Vector<S> {
    let mut vector = Vector::zeros(space);
    vector.fill(S::from_parts(f64::NAN, f64::NAN));
    vector
}
