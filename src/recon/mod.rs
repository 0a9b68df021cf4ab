//! Reconstruction: how well an image explains the measurements, and (to come) what is known of it beforehand.

mod data_term;
pub mod fidelity;

pub use data_term::{DataTerm, Loss};
