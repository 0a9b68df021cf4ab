//! The registry of methods that solve for `x`: what a config can name, and the one place that starts them.

use std::fmt;

use super::bicgstab::{Bicgstab, BicgstabParams};
use super::cg::{Cg, CgParams};
use super::cgls::{Cgls, CglsParams};
use super::chebyshev::{Chebyshev, ChebyshevParams};
use super::drive::{Observer, Outcome, Progress, drive};
use super::lanczos::{self, Ends, Lanczos, LanczosParams};
use super::landweber::{Landweber, LandweberParams, LandweberWeights};
use super::lsmr::{Lsmr, LsmrParams};
use super::lsqr::{Lsqr, LsqrParams};
use super::minres::{Minres, MinresParams};
use super::precondition::AnyPreconditioner;
use super::stop::{self, StopRule};
use super::system::{ForwardAdjoint, Normal, Solver, SystemKind};
use crate::error::{Error, Fault};
use crate::kinds::kinds;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

kinds! {
    /// A method that solves for `x`, with its parameters.
    pub enum AnyMethod by "kind" {
        "cg" => Cg(CgParams),
        "cgls" => Cgls(CglsParams),
        "lsqr" => Lsqr(LsqrParams),
        "lsmr" => Lsmr(LsmrParams),
        "minres" => Minres(MinresParams),
        "bicgstab" => Bicgstab(BicgstabParams),
        "chebyshev" => Chebyshev(ChebyshevParams),
        "landweber" => Landweber(LandweberParams),
    }
}

impl Default for AnyMethod {
    fn default() -> Self {
        AnyMethod::Cg(CgParams::default())
    }
}

macro_rules! from_params {
    ($($variant:ident($params:ty)),+) => { $(
        impl From<$params> for AnyMethod {
            fn from(params: $params) -> Self {
                AnyMethod::$variant(params)
            }
        }
    )+ };
}

from_params!(
    Cg(CgParams),
    Cgls(CglsParams),
    Lsqr(LsqrParams),
    Lsmr(LsmrParams),
    Minres(MinresParams),
    Bicgstab(BicgstabParams),
    Chebyshev(ChebyshevParams),
    Landweber(LandweberParams)
);

/// What one step of a method sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMessages {
    /// Sums of a vector of the model over the ranks.
    pub vector_reductions: u64,
    /// Sums of a few numbers over the ranks.
    pub scalar_reductions: u64,
}

impl fmt::Display for StepMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64, of: &str| match number {
            0 => format!("no {of}"),
            1 => format!("one {of}"),
            more => format!("{more} {of}s"),
        };
        let vectors = count(self.vector_reductions, "sum");
        write!(f, "{vectors} of a model vector, {}", count(self.scalar_reductions, "scalar reduction"))
    }
}

