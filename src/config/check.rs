//! Ranges: what has the right type and still makes no sense. What needs files to be judged is judged where they are read.

use super::place::Trouble;
use super::{FirstGuess, Job, NormMethod, PseudoInverseMode, Ranks, ScalarKind, Solve, SolveMethod, Tolerances};
use crate::error::Fault;
use crate::range::{is_not_negative, is_positive};
use crate::recon::fidelity::AnyFidelity;
use crate::recon::{AnyFormula, AnyMinimiser, Loss, no_gradient};
use crate::solver::{AnyMethod, AnyPreconditioner, ChebyshevParams, SystemKind};
use crate::space::Order;

type Checked = Result<(), Trouble>;

/// No model is larger: a few vectors of it in the widest scalar still have a number of bytes.
const MOST_NUMBERS: usize = usize::MAX >> 16;

impl Job {
    /// The first value that is out of range.
    pub(super) fn check(&self) -> Checked {
        self.check_model()?;
        self.check_blocks()?;
        if let Some(Err(fault)) = self.ranks.as_ref().map(Ranks::check) {
            return in_table("ranks", &fault);
        }
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
        positive("checkpoint.every_minutes", self.checkpoint.every_minutes)?;
        at_least_one("checkpoint.every_iterations", self.checkpoint.every_iterations.unwrap_or(1))?;
        if let Err(fault) = self.limits.check() {
            return in_table("limits", &fault);
        }
        at_least_one("run.lanes", self.run.lanes.unwrap_or(1))?;
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

    fn check_blocks(&self) -> Checked {
        for (dim, cut) in &self.blocks {
            let path = format!("blocks.{dim}");
            let Some(size) = self.model.dims.size(dim) else {
                let text = format!("the model has no dim `{dim}`, its dims are {}", self.model.dims);
                return trouble(&path, &text, Some("blocks cut x: name a dim of the model"));
            };
            if cut.order == Order::Interleaved {
                let text = "blocks of x are runs of neighbours, got order = \"interleaved\"";
                return trouble(&path, text, Some("leave `order` out"));
            }
            if let Err(fault) = cut.check().and_then(|()| cut.selections(dim, size).map(|_| ())) {
                return in_table(&path, &fault);
            }
        }
        if self.blocks.is_empty() {
            return Ok(());
        }
        let of_whole_x = |what: &str| format!("{what} is of the whole of x, which [blocks] cuts");
        let hint = Some("leave it out, or leave out [blocks]");
        if self.solve.pseudo_inverse == PseudoInverseMode::LocalMean {
            return trouble("solve.pseudo_inverse", &of_whole_x("a local mean"), hint);
        }
        if self.solve.first_guess == Some(FirstGuess::LocalMean) {
            return trouble("solve.first_guess", &of_whole_x("a local mean"), hint);
        }
        match &self.solve.preconditioner {
            Some(by @ (AnyPreconditioner::Fourier(_) | AnyPreconditioner::Block(_))) => {
                trouble("solve.preconditioner", &of_whole_x(&format!("`{}`", by.kind())), hint)
            }
            _ => Ok(()),
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
                return in_table(&format!("{path}.noise"), &fault);
            }
            if let Some(Err(fault)) = term.fidelity.as_ref().map(|fidelity| fidelity.check()) {
                return in_table(&format!("{path}.fidelity"), &fault);
            }
            at_least_one(&format!("{path}.groups"), term.groups.unwrap_or(1))?;
            for (dim, cut) in &term.split {
                if let Err(fault) = cut.check() {
                    return in_table(&format!("{path}.split.{dim}"), &fault);
                }
            }
        }
        Ok(())
    }

