//! Inverse problems whose forward model is a **stack of operators**, `A = [A_0; A_1; …; A_{N−1}]`, spread over MPI ranks.
//!
//! Each rank builds its own share of the operators and holds their measurements. Methods on top, such as conjugate
//! gradients, are written once and run on one process, on threads and under `mpirun`. Any number of ranks gives the same
//! answer, and a fault on one rank becomes the same error on all of them.
//!
//! This is the library; the program of the same name is a thin layer over it, [`app`].
//!
//! # Five nouns
//!
//! | Noun | What it is | Where |
//! | --- | --- | --- |
//! | **Space** | what a vector looks like (named dims, blocks), and who owns which part | [`space`] |
//! | **Operator** | maps one space to another | [`operator`] (the concept), [`physics`] (the forward models) |
//! | **Stack** | many operators as one, spread over ranks | [`stack`], over [`comm`] |
//! | **Method** | something that iterates, and the rules that stop it | [`solver`] (least squares), [`recon`] (data fidelities) |
//! | **Run** | what the user wrote → a plan → objects → results | [`config`], [`app`], [`io`] |
//!
//! # An example
//!
//! A scan of 48 angles, dealt into four operators, and the image that fits its measurements best:
//!
//! ```
//! use stackphys::comm::Team;
//! use stackphys::physics::{Detector, ParallelCt};
//! use stackphys::solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop};
//! use stackphys::stack::{Description, FromFn, Stack};
//! use stackphys::{Shape, io::shepp_logan};
//!
//! let image = Shape::new([("y", 32), ("x", 32)]);
//! let sinogram = Shape::new([("angle", 12), ("column", 47)]); // of one operator
//! let factory = FromFn::new(
//!     4, // operators; the first function is called on all ranks, the second on the owner only
//!     |i| Ok(Description::new(format!("part {i}"), image.clone(), sinogram.clone())),
//!     |i| {
//!         let angles: Vec<f64> = (0..12).map(|k| f64::to_radians(180.0) * (4 * k + i) as f64 / 48.0).collect();
//!         Ok(Box::new(ParallelCt::new(&image, &angles, Detector::new(47))?) as _)
//!     },
//! );
//! let team = Team::solo(); // under mpirun: Team::new(session.world()), the rest stays as it is
//! let stack = Stack::<f64>::build(team, &factory, Default::default())?;
//!
//! let (mut truth, mut y) = (stack.zero_model(), stack.zero_data());
//! truth.as_mut_slice().copy_from_slice(&stack.team().agree(shepp_logan(&image))?);
//! stack.forward(&truth, &mut y)?; // simulated measurements
//!
//! let cg = PseudoInverse::Exact(CgParams::default().into());
//! let solution = pseudo_inverse(&stack, &y, &cg, None, &*stop::iterations(20), &mut |_: &Progress| ())?;
//! assert!(solution.true_relative_residual < 0.01);
//! # Ok::<(), stackphys::Error>(())
//! ```
//!
//! The files in `examples/` go on from here, in the order of their numbers.
//!
//! # Reading order of the source
//!
//! 1. [`error`]: two kinds of trouble, [`Fault`] (one rank's) and [`Error`] (the same on all ranks), and the wall between.
//! 2. [`space`]: shapes with named dims, and vectors with one buffer.
//! 3. [`operator`]: what an operator is; `physics/diagonal.rs` is the shortest whole forward model.
//! 4. [`comm`]: the few collectives; [`Team`](comm::Team), through which everybody uses them, and how ranks agree.
//! 5. [`stack`]: the plan, the factory, and `A x`, `Aᴴ y`, `AᴴA x` over ranks. The heart of it.
//! 6. [`solver`]: the one loop ([`drive`](solver::drive)), and [`Cg`](solver::Cg) as the pattern of a method.
//! 7. [`recon`]: data fidelities on a stack, and the methods that minimise them.
//! 8. [`config`], then [`app`]: from a TOML file to objects, one file for each command.
//!
//! [`scalar`] (the four number types), [`random`] (numbers that do not depend on the rank count) and [`testing`] (dot
//! tests) are used by all of these. `docs/architecture.md` shows how they hang together.
//!
//! # Features
//!
//! `mpi`, `hdf5` and `openblas-system` are on by default. `--no-default-features --features openblas-system` builds without MPI
//! and HDF5.
//!
//! | Feature | What it brings | Debian package |
//! | --- | --- | --- |
//! | `mpi` | ranks as MPI processes (`comm::mpi`) | `libopenmpi-dev` (or `libmpich-dev`), `libclang-dev` |
//! | `hdf5` | HDF5 Data Exchange files | `libhdf5-dev` |
//! | `hdf5-static` | the same, built from source and linked in | `cmake`, 3.26 or newer |
//! | `openblas-system` | dense linear algebra | `libopenblas-dev` |
//! | `openblas-static` | the same, built from source and linked in | `gfortran`, `make` |
//!
//! One of the last two is needed. `docs/clusters.md` shows how to build without root.

#[cfg(not(any(feature = "openblas-system", feature = "openblas-static")))]
compile_error!(
    "an OpenBLAS is needed: add --features openblas-system (the system's) or openblas-static (built from source)"
);

pub mod app;
pub mod checkpoint;
pub mod comm;
pub mod config;
pub mod error;
mod fourier;
pub mod io;
mod kinds;
pub mod operator;
pub mod physics;
pub mod random;
mod range;
mod real_fourier;
pub mod recon;
pub mod scalar;
pub mod solver;
pub mod space;
pub mod stack;
pub mod testing;
mod threads;

pub use error::{Error, Fault};
pub use scalar::Scalar;
pub use space::Shape;
