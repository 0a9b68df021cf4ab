//! Ranges: what has the right type and still makes no sense. What needs files to be judged is judged where they are read.

use super::place::Trouble;
use super::{Job, NormMethod, PseudoInverseMode};
use crate::solver::AnyMethod;

type Checked = Result<(), Trouble>;

/// No model is larger: a few vectors of it in the widest scalar still have a number of bytes.
const MOST_NUMBERS: usize = usize::MAX >> 16;

impl Job {
    /// The first value that is out of range.
    pub(super) fn check(&self) -> Checked {
        self.check_model()?;
        self.check_terms()?;
        self.check_solve()?;
        if let Some(norm) = &self.norm {
            let NormMethod::Power(power) = &norm.method;
            at_least_one("norm.method.max_iter", power.max_iter)?;
            positive("norm.method.tolerance", Some(power.tolerance))?;
        }
        at_least_one("run.threads", self.run.threads.unwrap_or(1))
    }

    fn check_model(&self) -> Checked {
        let dims = self.model.dims.dims();
        if dims.is_empty() {
            let hint = "for example dims = { y = 640, x = 640 }";
            return trouble("model.dims", "the model has no dimensions", Some(hint));
        }
        dims.iter().try_for_each(|dim| at_least_one(&format!("model.dims.{}", dim.name), dim.size))?;
        // what follows multiplies these sizes and counts bytes
        match dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.size)) {
            Some(numbers) if numbers <= MOST_NUMBERS => Ok(()),
            _ => {
                let text = format!("{} are more numbers than any memory holds", self.model.dims);
                trouble("model.dims", &text, Some("are the sizes right?"))
            }
        }
    }

    fn check_terms(&self) -> Checked {
        if self.terms.is_empty() {
            return trouble("terms", "a job needs at least one term", Some("add a [[terms]] table"));
        }
        for (place, term) in self.terms.iter().enumerate() {
            let path = format!("terms[{place}]");
            if term.name.is_empty() || term.name.contains('.') {
                let text = format!("a name must have letters and no dot, got \"{}\"", term.name);
                return trouble(&format!("{path}.name"), &text, Some("--set terms.NAME.… uses it"));
            }
            if let Some(first) = self.terms[..place].iter().position(|other| other.name == term.name) {
                let text = format!("terms {first} and {place} have the same name, \"{}\"", term.name);
                return trouble(&format!("{path}.name"), &text, Some("give each term a name of its own"));
            }
            if term.operators.is_empty() {
                let hint = "leave it out for one operator";
                return trouble(&format!("{path}.count"), "must be at least 1, got 0 operators", Some(hint));
            }
            if let Some(Err(fault)) = term.noise.as_ref().map(|noise| noise.check()) {
                return trouble(&format!("{path}.noise"), &fault.text, None);
            }
            for (dim, cut) in &term.split {
                at_least_one(&format!("{path}.split.{dim}.parts"), cut.parts)?;
            }
        }
        Ok(())
    }

    fn check_solve(&self) -> Checked {
        let AnyMethod::Cg(cg) = &self.solve.method;
        at_least_one("solve.method.max_iter", cg.max_iter)?;
        if !(cg.damping.is_finite() && cg.damping >= 0.0) {
            let text = format!("must be zero or a positive number, got {}", cg.damping);
            return trouble("solve.method.damping", &text, None);
        }
        positive("solve.tolerance.relative_residual", self.solve.tolerance.relative_residual)?;
        positive("solve.tolerance.relative_normal_residual", self.solve.tolerance.relative_normal_residual)?;
        positive("solve.wall_time_s", self.solve.wall_time_s)?;
        match (&self.solve.first_guess, self.solve.pseudo_inverse) {
            (Some(_), PseudoInverseMode::LocalMean) => {
                let text = "the operators of a local mean are solved from zero, each alone: no guess is used";
                trouble("solve.first_guess", text, Some("leave it out, or set solve.pseudo_inverse to \"exact\""))
            }
            _ => Ok(()),
        }
    }
}

fn at_least_one(path: &str, value: usize) -> Checked {
    if value >= 1 { Ok(()) } else { trouble(path, &format!("must be at least 1, got {value}"), None) }
}

fn positive(path: &str, value: Option<f64>) -> Checked {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            trouble(path, &format!("must be a positive number, got {value}"), Some("leave it out for no limit"))
        }
        _ => Ok(()),
    }
}

fn trouble(path: &str, text: &str, hint: Option<&str>) -> Checked {
    Err(Trouble { path: path.to_owned(), text: text.to_owned(), hint: hint.map(str::to_owned) })
}