    fn check_solve(&self) -> Checked {
        let Solve { method, loss, pseudo_inverse, first_guess, wall_time_s, .. } = &self.solve;
        if !matches!(method, SolveMethod::Formula(_)) {
            at_least_one("solve.method.max_iter", method.most_iterations())?;
        }
        not_negative("solve.method.damping", method.damping())?;
        match method {
            SolveMethod::LeastSquares(method) => {
                check_least_squares(method)?;
                self.check_no_fidelity(method)?;
                if *loss == Loss::Mean {
                    let text = format!("`{}` minimises the sum, ‖A x − y‖²", method.kind());
                    return trouble("solve.loss", &text, Some("leave it out; `damping` weighs against the sum"));
                }
            }
            SolveMethod::Minimiser(method) => {
                self.check_minimiser(method)?;
                if *pseudo_inverse == PseudoInverseMode::LocalMean {
                    let text = format!("`{}` has no local mean", method.kind());
                    let hint = "use a method for least squares, or set solve.pseudo_inverse to \"exact\"";
                    return trouble("solve.pseudo_inverse", &text, Some(hint));
                }
                if *first_guess == Some(FirstGuess::LocalMean) {
                    let text = format!("`{}` has no local mean to start from", method.kind());
                    return trouble("solve.first_guess", &text, Some("name an npy file, or leave it out"));
                }
            }
            SolveMethod::Formula(formula) => self.check_formula(formula)?,
        }
        self.check_preconditioner()?;
        self.check_tolerances()?;
        positive("solve.wall_time_s", *wall_time_s)?;
        match (first_guess, pseudo_inverse) {
            (Some(_), PseudoInverseMode::LocalMean) => {
                let text = "the operators of a local mean are solved from zero, each alone: no guess is used";
                trouble("solve.first_guess", text, Some("leave it out, or set solve.pseudo_inverse to \"exact\""))
            }
            _ => Ok(()),
        }
    }

    /// A formula goes by no first guess and knows no fidelity, and there is no mean of several.
    fn check_formula(&self, formula: &AnyFormula) -> Checked {
        let (kind, Solve { loss, pseudo_inverse, first_guess, .. }) = (formula.kind(), &self.solve);
        if let Some((path, _)) = self.fidelities().next() {
            let hint =
                "leave it out, or use \"gradient_descent\" (smooth fidelities) or \"primal_dual\" (all fidelities)";
            return trouble(&path, &format!("method `{kind}` is a formula and knows no fidelity"), Some(hint));
        }
        let alone = Some("leave it out");
        if *loss == Loss::Mean {
            return trouble("solve.loss", &format!("method `{kind}` is a formula and minimises nothing"), alone);
        }
        if *pseudo_inverse == PseudoInverseMode::LocalMean {
            return trouble("solve.pseudo_inverse", &format!("method `{kind}` is a formula of all data"), alone);
        }
        match first_guess {
            Some(_) => trouble("solve.first_guess", &format!("method `{kind}` is a formula and starts nowhere"), alone),
            None => Ok(()),
        }
    }

    /// The terms that have a fidelity, each with the path to it.
    fn fidelities(&self) -> impl Iterator<Item = (String, &AnyFidelity)> {
        let terms = self.terms.iter().enumerate();
        terms.filter_map(|(place, term)| Some((format!("terms[{place}].fidelity"), term.fidelity.as_ref()?)))
    }

    fn check_no_fidelity(&self, method: &AnyMethod) -> Checked {
        let Some((path, _)) = self.fidelities().next() else { return Ok(()) };
        let text = format!("method `{}` minimises ‖A x − y‖² and knows no fidelity", method.kind());
        let hint = "leave it out, or set solve.method.kind to \"gradient_descent\" (smooth fidelities) or \"primal_dual\" \
                    (all fidelities)";
        trouble(&path, &text, Some(hint))
    }

    fn check_minimiser(&self, method: &AnyMinimiser) -> Checked {
        let complex = matches!(self.model.scalar, ScalarKind::ComplexF32 | ScalarKind::ComplexF64);
        if complex && method.non_negative() {
            let text = format!("is for real models, model.scalar is \"{}\"", self.model.scalar.name());
            return trouble("solve.method.non_negative", &text, None);
        }
        for (path, fidelity) in self.fidelities() {
            if complex && fidelity.is_real() {
                let (kind, scalar) = (fidelity.kind(), self.model.scalar.name());
                let text = format!("`{kind}` is for real measurements, model.scalar is \"{scalar}\"");
                return trouble(&path, &text, Some("set model.scalar to \"f32\" or \"f64\""));
            }
            if matches!(method, AnyMinimiser::GradientDescent(_)) && !fidelity.is_smooth() {
                let Fault { text, hint, .. } = no_gradient(fidelity.kind());
                return trouble(&path, &text, hint.as_deref());
            }
        }
        match method {
            AnyMinimiser::GradientDescent(descent) => positive("solve.method.step", descent.step),
            AnyMinimiser::PrimalDual(primal_dual) => positive("solve.method.balance", Some(primal_dual.balance)),
        }
    }