impl AnyMethod {
    /// Name and one line for each method, for `stackphys list methods`.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] = &[
        ("cg", "conjugate gradients on the normal equations, (AᴴA + λI) x = Aᴴy; may be preconditioned"),
        ("cgls", "the same with the residual of the measurements: one more small message, more exact"),
        ("lsqr", "least squares by bidiagonalisation: for ill-conditioned operators"),
        ("lsmr", "as lsqr, and the residual of the normal equations falls in every step"),
        ("minres", "the smallest residual of the normal equations in each step"),
        ("bicgstab", "for comparison; twice the work of cg in a step"),
        ("chebyshev", "no inner products: needs bounds of the eigenvalues of AᴴA"),
        ("landweber", "gradient descent with a fixed step; weights = \"sums\" is SIRT"),
    ];

    /// The largest number of iterations.
    pub fn most_iterations(&self) -> usize {
        match self {
            Self::Cg(params) => params.max_iter,
            Self::Cgls(params) => params.max_iter,
            Self::Lsqr(params) => params.max_iter,
            Self::Lsmr(params) => params.max_iter,
            Self::Minres(params) => params.max_iter,
            Self::Bicgstab(params) => params.max_iter,
            Self::Chebyshev(params) => params.max_iter,
            Self::Landweber(params) => params.max_iter,
        }
    }
    /// λ: how much ‖x‖² counts.
    pub fn damping(&self) -> f64 {
        match self {
            Self::Cg(params) => params.damping,
            Self::Cgls(params) => params.damping,
            Self::Lsqr(params) => params.damping,
            Self::Lsmr(params) => params.damping,
            Self::Minres(params) => params.damping,
            Self::Bicgstab(params) => params.damping,
            Self::Chebyshev(params) => params.damping,
            Self::Landweber(params) => params.damping,
        }
    }
    /// The Hermitian system that it solves, if it solves one.
    pub fn system(&self) -> Option<SystemKind> {
        match self {
            Self::Cg(params) => Some(params.system),
            Self::Minres(params) => Some(params.system),
            Self::Bicgstab(params) => Some(params.system),
            Self::Chebyshev(params) => Some(params.system),
            Self::Cgls(_) | Self::Lsqr(_) | Self::Lsmr(_) | Self::Landweber(_) => None,
        }
    }
    /// The limit of the estimated condition number, for methods that estimate it.
    pub fn condition_limit(&self) -> Option<f64> {
        match self {
            Self::Lsqr(params) => params.condition_limit,
            Self::Lsmr(params) => params.condition_limit,
            _ => None,
        }
    }
    /// Whether its relative residual has a floor (see [`Normal::residual_resolution`]).
    pub fn residual_has_a_floor(&self) -> bool {
        self.system() == Some(SystemKind::Normal)
    }
    /// Whether a preconditioner can be used with it.
    pub fn may_be_preconditioned(&self) -> bool {
        matches!(self, Self::Cg(CgParams { system: SystemKind::Normal, .. }))
    }

    /// Vectors that a solve holds: of the model, and of the measurements (beside the data).
    pub fn vectors(&self) -> [u64; 2] {
        let of_system = |count| match self.system() {
            Some(SystemKind::ForwardAdjoint) => [1, count],
            _ => [count, 0],
        };
        let damped = u64::from(self.damping() > 0.0);
        match self {
            Self::Cg(_) | Self::Chebyshev(_) => of_system(4),
            Self::Minres(_) => of_system(8),
            Self::Bicgstab(_) => of_system(6),
            Self::Cgls(_) => [3, 2],
            Self::Lsqr(_) => [4 + damped, 2],
            Self::Lsmr(_) => [5 + damped, 2],
            Self::Landweber(params) if params.weights == LandweberWeights::Sums => [3, 2],
            Self::Landweber(_) => [2, 0],
        }
    }
    /// What one step sends.
    pub fn messages(&self) -> StepMessages {
        let cut = self.system() == Some(SystemKind::ForwardAdjoint);
        let (vector_reductions, if_cut) = match self {
            Self::Cg(_) => (1, 2),
            Self::Minres(_) => (1, 3),
            Self::Bicgstab(_) => (2, 4),
            Self::Chebyshev(_) => (1, 1),
            Self::Cgls(_) | Self::Lsqr(_) | Self::Lsmr(_) | Self::Landweber(_) => {
                return StepMessages { vector_reductions: 1, scalar_reductions: 1 };
            }
        };
        StepMessages { vector_reductions, scalar_reductions: if cut { if_cut } else { 0 } }
    }

    /// Solves for `x`. The method's condition limit is added to the rules.
    ///
    /// Collective: yes. Cost: that of the method, of the preconditioner, and, for Chebyshev's iteration without an upper
    /// bound, of a bidiagonalisation. Faults: a preconditioner for a method that cannot use it.
    pub fn solve<X: Scalar, Y: Scalar<Real = X::Real>>(
        &self,
        stack: &Stack<X, Y>,
        y: &Vector<Y>,
        preconditioner: Option<&AnyPreconditioner>,
        first_guess: Option<Vector<X>>,
        rule: &dyn StopRule,
        observer: &mut dyn Observer,
    ) -> Result<(Vector<X>, Outcome), Error> {
        if preconditioner.is_some() && !self.may_be_preconditioned() {
            let text = format!("`{}` cannot be preconditioned as it is set up", self.kind());
            stack.team().agree(Err(Fault::new(text).hint("use method \"cg\" on the normal system")))?;
        }
        let rule = &OneMore { rule, more: self.condition_limit().map(stop::condition_limit) };
        macro_rules! on_its_system {
            ($params:ident, $system:ident => $method:expr) => {
                match $params.system {
                    SystemKind::Normal => {
                        let $system = Normal::new(stack, y, $params.damping, first_guess);
                        run($method, rule, observer)
                    }
                    SystemKind::ForwardAdjoint => {
                        let $system = ForwardAdjoint::new(stack, y, $params.damping, first_guess);
                        run($method, rule, observer)
                    }
                }
            };
        }
        match self {
            Self::Cg(params) => match preconditioner {
                None => on_its_system!(params, system => Cg::on(system)),
                Some(by) => {
                    let by = by.build(stack, params.damping)?;
                    run(Cg::new(stack, params, y, first_guess).preconditioned(by), rule, observer)
                }
            },
            Self::Minres(params) => on_its_system!(params, system => Minres::on(system)),
            Self::Bicgstab(params) => on_its_system!(params, system => Bicgstab::on(system)),
            Self::Chebyshev(params) => {
                let bounds = match observer.keeper().is_some_and(|keeper| keeper.goes_on()) {
                    true => params.bounds(1.0), // those of the state that is put back are used
                    false => bounds(stack, params)?,
                };
                on_its_system!(params, system => Chebyshev::on(system, bounds))
            }
            Self::Cgls(params) => run(Cgls::new(stack, params, y, first_guess), rule, observer),
            Self::Lsqr(params) => run(Lsqr::new(stack, params, y, first_guess), rule, observer),
            Self::Lsmr(params) => run(Lsmr::new(stack, params, y, first_guess), rule, observer),
            Self::Landweber(params) => run(Landweber::new(stack, params, y, first_guess), rule, observer),
        }
    }
}

