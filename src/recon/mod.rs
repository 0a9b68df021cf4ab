//! Reconstruction: how well an image explains the measurements, and (to come) what is known of it beforehand.

pub mod fidelity;
