//! The same program alone or on MPI ranks. Nothing but the first lines of `main` knows the difference.
//!
//! ```text
//! cargo run --release --example 03_under_mpi
//! mpirun -n 3 target/release/examples/03_under_mpi          # with --oversubscribe where there are fewer cores
//! ```

use stackphys::comm::Team;
use stackphys::io::shepp_logan;
use stackphys::physics::{Detector, ParallelCt};
use stackphys::solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop};
use stackphys::stack::{Description, FromFn, Stack};
use stackphys::{Error, Shape};

const OPERATORS: usize = 8;
const VIEWS: usize = 15; // of one operator
const COLUMNS: usize = 137;

#[cfg(feature = "mpi")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use stackphys::comm::mpi;
    // Starting MPI takes a while, and a process that was not launched by mpirun or srun has no use for it.
    if mpi::launched() {
        // The session is MPI from its start to its end: it must outlive all that uses it. From here on a panic on one
        // rank ends the job on all of them.
        let session = mpi::Session::start().ok_or("MPI was started before")?;
        reconstruct(Team::new(session.world()))?;
    } else {
        println!("one process; try: mpirun -n 3 target/release/examples/03_under_mpi");
        reconstruct(Team::solo())?;
    }
    Ok(())
}

#[cfg(not(feature = "mpi"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "this build has no MPI, so this is one process; for more, build with --features mpi (needs libopenmpi-dev)"
    );
    reconstruct(Team::solo())?;
    Ok(())
}

/// Every rank runs this, in step: a call that sums over ranks is made by all of them, or all would wait.
fn reconstruct(team: Team) -> Result<(), Error> {
    let image = Shape::new([("y", 96), ("x", 96)]);
    let sinogram = Shape::new([("angle", VIEWS), ("column", COLUMNS)]);
    let factory = FromFn::new(
        OPERATORS,
        |i| Ok(Description::new(format!("views {i} mod {OPERATORS}"), image.clone(), sinogram.clone())),
        |i| {
            let views = OPERATORS * VIEWS;
            let angle = |k| 180.0_f64.to_radians() * (OPERATORS * k + i) as f64 / views as f64;
            let angles: Vec<f64> = (0..VIEWS).map(angle).collect();
            Ok(Box::new(ParallelCt::new(&image, &angles, Detector::new(COLUMNS))?) as _)
        },
    );
    let hosts = team.hosts(); // collective, so not inside the `if` below
    let stack = Stack::<f64>::build(team, &factory, Default::default())?;
    let team = stack.team();
    if team.rank() == 0 {
        println!("ranks {}, on {}", team.size(), hosts.join(", "));
        println!("owner of each operator {:?}", stack.plan().owners());
    }

    let mut truth = stack.zero_model();
    // What can fail on one rank alone ends in an agreement: all ranks go on, or all return the same error.
    truth.as_mut_slice().copy_from_slice(&team.agree(shepp_logan(&image))?);
    let mut y = stack.zero_data();
    stack.forward(&truth, &mut y)?;

    let how = PseudoInverse::Exact(CgParams::default().into());
    let solution = pseudo_inverse(&stack, &y, &how, None, &*stop::iterations(20), &mut |_: &Progress| ())?;

    // x is replicated: every rank holds the whole of it, so one rank can write it without asking the others.
    if team.rank() == 0 {
        let mut difference = solution.x.clone();
        difference.axpy(-1.0, &truth);
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        println!("relative residual {:.6} after 20 iterations", solution.true_relative_residual);
        println!("relative error of the image {:.4}", norm(difference.as_slice()) / norm(truth.as_slice()));
    }
    Ok(())
}
