//! stackphys
pub mod app;
pub mod comm;
pub mod config;
pub mod error;
pub mod io;
mod kinds;
pub mod operator;
pub mod physics;
pub mod random;
pub mod scalar;
pub mod solver;
pub mod space;
pub mod stack;
pub mod testing;

pub use error::{Error, Fault};
pub use scalar::Scalar;
pub use space::Shape;
