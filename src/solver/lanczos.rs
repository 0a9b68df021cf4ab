//! Extreme singular values of a stack by the bidiagonalisation of Golub and Kahan, with full reorthogonalisation.
//!
//! Reference: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th edition, section 10.4; that one side suffices by H.
//! D. Simon and H. Zha, "Low-rank matrix approximation using the Lanczos bidiagonalization process", SIAM J. Sci. Comput. 21
//! (2000). The vectors of the model are kept, those of the measurements are not.

use ndarray::Array2;
use ndarray_linalg::SVD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Observer, Outcome, Progress, drive};
use super::stop;
use crate::error::{Error, Fault};
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// The stream of random numbers that start vectors are drawn from.
const START: u64 = 0x6c61_6e63;

/// Parameters of the bidiagonalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LanczosParams {
    /// The largest number of steps. As many vectors of the model are kept, on every rank.
    pub max_iter: usize,
    /// Stops when the error bar of what is sought is at most this part of it.
    pub tolerance: f64,
    /// The seed of the start vector.
    pub seed: u64,
}

impl Default for LanczosParams {
    fn default() -> Self {
        LanczosParams { max_iter: 100, tolerance: 1e-6, seed: 1 }
    }
}

/// A singular value: some singular value of A lies within the error bar of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SingularValue {
    /// The value.
    pub value: f64,
    /// ‖Aᴴu − σv‖, and at least what rounding may have done.
    pub error_bar: f64,
}

impl SingularValue {
    fn relative_error_bar(&self) -> f64 {
        if self.error_bar == 0.0 { 0.0 } else { self.error_bar / self.value }
    }
}

/// The extreme singular values of a stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SingularValues {
    /// Never above the largest singular value, and the first to be known well.
    pub largest: SingularValue,
    /// Never below the smallest singular value that is not zero.
    pub smallest: SingularValue,
    /// How the iteration ended.
    pub outcome: Outcome,
}

impl SingularValues {
    /// σ_max / σ_min, the condition number of A on the complement of its null space, with an error bar.
    pub fn condition_number(&self) -> (f64, f64) {
        let value = self.largest.value / self.smallest.value;
        (value, value * (self.largest.relative_error_bar() + self.smallest.relative_error_bar()))
    }
}

/// The largest and the smallest singular value of a stack, zeros aside.
///
/// Collective: yes. Cost: that of [`Lanczos`], until both ends are known. Small values converge slowly: where the outcome
/// is not converged, the condition number is a lower bound with an honest error bar.
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{LanczosParams, Progress, singular_values}};
/// use stackphys::{Shape, stack::{Description, FromFn, Stack}};
/// let line = Shape::new([("x", 3)]);
/// let factory = FromFn::new(
///     1,
///     |_| Ok(Description::new("weights", line.clone(), line.clone())),
///     |_| Ok(Box::new(Diagonal::new([("x", 3)], vec![1.0, 2.0, 4.0])?) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let found = singular_values(&stack, &LanczosParams::default(), &mut |_: &Progress| ()).unwrap();
/// assert!((found.condition_number().0 - 4.0).abs() < 1e-10);
/// ```
pub fn singular_values<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    params: &LanczosParams,
    observer: &mut dyn Observer,
) -> Result<SingularValues, Error> {
    let mut lanczos = Lanczos::new(stack, params, Ends::Both);
    let outcome = run(&mut lanczos, params, observer)?;
    Ok(SingularValues { largest: lanczos.largest(), smallest: lanczos.smallest(), outcome })
}

pub(super) fn run<X: Scalar, Y: Scalar<Real = X::Real>>(
    lanczos: &mut Lanczos<X, Y>,
    params: &LanczosParams,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let rule = stop::any([
        stop::not_a_number(),
        stop::relative_error_bar(params.tolerance),
        stop::breakdown(),
        stop::iterations(params.max_iter),
    ]);
    drive(lanczos, &*rule, observer)
}

