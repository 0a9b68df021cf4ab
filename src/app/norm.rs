//! `norm`: the squared spectral norm of the stack.

use super::cli::NormArgs;
use super::progress::Display;
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, say, start_threads, with_scalar};
use crate::comm::Team;
use crate::config::NormMethod;
use crate::error::{Error, Phase};
use crate::scalar::Scalar;
use crate::solver::{NormSquared, NormSquaredEstimate, norm_squared};

/// Prints the squared norm or its bounds. Collective: yes.
pub fn norm(context: &Context, args: &NormArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(&team, &read_config(&args.job.config), &args.job.common)?;
    start_threads(context, &job);
    let data_dir = args.job.common.data_dir();
    let headers = Resolved::headers(&team, &job, &data_dir)?;
    let resolved = team.agree(Resolved::new(&job, &headers, &data_dir).map_err(|fault| fault.in_phase(Phase::Plan)))?;
    let NormMethod::Power(params) = job.norm.clone().unwrap_or_default().method;
    let how = if args.bounds { NormSquared::Bounds } else { NormSquared::Exact(params) };
    with_scalar!(job, S => norm_scalar::<S>(context, team, &resolved, &how))
}

fn norm_scalar<S: Scalar>(
    context: &Context,
    team: Team,
    resolved: &Resolved,
    how: &NormSquared,
) -> Result<Ending, Error> {
    let stack = resolved.build::<S>(team)?;
    let rank = stack.team().rank();
    let most = if let NormSquared::Exact(params) = how { params.max_iter } else { 0 };
    let mut display = Display::new(context.speech, rank, most);
    let estimate = norm_squared(&stack, how, &mut display)?;
    drop(display);
    if rank > 0 {
        return Ok(Ending::Done);
    }
    match estimate {
        NormSquaredEstimate::Value { value, error_bar, outcome } => {
            say!("‖A‖² = {value:.8e}   ‖A‖ = {:.8e}", value.sqrt());
            say!("an eigenvalue of AᴴA lies within {error_bar:.2e} of it; no Rayleigh quotient is above ‖A‖²");
            say!("{} iterations: {}", outcome.iterations(), outcome.stop.reason);
        }
        NormSquaredEstimate::Bounds { below, above, unbounded } => {
            say!("{below:.8e} ≤ ‖A‖² ≤ {above:.8e}");
            if unbounded > 0 {
                say!("{unbounded} of {} operators know no bound of their norm, so there is none above", stack.count());
            }
        }
    }
    Ok(Ending::Done)
}
