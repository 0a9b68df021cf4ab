//! An operator and a factory of your own: moving averages of different widths, dealt to ranks by their cost.
//!
//! ```text
//! cargo run --release --example 04_your_own_factory
//! ```

use stackphys::comm::{Kind, Team, threads};
use stackphys::operator::{LinearOperator, Work};
use stackphys::random::Stream;
use stackphys::solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop};
use stackphys::stack::{Assignment, Description, Factory, PlanOptions, Stack};
use stackphys::testing::dot_test;
use stackphys::{Error, Fault, Scalar, Shape};

/// A detector that sees the mean of `width` neighbours: `y_k = (x_k + … + x_{k+width−1}) / width`.
struct MovingAverage {
    domain: Shape,
    range: Shape,
    width: usize,
}

impl MovingAverage {
    fn new(samples: usize, width: usize) -> Result<Self, Fault> {
        if width == 0 || width > samples {
            // A fault says what was expected and what came. Where and when it happened is added by whoever calls.
            return Err(Fault::new(format!("width: expected 1 to {samples}, got {width}")));
        }
        let range = Shape::new([("place", samples + 1 - width)]);
        Ok(MovingAverage { domain: Shape::new([("x", samples)]), range, width })
    }
}

// Written for all four scalars (f32, f64 and their complex ones): nothing here depends on which.
impl<S: Scalar> LinearOperator<S> for MovingAverage {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    // The lengths of the slices are right: they are checked before this is called. Both outputs are overwritten,
    // whatever they hold.
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let weight = S::from_f64(1.0 / self.width as f64);
        for (k, y) in y.iter_mut().enumerate() {
            *y = S::default();
            for x in &x[k..k + self.width] {
                *y += weight * *x;
            }
        }
        Ok(())
    }
    // The transpose: what was gathered by `forward` is scattered here, with the same weights.
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let weight = S::from_f64(1.0 / self.width as f64);
        x.fill(S::default());
        for (k, y) in y.iter().enumerate() {
            for x in &mut x[k..k + self.width] {
                *x += weight * *y;
            }
        }
        Ok(())
    }
}

/// One detector for each width.
struct Detectors {
    samples: usize,
    widths: Vec<usize>,
}

impl<S: Scalar> Factory<S> for Detectors {
    fn count(&self) -> usize {
        self.widths.len()
    }
    // Called on all ranks for all operators, so it must be cheap and answer alike everywhere.
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let MovingAverage { domain, range, width } = MovingAverage::new(self.samples, self.widths[index])?;
        let cost = (width * range.len()) as f64; // in any unit: only the ratios count
        Ok(Description { cost, ..Description::new(format!("mean of {width}"), domain, range) })
    }
    // Called on the owner only. Here a real factory reads its files.
    fn build(&self, index: usize) -> Result<Box<dyn LinearOperator<S>>, Fault> {
        Ok(Box::new(MovingAverage::new(self.samples, self.widths[index])?))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before anything else: is the adjoint the adjoint?
    let operator = MovingAverage::new(50, 7);
    let test = Team::solo().agree(operator.and_then(|operator| dot_test::<f64, f64>(&operator, 1)))?;
    println!("dot test of one operator: {:.0e}", test.ratio);

    let detectors = Detectors { samples: 400, widths: vec![1, 2, 3, 5, 8, 13, 21, 34] };
    let outcomes = threads::run(3, |comm| measure_and_solve(Team::new(comm), &detectors));
    outcomes.into_iter().collect::<Result<(), Error>>()?;

    // A fault of the factory is the same error on all ranks, whoever found it.
    let wrong = Detectors { samples: 20, widths: vec![3, 34] };
    for outcome in threads::run(2, |comm| measure_and_solve(Team::new(comm), &wrong)) {
        if let Err(error) = outcome {
            println!("as it should: {error}");
        }
    }
    Ok(())
}

fn measure_and_solve(team: Team, detectors: &Detectors) -> Result<(), Error> {
    // The wide detectors cost more, so a rank gets few of them; neighbours stay together.
    let options = PlanOptions { assignment: Assignment::ByCost, ..PlanOptions::default() };
    let stack = Stack::<f64>::build(team, detectors, options)?;
    let team = stack.team();
    if team.rank() == 0 {
        print!("{}", stack.plan());
    }

    // Random numbers follow from seed, stream and place, so all ranks draw the same.
    let mut truth = stack.zero_model();
    Stream::new(1, 0).fill_normal(0, truth.as_mut_slice());
    let mut y = stack.zero_data();
    stack.forward(&truth, &mut y)?;

    let before = team.meter().all();
    let how = PseudoInverse::Exact(CgParams { max_iter: 25, ..CgParams::default() }.into());
    let solution = pseudo_inverse(&stack, &y, &how, None, &*stop::iterations(25), &mut |_: &Progress| ())?;

    // What the solve has sent: a vector for Aᴴy, one in each of the 25 iterations, two for the true residuals at the
    // end. The few scalars are norms of the data, which are spread; an iteration needs none.
    if team.rank() == 0 {
        println!("relative residual {:.1e}", solution.true_relative_residual);
        for ((kind, before), after) in Kind::ALL.into_iter().zip(before).zip(team.meter().all()) {
            let (calls, bytes) = (after.calls - before.calls, after.bytes - before.bytes);
            if calls > 0 {
                println!("{kind:?}: {calls} calls, {bytes} bytes from rank 0");
            }
        }
    }
    Ok(())
}
