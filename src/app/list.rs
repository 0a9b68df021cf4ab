//! `list` and `schema`: what a config can name.

use super::cli::{ListArgs, Listing};
use super::{Ending, say};
use crate::io::Data;
use crate::physics::AnyPhysics;
use crate::physics::noise::AnyNoise;
use crate::recon::fidelity::AnyFidelity;
use crate::recon::{AnyFormula, AnyMinimiser};
use crate::solver::{AnyMethod, AnyPreconditioner};

/// Lists names with one line each.
pub fn list(rank: usize, args: &ListArgs) -> Ending {
    if rank > 0 {
        return Ending::Done;
    }
    let asked = |listing| args.what.is_none_or(|what| what == listing);
    if asked(Listing::Operators) {
        say!("operators (terms.NAME.operator.kind)");
        for (name, summary, [split, blocks]) in AnyPhysics::SUMMARIES {
            say!("  {name:<14} {summary}; split along: {split}; blocks of x along: {blocks}");
        }
    }
    if asked(Listing::Methods) {
        say!("methods (solve.method.kind)");
        for (name, summary) in AnyMethod::SUMMARIES {
            say!("  {name:<16} {summary}");
        }
        say!("formulas, applied once (solve.method.kind; as a start, solve.first_guess.kind)");
        for (name, summary) in AnyFormula::SUMMARIES {
            say!("  {name:<16} {summary}");
        }
        say!("methods for data fidelities (solve.method.kind)");
        for (name, summary) in AnyMinimiser::SUMMARIES {
            say!("  {name:<16} {summary}");
        }
    }
    if asked(Listing::Methods) {
        say!("methods for ‖A‖² (norm.method.kind)");
        say!("  {:<16} power iteration on AᴴA", "power");
        say!("  {:<16} Golub-Kahan bidiagonalisation, with an error bar", "lanczos");
    }
    if asked(Listing::Preconditioners) {
        say!("preconditioners (solve.preconditioner.kind)");
        for (name, summary) in AnyPreconditioner::SUMMARIES {
            say!("  {name:<14} {summary}");
        }
    }
    if asked(Listing::Formats) {
        say!("formats (terms.NAME.data.format)");
        for (name, summary) in Data::SUMMARIES {
            say!("  {name:<14} {summary}");
        }
    }
    for (listing, title, summaries) in [
        (Listing::Noise, "noise of simulated measurements (terms.NAME.noise.kind)", AnyNoise::SUMMARIES),
        (Listing::Fidelities, "data fidelities (terms.NAME.fidelity.kind)", AnyFidelity::SUMMARIES),
    ] {
        if asked(listing) {
            say!("{title}");
            for (name, summary) in summaries {
                say!("  {name:<16} {summary}");
            }
        }
    }
    if asked(Listing::Fidelities) {
        say!("  for example, in a [[terms]] table: fidelity = {{ kind = \"huber\", delta = 0.1 }}");
        say!("  with a method that knows fidelities: solve.method.kind = \"gradient_descent\" or \"primal_dual\"");
    }
    if asked(Listing::StopRules) {
        say!("stop rules");
        for (key, rule) in [
            ("solve.method.max_iter", "so many iterations"),
            ("solve.tolerance.relative_residual", "‖A x − y‖ ≤ t ‖y‖"),
            ("solve.tolerance.relative_normal_residual", "‖Aᴴ(A x − y) + λx‖ ≤ t ‖Aᴴ y‖"),
            ("solve.tolerance.relative_optimality", "how far from a minimum (gradient_descent, primal_dual)"),
            ("solve.tolerance.relative_change", "‖change of x‖ ≤ t ‖x‖ in a step (the same)"),
            (
                "solve.tolerance.relative_system_residual",
                "‖(AAᴴ + λI) u − y‖ ≤ t ‖y‖, with system = \"forward_adjoint\"",
            ),
            ("solve.method.condition_limit", "an estimated condition number above this (lsqr, lsmr)"),
            ("solve.wall_time_s", "so many seconds, by rank 0's clock"),
            ("always", "a residual that is exactly zero; breakdown; not-a-number"),
        ] {
            say!("  {key:<41} {rule}");
        }
    }
    Ending::Done
}

/// Prints the JSON Schema of the config.
pub fn schema(rank: usize) -> Ending {
    if rank == 0 {
        say!("{:#}", crate::config::schema());
    }
    Ending::Done
}