/// Which singular values must be known before the iteration stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The largest.
    Largest,
    /// The largest and the smallest.
    Both,
}

/// The bidiagonalisation `A V = U B`, whose singular values tend to those of A from inside.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction, two scalar ones. Memory: one vector of the
/// model for each step so far, and 2 of the measurements. It starts from `Aᴴ` of a random vector, so the null space stays
/// out.
pub struct Lanczos<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    seed: u64,
    ends: Ends,

    /// v₁, v₂, …: the last one is not in B yet.
    basis: Vec<Vector<X>>,
    u: Vector<Y>,
    av: Vector<Y>,
    /// The diagonal of B, and what is above it; the last β leads out of B.
    alphas: Vec<f64>,
    betas: Vec<f64>,
    found: [SingularValue; 2],
    exhausted: bool,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Lanczos<'a, X, Y> {
    /// A run with a random start vector, drawn by (seed, element).
    pub fn new(stack: &'a Stack<X, Y>, params: &LanczosParams, ends: Ends) -> Self {
        let unknown = SingularValue { value: 0.0, error_bar: f64::INFINITY };
        Lanczos {
            stack,
            seed: params.seed,
            ends,
            basis: vec![stack.zero_model()],
            u: stack.zero_data(),
            av: stack.zero_data(),
            alphas: Vec::new(),
            betas: Vec::new(),
            found: [unknown; 2],
            exhausted: false,
        }
    }

    /// The largest singular value so far.
    pub fn largest(&self) -> SingularValue {
        self.found[0]
    }
    /// The smallest singular value so far.
    pub fn smallest(&self) -> SingularValue {
        self.found[1]
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Progress {
        let [largest, smallest] = self.found;
        let error = match self.ends {
            Ends::Largest => largest.relative_error_bar(),
            Ends::Both => super::system::at_least(largest.relative_error_bar(), smallest.relative_error_bar()),
        };
        let known = !self.alphas.is_empty();
        Progress {
            iteration: self.alphas.len(),
            value: known.then_some(largest.value * largest.value),
            relative_error_bar: known.then_some(error),
            seconds: self.stack.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }

    /// The ends of the singular values of B, with ‖Aᴴu − σv‖ = β |last element of B's left singular vector|.
    fn look(&self) -> Result<[SingularValue; 2], Fault> {
        let steps = self.alphas.len();
        if self.alphas.iter().chain(&self.betas).any(|number| !number.is_finite()) {
            return Ok([SingularValue { value: f64::NAN, error_bar: f64::NAN }; 2]);
        }
        let mut bidiagonal = Array2::zeros((steps, steps));
        for k in 0..steps {
            bidiagonal[[k, k]] = self.alphas[k];
            if k > 0 {
                bidiagonal[[k - 1, k]] = self.betas[k - 1];
            }
        }
        let svd = bidiagonal.svd(true, false).map_err(|why| Fault::new(format!("the singular values of B: {why}")))?;
        let (Some(left), values, _) = svd else { return Err(Fault::new("no singular vectors of B")) };
        let out = self.betas[steps - 1];
        let rounding = 2.0 * X::Real::EPSILON * values[0];
        let error_bar = |k: usize| super::system::at_least(out * f64::abs(left[[steps - 1, k]]), rounding);
        let end = |k: usize| SingularValue { value: values[k], error_bar: error_bar(k) };
        Ok([end(0), end(steps - 1)])
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Lanczos<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        let random = crate::testing::random(self.stack.range(), self.seed, START);
        self.stack.adjoint_unsettled(&random, &mut self.basis[0])?;
        let norm = self.stack.team().norm(&self.basis[0])?;
        if norm != 0.0 {
            self.basis[0].scale(1.0 / norm);
        }
        Ok(self.progress(None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        let (stack, team) = (self.stack, self.stack.team());
        if self.exhausted {
            return Ok(self.progress(Some("the Krylov space is exhausted: all that can be reached is known")));
        }
        // α_k u_k = A v_k − β_{k−1} u_{k−1}
        let v = &self.basis[self.basis.len() - 1];
        stack.forward_unsettled(v, &mut self.av);
        self.u.xpby(&self.av, -self.betas.last().copied().unwrap_or(0.0));
        let alpha = team.norm(&self.u)?;
        if alpha == 0.0 {
            if self.alphas.is_empty() {
                self.found = [SingularValue { value: 0.0, error_bar: 0.0 }; 2];
            }
            return Ok(self.progress(Some("A v is zero: all that can be reached is known")));
        }
        self.u.scale(1.0 / alpha);
        // β_k v_{k+1} = Aᴴu_k − α_k v_k, orthogonal to all before; twice is enough
        let mut next = stack.zero_model();
        stack.adjoint_unsettled(&self.u, &mut next)?;
        next.axpy(-alpha, v);
        for _ in 0..2 {
            if next.space().is_replicated() {
                for v in &self.basis {
                    let overlap = inner(v.as_slice(), next.as_slice());
                    subtract(overlap, v.as_slice(), next.as_mut_slice());
                }
                continue;
            }
            // of vectors that are cut all overlaps at once: one reduction, and as good when done twice
            let mut overlaps: Vec<f64> = self.basis.iter().flat_map(|v| own_inner(v, &next, team.rank())).collect();
            team.sum_in_place(&mut overlaps)?;
            for (v, parts) in self.basis.iter().zip(overlaps.chunks(2)) {
                subtract(X::from_parts(parts[0], parts[1]), v.as_slice(), next.as_mut_slice());
            }
        }
        let beta = team.norm(&next)?;
        if beta != 0.0 {
            next.scale(1.0 / beta);
        }
        self.alphas.push(alpha);
        self.betas.push(beta);
        self.basis.push(next);
        self.exhausted = beta <= 10.0 * X::Real::EPSILON * self.alphas.iter().copied().fold(0.0, f64::max);

        // rank 0 looks for all: two machines need not agree on the last bits of a decomposition
        let looked = if team.rank() == 0 { self.look() } else { Ok([SingularValue { value: 0.0, error_bar: 0.0 }; 2]) };
        let [largest, smallest] = looked.unwrap_or_else(|fault| {
            team.note(fault);
            self.found
        });
        let numbers = [largest.value, largest.error_bar, smallest.value, smallest.error_bar];
        let [largest, largest_bar, smallest, smallest_bar] = team.sum(numbers)?;
        self.found = [
            SingularValue { value: largest, error_bar: largest_bar },
            SingularValue { value: smallest, error_bar: smallest_bar },
        ];
        Ok(self.progress(None))
    }
}

/// ⟨a, b⟩, with its imaginary part: rounding does not keep to the real numbers as [`System`](super::System)'s theory does.
fn inner<S: Scalar>(a: &[S], b: &[S]) -> S {
    let (mut re, mut im) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let product = a.conj() * *b;
        (re, im) = (re + product.re(), im + product.im());
    }
    S::from_parts(re, im)
}

/// Both parts of this rank's share of ⟨a, b⟩: of the blocks that it speaks for.
fn own_inner<S: Scalar>(a: &Vector<S>, b: &Vector<S>, rank: usize) -> [f64; 2] {
    let blocks = a.space().blocks().iter().enumerate().filter(|(_, block)| block.placement.owner() == rank);
    let of_block = |(index, _)| Some(inner(a.block_slice(index)?, b.block_slice(index)?));
    let sum: S = blocks.filter_map(of_block).sum();
    [sum.re(), sum.im()]
}

/// `from ← from − overlap · v`.
fn subtract<S: Scalar>(overlap: S, v: &[S], from: &mut [S]) {
    for (from, v) in from.iter_mut().zip(v) {
        *from -= overlap * *v;
    }
}
