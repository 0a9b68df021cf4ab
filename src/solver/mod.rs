//! Methods that iterate. One driver owns the loop ([`drive`]); a method is a file with `start` and `step`; stop rules and
//! observers are objects of their own.
//!
//! A method's parameter struct is the very type that the config file holds; [`AnyMethod`] is the list of those that solve
//! for `x`. Some solve a Hermitian [`System`], normally `(AᴴA + λI) x = Aᴴy` ([`Cg`], [`Minres`], [`Bicgstab`],
//! [`Chebyshev`]); others use A and Aᴴ themselves ([`Cgls`], [`Lsqr`], [`Lsmr`], [`Landweber`]). All minimise
//! `‖A x − y‖² + λ‖x‖²`, with λ = `damping`, not its root.

mod any_method;
mod bicgstab;
mod cg;
mod cgls;
mod chebyshev;
mod drive;
mod golub_kahan;
mod lanczos;
mod landweber;
mod lsmr;
mod lsqr;
mod memory;
mod minres;
mod norm_squared;
mod power;
mod precondition;
mod prox_l2;
mod pseudo_inverse;
mod step_calls;
pub mod stop;
mod system;

pub use any_method::AnyMethod;
pub use bicgstab::{Bicgstab, BicgstabParams};
pub use cg::{Cg, CgParams};
pub use cgls::{Cgls, CglsParams};
pub use chebyshev::{Chebyshev, ChebyshevParams};
pub use drive::{Keeper, Method, Observer, Outcome, Progress, drive};
pub use lanczos::{Ends, Lanczos, LanczosParams, SingularValue, SingularValues, singular_values};
pub use landweber::{Landweber, LandweberParams, LandweberWeights};
pub use lsmr::{Lsmr, LsmrParams};
pub use lsqr::{Lsqr, LsqrParams};
pub use memory::{Memory, Numbers};
pub use minres::{Minres, MinresParams};
pub(crate) use norm_squared::norm_squared_for_steps;
pub use norm_squared::{NormSquared, NormSquaredEstimate, norm_squared};
pub use power::{Power, PowerParams};
pub use precondition::{AnyPreconditioner, BlockParams, FourierParams, JacobiParams, Preconditioner, Sums, SumsParams};
pub use prox_l2::{Gamma, ProxL2Params, prox_l2};
pub(crate) use pseudo_inverse::true_residuals;
pub use pseudo_inverse::{Exact, PseudoInverse, Solution, Start, pseudo_inverse, with_trouble_rules};
pub use step_calls::{StepCalls, StepMessages};
pub use stop::Status;
pub(crate) use system::relative;
pub use system::{ForwardAdjoint, Normal, Solver, System, SystemKind};
