//! The registry of methods that solve for `x`: what a config can name, and the one place that starts them.

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
use super::step_calls::{StepCalls, StepMessages};
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
    /// Of these, the vectors that a checkpoint keeps.
    pub fn kept_vectors(&self) -> [u64; 2] {
        let of_system = |count| match self.system() {
            Some(SystemKind::ForwardAdjoint) => [0, count],
            _ => [count, 0],
        };
        let damped = u64::from(self.damping() > 0.0);
        match self {
            Self::Cg(_) | Self::Chebyshev(_) => of_system(3),
            Self::Minres(_) => of_system(6),
            Self::Bicgstab(_) => of_system(4),
            Self::Cgls(_) => [2, 1],
            Self::Lsqr(_) => [3 + damped, 1],
            Self::Lsmr(_) => [4 + damped, 1],
            Self::Landweber(_) => [2, 0],
        }
    }
    /// What one step asks of the ranks, with a preconditioner or without.
    pub fn calls(&self, preconditioner: Option<&AnyPreconditioner>) -> StepCalls {
        let damped = self.damping() > 0.0;
        let step = StepCalls::default();
        if self.system() == Some(SystemKind::ForwardAdjoint) {
            let step = StepCalls { adjoints: 1, forwards: 1, ..step };
            let data_dots: &[u64] = match (self, damped) {
                (Self::Minres(_), false) => &[1, 1, 1],
                (Self::Minres(_), true) => &[1, 1, 3],
                (Self::Bicgstab(_), false) => &[1, 3, 1, 1],
                (Self::Bicgstab(_), true) => &[1, 3, 3, 1],
                (Self::Chebyshev(_), false) => &[1],
                (Self::Chebyshev(_), true) => &[3],
                (_, false) => &[1, 1],
                (_, true) => &[1, 3],
            };
            let twice = if matches!(self, Self::Bicgstab(_)) { 2 } else { 1 };
            return StepCalls { adjoints: twice, forwards: twice, data_dots, ..step };
        }
        match self {
            Self::Cg(_) => {
                let model_dots: &[u64] = match (preconditioner.is_some(), damped) {
                    (false, false) => &[1, 1],
                    (false, true) => &[1, 2],
                    (true, false) => &[1, 1, 1],
                    (true, true) => &[1, 2, 1],
                };
                let more = preconditioner.map_or(0, AnyPreconditioner::vector_reductions);
                StepCalls { normals: 1, adjoints: more, model_dots, ..step }
            }
            Self::Minres(_) => {
                StepCalls { normals: 1, model_dots: if damped { &[1, 1, 1, 1, 2] } else { &[1; 5] }, ..step }
            }
            Self::Bicgstab(_) => {
                let model_dots = if damped { &[1, 1, 1, 3, 2, 1] } else { &[1, 1, 1, 3, 1, 1] };
                StepCalls { normals: 2, model_dots, ..step }
            }
            Self::Chebyshev(_) => {
                StepCalls { normals: 1, model_dots: if damped { &[1, 1, 2] } else { &[1; 3] }, ..step }
            }
            Self::Cgls(_) => StepCalls { adjoints: 1, forwards: 1, model_dots: &[1, 1], data_dots: &[3], ..step },
            Self::Lsqr(_) => {
                let model_dots: &[u64] = if damped { &[1; 4] } else { &[1; 2] };
                StepCalls { adjoints: 1, forwards: 1, model_dots, data_dots: &[1], ..step }
            }
            Self::Lsmr(_) => {
                let model_dots: &[u64] = if damped { &[1; 3] } else { &[1] };
                StepCalls { adjoints: 1, forwards: 1, model_dots, data_dots: &[1], ..step }
            }
            Self::Landweber(params) if params.weights == LandweberWeights::Sums => {
                StepCalls { adjoints: 1, forwards: 1, model_dots: &[1], data_dots: &[1], ..step }
            }
            Self::Landweber(_) => StepCalls { adjoints: 1, forwards: 1, model_dots: &[1], row_numbers: &[1], ..step },
        }
    }
    /// What one step sends where every rank holds all of `x`.
    pub fn messages(&self) -> StepMessages {
        self.calls(None).messages()
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
