//! A stack: several operators as one, their plan, norm and pseudo-inverse; then the same on three ranks.
//!
//! ```text
//! cargo run --release --example 02_a_stack
//! ```

use stackphys::comm::{Team, threads};
use stackphys::io::shepp_logan;
use stackphys::physics::{Detector, ParallelCt};
use stackphys::solver::{
    CgParams, NormSquared, NormSquaredEstimate, PowerParams, Progress, PseudoInverse, norm_squared, pseudo_inverse,
    stop,
};
use stackphys::stack::{Description, FromFn, Stack};
use stackphys::{Error, Shape};

const OPERATORS: usize = 6;
const VIEWS: usize = 20; // of one operator
const COLUMNS: usize = 91;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("-- one rank");
    let alone = reconstruct(Team::solo())?;

    // Three ranks, here as threads of this process; `03_under_mpi` does it with real ones. Each rank runs the same
    // function and builds only the operators that the plan gives it.
    println!("-- three ranks");
    for image in threads::run(3, |comm| reconstruct(Team::new(comm))) {
        let image = image?;
        let apart = alone.iter().zip(&image).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Sums are added in another order, and CG can enlarge the rounding a lot. Where the bits matter, ask for
        // `Summation::Ordered` in the options of the plan.
        println!("largest difference to one rank: {apart:.0e}");
    }
    Ok(())
}

/// The same function for any number of ranks: all that differs is the team.
fn reconstruct(team: Team) -> Result<Vec<f64>, Error> {
    let image = Shape::new([("y", 64), ("x", 64)]);
    let sinogram = Shape::new([("angle", VIEWS), ("column", COLUMNS)]);

    // A factory makes operators by their index. All ranks describe all of them, so that each can make the same plan;
    // only the owner builds one, so that memory is spread, too. Operator i sees every sixth angle from the i-th on.
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
    let stack = Stack::<f64>::build(team, &factory, Default::default())?;
    let speaks = stack.team().rank() == 0; // every rank runs this; one is enough to print
    if speaks {
        print!("{}", stack.plan());
    }

    // x is the same on all ranks; y is cut: each rank holds the measurements of its own operators.
    let mut truth = stack.zero_model();
    truth.as_mut_slice().copy_from_slice(&stack.team().agree(shepp_logan(&image))?);
    let mut y = stack.zero_data();
    stack.forward(&truth, &mut y)?;

    let how = NormSquared::Exact(PowerParams::default());
    if let NormSquaredEstimate::Value { value, .. } = norm_squared(&stack, &how, &mut |_: &Progress| ())?
        && speaks
    {
        println!("‖A‖² = {value:.3}");
    }

    // The least-squares solution of the whole stack. Each iteration sends one vector of the size of x.
    let how = PseudoInverse::Exact(CgParams::default().into());
    let rule = stop::any([stop::relative_residual(0.01), stop::iterations(50)]);
    let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ())?;
    if let (true, Some(outcome)) = (speaks, &solution.outcome) {
        println!("CG stopped after {} iterations: {}", outcome.iterations(), outcome.stop.reason);
        println!("‖A x − y‖ / ‖y‖ = {:.2e}", solution.true_relative_residual);
    }
    Ok(solution.x.as_slice().to_vec())
}
