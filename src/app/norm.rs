//! `norm`: the squared spectral norm of the stack.

use super::cli::NormArgs;
use super::progress::Display;
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, say, start_threads, with_scalar};
use crate::comm::Team;
use crate::config::NormMethod;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::solver::{
    LanczosParams, NormSquared, NormSquaredEstimate, PowerParams, Progress, SingularValues, Status, norm_squared,
    singular_values,
};

/// Prints the squared norm with its error bar, or the condition number, and bounds that hold. Collective: yes.
pub fn norm(context: &Context, args: &NormArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    start_threads(context, &job);
    let resolved = Resolved::open(&team, &job, &args.job.common)?;
    let method = job.norm.clone().unwrap_or_default().method;
    if args.condition {
        let params = match method {
            NormMethod::Lanczos(params) => params,
            NormMethod::Power(PowerParams { seed, .. }) => {
                LanczosParams { tolerance: 1e-4, seed, ..Default::default() }
            }
        };
        return with_scalar!(job, S => condition_scalar::<S>(context, team, &resolved, &params));
    }
    let how = if args.bounds { NormSquared::Bounds } else { method.into() };
    with_scalar!(job, S => norm_scalar::<S>(context, team, &resolved, &how))
}

fn condition_scalar<S: Scalar>(
    context: &Context,
    team: Team,
    resolved: &Resolved,
    params: &LanczosParams,
) -> Result<Ending, Error> {
    let stack = resolved.build::<S>(team)?;
    let rank = stack.team().rank();
    let mut display = Display::new(context.speech, rank, params.max_iter);
    let found = singular_values(&stack, params, &mut display)?;
    drop(display);
    let bounds = norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ())?;
    if rank > 0 {
        return Ok(Ending::Done);
    }
    let SingularValues { largest, smallest, outcome } = &found;
    let (condition, error_bar) = found.condition_number();
    say!("‖A‖² = {:.8e}   ‖A‖ = σ_max = {:.8e} ± {:.2e}", largest.value.powi(2), largest.value, largest.error_bar);
    say!("σ_min = {:.8e} ± {:.2e}   (the smallest that is not zero)", smallest.value, smallest.error_bar);
    say!("condition number σ_max / σ_min = {condition:.8e} ± {error_bar:.2e}");
    if outcome.status == Status::LimitReached {
        say!("not all steps that it takes: σ_min may be smaller, so the condition number is a lower bound");
    }
    say!("{} iterations: {}", outcome.iterations(), outcome.stop.reason);
    tell(&bounds, stack.count());
    Ok(Ending::Done)
}

fn norm_scalar<S: Scalar>(
    context: &Context,
    team: Team,
    resolved: &Resolved,
    how: &NormSquared,
) -> Result<Ending, Error> {
    let stack = resolved.build::<S>(team)?;
    let rank = stack.team().rank();
    let most = match how {
        NormSquared::Exact(params) => params.max_iter,
        NormSquared::Lanczos(params) => params.max_iter,
        NormSquared::Bounds => 0,
    };
    let mut display = Display::new(context.speech, rank, most);
    let estimate = norm_squared(&stack, how, &mut display)?;
    drop(display);
    let bounds = match &estimate {
        NormSquaredEstimate::Value { .. } => Some(norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ())?),
        NormSquaredEstimate::Bounds { .. } => None,
    };
    if rank > 0 {
        return Ok(Ending::Done);
    }
    tell(&estimate, stack.count());
    if let Some(bounds) = bounds {
        tell(&bounds, stack.count());
    }
    Ok(Ending::Done)
}

fn tell(estimate: &NormSquaredEstimate, operators: usize) {
    match estimate {
        NormSquaredEstimate::Value { value, error_bar, outcome } => {
            say!("‖A‖² = {value:.8e}   ‖A‖ = {:.8e}", value.sqrt());
            say!("an eigenvalue of AᴴA lies within {error_bar:.2e} of it; the value is never above ‖A‖²");
            say!("{} iterations: {}", outcome.iterations(), outcome.stop.reason);
        }
        NormSquaredEstimate::Bounds { below, above, unbounded } => {
            say!("{below:.8e} ≤ ‖A‖² ≤ {above:.8e}");
            if *unbounded > 0 {
                say!("{unbounded} of {operators} operators know no bound of their norm, so there is none above");
            }
        }
    }
}
