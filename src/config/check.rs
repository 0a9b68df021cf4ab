//! Ranges: what has the right type and still makes no sense. What needs files to be judged is judged where they are read.

use super::place::Trouble;
use super::{Job, NormMethod, PseudoInverseMode, Tolerances};
use crate::solver::{AnyMethod, AnyPreconditioner, ChebyshevParams, SystemKind};

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
            let (max_iter, tolerance) = match &norm.method {
                NormMethod::Power(power) => (power.max_iter, power.tolerance),
                NormMethod::Lanczos(lanczos) => (lanczos.max_iter, lanczos.tolerance),
            };
            at_least_one("norm.method.max_iter", max_iter)?;
            positive("norm.method.tolerance", Some(tolerance))?;
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
            at_least_one(&format!("{path}.groups"), term.groups.unwrap_or(1))?;
            for (dim, cut) in &term.split {
                at_least_one(&format!("{path}.split.{dim}.parts"), cut.parts)?;
            }
        }
        Ok(())
    }

    fn check_solve(&self) -> Checked {
        let method = &self.solve.method;
        at_least_one("solve.method.max_iter", method.most_iterations())?;
        let damping = method.damping();
        if !(damping.is_finite() && damping >= 0.0) {
            let text = format!("must be zero or a positive number, got {damping}");
            return trouble("solve.method.damping", &text, None);
        }
        positive("solve.method.condition_limit", method.condition_limit())?;
        match method {
            AnyMethod::Landweber(landweber) => positive("solve.method.step", landweber.step)?,
            AnyMethod::Chebyshev(ChebyshevParams { lower, upper, .. }) => {
                positive("solve.method.upper", *upper)?;
                if let Some(lower) = lower.filter(|lower| !(lower.is_finite() && *lower >= 0.0)) {
                    let text = format!("must be zero or a positive number, got {lower}");
                    return trouble("solve.method.lower", &text, None);
                }
                if *lower == Some(0.0) && damping == 0.0 {
                    let text = "must be positive where there is no damping, got 0";
                    return trouble("solve.method.lower", text, None);
                }
                if let (Some(lower), Some(upper)) = (lower, upper)
                    && lower > upper
                {
                    let text = format!("must be at most `upper`, {upper}, got {lower}");
                    return trouble("solve.method.lower", &text, None);
                }
            }
            _ => {}
        }
        self.check_preconditioner()?;
        self.check_tolerances()?;
        positive("solve.wall_time_s", self.solve.wall_time_s)?;
        match (&self.solve.first_guess, self.solve.pseudo_inverse) {
            (Some(_), PseudoInverseMode::LocalMean) => {
                let text = "the operators of a local mean are solved from zero, each alone: no guess is used";
                trouble("solve.first_guess", text, Some("leave it out, or set solve.pseudo_inverse to \"exact\""))
            }
            _ => Ok(()),
        }
    }

    fn check_preconditioner(&self) -> Checked {
        let Some(preconditioner) = &self.solve.preconditioner else { return Ok(()) };
        if !self.solve.method.may_be_preconditioned() {
            let text = format!("method `{}` cannot use it as it is set up", self.solve.method.kind());
            let hint = "preconditioners are for `method = { kind = \"cg\" }` on the normal system";
            return trouble("solve.preconditioner", &text, Some(hint));
        }
        match preconditioner {
            AnyPreconditioner::Jacobi(jacobi) => at_least_one("solve.preconditioner.probes", jacobi.probes),
            AnyPreconditioner::Sums(_) => Ok(()),
            AnyPreconditioner::Fourier(fourier) => positive("solve.preconditioner.floor", Some(fourier.floor)),
            AnyPreconditioner::Block(block) => {
                at_least_one("solve.preconditioner.steps", block.steps)?;
                positive("solve.preconditioner.shift", Some(block.shift))
            }
        }
    }

    fn check_tolerances(&self) -> Checked {
        let Tolerances { relative_residual, relative_normal_residual, relative_system_residual } =
            &self.solve.tolerance;
        positive("solve.tolerance.relative_residual", *relative_residual)?;
        positive("solve.tolerance.relative_normal_residual", *relative_normal_residual)?;
        positive("solve.tolerance.relative_system_residual", *relative_system_residual)?;
        let outer = self.solve.method.system() == Some(SystemKind::ForwardAdjoint);
        let unknown = "the method does not know this number";
        if outer && relative_normal_residual.is_some() {
            let hint = "with `system = \"forward_adjoint\"` ask for relative_residual or relative_system_residual";
            return trouble("solve.tolerance.relative_normal_residual", unknown, Some(hint));
        }
        if !outer && relative_system_residual.is_some() {
            let hint = "it is for `system = \"forward_adjoint\"`; otherwise ask for relative_normal_residual";
            return trouble("solve.tolerance.relative_system_residual", unknown, Some(hint));
        }
        Ok(())
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
