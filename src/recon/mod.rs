//! Reconstruction: how well an image explains the measurements, and the methods that find the image which does so best.
//! (To come: what is known of it beforehand.)
//!
//! A [`DataTerm`] is a stack, its measurements and a [`fidelity`] for its operators. [`minimise`] finds the `x` of the least
//! `Σ d_i(A_i x, y_i) + ½ λ‖x‖²` by [`GradientDescent`] or [`PrimalDual`]; [`AnyMinimiser`] is the list of these methods,
//! [`AnyFormula`] that of inversions without iterations.
//! Those of [`solver`](crate::solver) are for plain least squares only, and quicker there.

mod analytic;
mod any_minimiser;
mod data_term;
pub mod fidelity;
mod gradient_descent;
mod minimise;
mod objective;
mod primal_dual;

pub use analytic::AnyFormula;
pub use any_minimiser::AnyMinimiser;
pub use data_term::{DataTerm, Loss};
pub(crate) use gradient_descent::no_gradient;
pub use gradient_descent::{GradientDescent, GradientDescentParams};
pub use minimise::{Minimum, minimise};
pub use primal_dual::{PrimalDual, PrimalDualParams};