    fn check_preconditioner(&self) -> Checked {
        let Some(preconditioner) = &self.solve.preconditioner else { return Ok(()) };
        let may_be = match &self.solve.method {
            SolveMethod::LeastSquares(method) => method.may_be_preconditioned(),
            SolveMethod::Minimiser(_) | SolveMethod::Formula(_) => false,
        };
        if !may_be {
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
        let Tolerances {
            relative_residual,
            relative_normal_residual,
            relative_optimality,
            relative_change,
            relative_system_residual,
        } = self.solve.tolerance;
        // for each number that the method does not know, what to ask for
        let of_minimisers =
            "it is for the methods `gradient_descent` and `primal_dual`; otherwise ask for relative_normal_residual";
        let of_outer = "it is for `system = \"forward_adjoint\"`; otherwise ask for relative_normal_residual";
        let of_formula = "a formula does not iterate, so nothing stops it: leave it out";
        let (normal, minimiser, outer) = match &self.solve.method {
            SolveMethod::Minimiser(_) => (Some("ask for relative_optimality"), None, Some(of_outer)),
            SolveMethod::LeastSquares(method) if method.system() == Some(SystemKind::ForwardAdjoint) => {
                let hint = "with `system = \"forward_adjoint\"` ask for relative_residual or relative_system_residual";
                (Some(hint), Some(of_minimisers), None)
            }
            SolveMethod::LeastSquares(_) => (None, Some(of_minimisers), Some(of_outer)),
            SolveMethod::Formula(_) => (Some(of_formula), Some(of_formula), Some(of_formula)),
        };
        let residual = matches!(self.solve.method, SolveMethod::Formula(_)).then_some(of_formula);
        for (name, asked, unknown) in [
            ("relative_residual", relative_residual, residual),
            ("relative_normal_residual", relative_normal_residual, normal),
            ("relative_optimality", relative_optimality, minimiser),
            ("relative_change", relative_change, minimiser),
            ("relative_system_residual", relative_system_residual, outer),
        ] {
            let path = format!("solve.tolerance.{name}");
            positive(&path, asked)?;
            if asked.is_some() && unknown.is_some() {
                return trouble(&path, "the method does not know this number", unknown);
            }
        }
        Ok(())
    }
}

fn check_least_squares(method: &AnyMethod) -> Checked {
    positive("solve.method.condition_limit", method.condition_limit())?;
    match method {
        AnyMethod::Landweber(landweber) => positive("solve.method.step", landweber.step),
        AnyMethod::Chebyshev(ChebyshevParams { lower, upper, damping, .. }) => {
            positive("solve.method.upper", *upper)?;
            let Some(lower) = *lower else { return Ok(()) };
            not_negative("solve.method.lower", lower)?;
            if lower == 0.0 && *damping == 0.0 {
                return trouble("solve.method.lower", "must be positive where there is no damping, got 0", None);
            }
            match upper {
                Some(upper) if lower > *upper => {
                    let text = format!("must be at most `upper`, {upper}, got {lower}");
                    trouble("solve.method.lower", &text, None)
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn at_least_one(path: &str, value: usize) -> Checked {
    if value >= 1 { Ok(()) } else { trouble(path, &format!("must be at least 1, got {value}"), None) }
}

fn positive(path: &str, value: Option<f64>) -> Checked {
    match value {
        Some(value) if !is_positive(value) => {
            trouble(path, &format!("must be a positive number, got {value}"), Some("leave it out for no limit"))
        }
        _ => Ok(()),
    }
}

fn not_negative(path: &str, value: f64) -> Checked {
    match is_not_negative(value) {
        true => Ok(()),
        false => trouble(path, &format!("must be zero or a positive number, got {value}"), None),
    }
}

/// The fault of a table, at the key that it names first.
fn in_table(path: &str, fault: &Fault) -> Checked {
    let key = fault.text.strip_prefix('`').and_then(|text| text.split_once('`'));
    let path = key.map_or_else(|| path.to_owned(), |(key, _)| format!("{path}.{key}"));
    trouble(&path, &fault.text, fault.hint.as_deref())
}

fn trouble(path: &str, text: &str, hint: Option<&str>) -> Checked {
    Err(Trouble { path: path.to_owned(), text: text.to_owned(), hint: hint.map(str::to_owned) })
}
