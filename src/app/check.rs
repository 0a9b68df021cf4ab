//! `check`: dot tests of each operator and of the stack, with the measured ratio.

use super::cli::JobArgs;
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, say, start_threads, with_scalar};
use crate::comm::Team;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::testing::{DotTest, dot_test, stack_dot_tests, structure_test};

/// Tests every operator and the stack. Collective: yes.
pub fn check(context: &Context, args: &JobArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.config), &args.common)?;
    start_threads(context, &job);
    let resolved = Resolved::open(&team, &job, &args.common)?;
    with_scalar!(job, S => check_scalar::<S>(team, &resolved))
}

fn check_scalar<S: Scalar>(team: Team, resolved: &Resolved) -> Result<Ending, Error> {
    let stack = resolved.build::<S>(team)?;
    let team = stack.team();
    let seed = resolved.job.run.seed;
    let mut ratios = vec![0.0; 2 * stack.count()];
    for (index, operator) in stack.local_operators() {
        let tested = crate::stack::guarded(|| {
            structure_test(operator, seed)?;
            dot_test(operator, seed)
        });
        match tested {
            Ok(DotTest { ratio, scale }) => (ratios[2 * index], ratios[2 * index + 1]) = (ratio, scale),
            Err(fault) => team.note(fault.in_operator(index)),
        }
    }
    team.sum_in_place(&mut ratios)?; // each number has one owner; the others add zero
    let members = stack
        .plan()
        .entries()
        .iter()
        .zip(ratios.chunks(2))
        .map(|(entry, numbers)| (entry.description.name.clone(), DotTest { ratio: numbers[0], scale: numbers[1] }));
    let whole = stack_dot_tests(&stack, seed)?;
    let tests: Vec<(String, DotTest)> =
        members.chain(whole.into_iter().map(|(what, test)| (format!("stack: {what}"), test))).collect();
    let failed = tests.iter().filter(|(_, test)| !test.passes::<S>()).count();
    if team.rank() == 0 {
        say!(
            "dot tests |⟨Ax, y⟩ − ⟨x, Aᴴy⟩| / (‖Ax‖‖y‖), {} rank{}, {}, seed {seed}",
            team.size(),
            if team.size() == 1 { "" } else { "s" },
            S::NAME
        );
        say!("passes up to {:.0e}\n", DotTest::tolerance::<S>());
        for (name, test) in &tests {
            let verdict = if test.passes::<S>() { "pass" } else { "FAIL" };
            say!("{verdict}  {:>10.2e}  {name}", test.ratio);
            if !test.passes::<S>() {
                say!("      ⟨Ax, y⟩ / ⟨x, Aᴴy⟩ = {:.6}, should be 1", test.scale);
            }
        }
        say!("\n{} of {} pass", tests.len() - failed, tests.len());
    }
    Ok(if failed == 0 { Ending::Done } else { Ending::NotReached })
}
