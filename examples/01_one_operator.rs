//! One operator by hand: a CT scan of a small image, its adjoint, and the test that the two belong together.
//!
//! ```text
//! cargo run --release --example 01_one_operator
//! ```

use std::error::Error;

use stackphys::comm::Team;
use stackphys::io::shepp_logan;
use stackphys::operator::{Apply, LinearOperator, Work};
use stackphys::physics::{Detector, ParallelCt};
use stackphys::testing::{DotTest, dot_test};
use stackphys::{Fault, Shape};

fn main() -> Result<(), Box<dyn Error>> {
    // An operator tells trouble as a `Fault`: the trouble of one rank. It is not a `std::error::Error`, so that nobody
    // returns from the middle of a computation and leaves the other ranks waiting. A team makes an error of it that is
    // the same on all ranks; here the team is one process.
    Team::solo().agree(scan())?;
    Ok(())
}

fn scan() -> Result<(), Fault> {
    // Dims have names: the operator finds its axes by them, and an error can say which one is wrong.
    let image = Shape::new([("y", 64), ("x", 64)]);
    let angles: Vec<f64> = (0..90).map(|k| f64::from(2 * k).to_radians()).collect();
    let scan = ParallelCt::<f64>::new(&image, &angles, Detector::new(91))?;
    println!("domain {}, range {}", scan.domain(), scan.range());

    // Scratch memory belongs to the caller and is reused: after the first call, nothing is allocated.
    let mut work = Work::default();

    let x = shepp_logan(&image)?;
    let mut sinogram = vec![0.0; scan.range().len()];
    scan.forward(&x, &mut sinogram, &mut work)?;

    // The rays of one angle sweep over the whole image, so each row of the sinogram sums to about the same.
    let mass = |numbers: &[f64]| numbers.iter().sum::<f64>();
    println!("sum of the image {:.2}", mass(&x));
    for view in [0, 30, 60] {
        println!("sum of the rays at {:>3}° {:.2}", 2 * view, mass(&sinogram[91 * view..91 * (view + 1)]));
    }

    // The adjoint smears each ray back over the image. It is not the inverse: the picture it makes is blurred.
    let mut back = vec![0.0; scan.domain().len()];
    scan.adjoint(&sinogram, &mut back, &mut work)?;
    println!("adjoint of the sinogram: {} numbers, the largest is {:.1}", back.len(), back.iter().fold(0.0, max));

    // ⟨A x, y⟩ = ⟨x, Aᴴ y⟩ for random x and y. Iterative methods rely on it, so test it first with every new operator.
    let test = dot_test(&scan, 1)?;
    let verdict = if test.passes::<f64>() { "passes" } else { "FAILS" };
    println!("dot test {verdict}: {:.1e}, allowed {:.0e}", test.ratio, DotTest::tolerance::<f64>());

    // Sizes are checked in every call; the message says what was expected.
    if let Err(fault) = scan.forward(&x[1..], &mut sinogram, &mut work) {
        println!("a wrong size: {}", fault.text);
    }
    Ok(())
}

fn max(a: f64, b: &f64) -> f64 {
    a.max(*b)
}
