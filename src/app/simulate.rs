//! `simulate`: measurements of an image, with the noise of each term, in the natural shapes.

use super::apply::{check_writable, input, write_data};
use super::cli::SimulateArgs;
use super::model::read_model;
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, start_threads, with_scalar};
use crate::comm::Team;
use crate::error::{Error, Fault, Phase};
use crate::io::Data;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// Simulates measurements. Collective: yes.
pub fn simulate(context: &Context, args: &SimulateArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    start_threads(context, &job);
    check_writable(&team, &args.output)?;
    let resolved = Resolved::open(&team, &job, &args.job.common)?;
    with_scalar!(job, S => simulate_scalar::<S>(team, &resolved, args))
}

fn simulate_scalar<S: Scalar>(team: Team, resolved: &Resolved, args: &SimulateArgs) -> Result<Ending, Error> {
    let stack = resolved.build::<S>(team)?;
    let x = stack.team().agree(image(&stack, resolved, args).map_err(|fault| fault.in_phase(Phase::Load)))?;
    let mut y = stack.zero_data();
    stack.forward_noisy(&x, &mut y, |index| resolved.term_of(index).noise.as_ref(), resolved.job.run.seed)?;
    write_data(&stack, resolved, &y, &args.output)?;
    Ok(Ending::Done)
}

/// The image of the command line, otherwise the phantom that the config names.
fn image<S: Scalar>(stack: &Stack<S>, resolved: &Resolved, args: &SimulateArgs) -> Result<Vector<S>, Fault> {
    if let Some(path) = &args.input {
        return read_model(stack, resolved, &input(path, "model"));
    }
    let phantom = resolved.job.terms.iter().find_map(|term| match &term.data {
        Some(Data::Phantom(params)) => Some(params),
        _ => None,
    });
    let Some(phantom) = phantom else {
        return Err(Fault::new("there is no image to measure").hint(
            "give one with --in X.npy, or name a phantom: data = { format = \"phantom\", name = \"shepp_logan\" }",
        ));
    };
    resolved.phantom(stack, phantom)
}
