//! `convert`: an array from one format to another.

use super::cli::ConvertArgs;
use super::{Context, Ending, say};
use crate::comm::Team;
use crate::error::{Error, Phase};
use crate::io;

/// Converts an array. Collective: yes; rank 0 does it.
pub fn convert(context: &Context, args: &ConvertArgs) -> Result<Ending, Error> {
    let window = args.window.as_ref().and_then(|window| Some([*window.first()?, *window.get(1)?]));
    let convert = || io::convert(&args.from, &args.to, window).map_err(|fault| fault.in_phase(Phase::Write));
    let line = Team::new(context.comm.clone()).from_rank_0(convert)?;
    if context.comm.rank() == 0 {
        say!("{line}");
    }
    Ok(Ending::Done)
}
