//! Public checks: is the adjoint the adjoint, does an operator keep what it declares?
//!
//! Vectors are random, complex where the scalar is, and every output is filled with not-a-number before the call, so that
//! an operator which forgets to overwrite it is found out.

mod adjoint;
mod structure;
mod taylor;

pub use adjoint::{DotTest, dot_test, random, stack_dot_tests};
pub use structure::structure_test;
pub use taylor::{TaylorTest, taylor_test};