fn run<X>(
    mut method: impl Solver<X>,
    rule: &dyn StopRule,
    observer: &mut dyn Observer,
) -> Result<(Vector<X>, Outcome), Error> {
    let outcome = drive(&mut method, rule, observer)?;
    Ok((method.finish()?, outcome))
}

/// The bounds of the eigenvalues that Chebyshev's iteration is given, or those that are found for it.
fn bounds<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    params: &ChebyshevParams,
) -> Result<[f64; 2], Error> {
    if let Some(upper) = params.upper {
        return Ok(params.bounds(upper));
    }
    // a hundredth is good enough: what the error bar leaves open is added
    let how = LanczosParams { max_iter: 30, tolerance: 0.01, ..LanczosParams::default() };
    let mut lanczos = Lanczos::new(stack, &how, Ends::Largest);
    lanczos::run(&mut lanczos, &how, &mut |_: &Progress| ())?;
    let largest = lanczos.largest();
    Ok(params.bounds((largest.value + largest.error_bar).powi(2)))
}

/// A rule, and perhaps another one after it.
struct OneMore<'a> {
    rule: &'a dyn StopRule,
    more: Option<stop::BoxedRule>,
}

impl StopRule for OneMore<'_> {
    fn check(&self, progress: &Progress) -> Option<(stop::Status, stop::Stop)> {
        self.rule.check(progress).or_else(|| self.more.as_ref()?.check(progress))
    }
    fn most_iterations(&self) -> Option<usize> {
        self.rule.most_iterations()
    }
    fn reads_clock(&self) -> bool {
        self.rule.reads_clock()
    }
}
