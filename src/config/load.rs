//! From text to a [`Job`]: parse, override, read, check.

use super::Job;
use super::place::{Trouble, Written};
use super::set::Override;
use crate::error::Fault;

impl Job {
    /// Reads a job from the text of a TOML file.
    ///
    /// `overrides` are `key.path=value`, as `--set` takes them: keys are joined by dots, an element of a list is named
    /// by its `name` or its index (`terms.scan.operator.center=297`), and in a job with one term a key of the term may
    /// stand alone (`operator.center=297`). The value is TOML; what is not TOML is a string.
    ///
    /// Collective: no; all ranks get the same answer from the same text. Faults: all that a user can get wrong in a
    /// config, each with the line, the path to the key and, where one is near, the key that was meant.
    ///
    /// ```
    /// use stackphys::config::Job;
    /// let text = include_str!("../../configs/demo.toml");
    /// let job = Job::from_toml(text, "demo.toml", &["run.summation=ordered".into()]).unwrap();
    /// assert_eq!(job.model.dims.to_string(), "(y=128, x=128)");
    /// ```
    pub fn from_toml(text: &str, file_name: &str, overrides: &[String]) -> Result<Job, Fault> {
        let mut written = Written::parse(text, file_name)?;
        for assignment in overrides {
            written.set(Override::parse(assignment)?)?;
        }
        check_version(&written)?;
        let job: Job = serde_path_to_error::deserialize(written.job().clone())
            .map_err(|error| written.explain(&error.path().to_string(), error.inner().message()))?;
        job.check().map_err(|trouble| written.trouble(trouble))?;
        Ok(job)
    }
}

/// Another version may have other keys, so the version is the first thing to know.
fn check_version(written: &Written) -> Result<(), Fault> {
    let reads = format!("this program reads version {}", Job::VERSION);
    match written.job().get("version") {
        Some(toml::Value::Integer(version)) if *version != i64::from(Job::VERSION) => Err(written.trouble(Trouble {
            path: "version".to_owned(),
            text: format!("the job is of version {version}, {reads}"),
            hint: Some(format!("change it to version = {} and follow the errors, if any", Job::VERSION)),
        })),
        Some(_) => Ok(()), // of this version, or of a type that reading will complain of
        None => {
            let fault = written.missing_key(&[], "version", &[]);
            let hint = fault.hint.clone().unwrap_or(format!("{reads}: write version = {} at the top", Job::VERSION));
            Err(fault.hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Order, Shape};

    const JOB: &str = r#"
version = 1
model.dims = { y = 4, x = 5 }

[[terms]]
name = "scan"
operator = { kind = "parallel_ct", center = 3 }
[[terms]]
name = "größe" # letters of two bytes
[terms.operator]
kind = "diagonal"
value = 2.0
[terms.split.angle]
parts = 3

[solve]
pseudo_inverse = "exact"
method = { kind = "cg", max_iter = 5 }
[run]
threads = 2
"#;

    fn load(from: &str, to: &str) -> Fault {
        assert_eq!(JOB.matches(from).count(), 1, "{from}");
        Job::from_toml(&JOB.replace(from, to), "job.toml", &[]).unwrap_err()
    }

    #[test]
    fn the_example_configs_are_read() {
        Job::from_toml(JOB, "job.toml", &[]).unwrap();
        let demo = Job::from_toml(include_str!("../../configs/demo.toml"), "demo.toml", &[]).unwrap();
        assert_eq!(Job::from_toml(&toml::to_string(&demo).unwrap(), "resolved.toml", &[]).unwrap(), demo);
        let job = Job::from_toml(include_str!("../../configs/tooth.toml"), "tooth.toml", &[]).unwrap();
        assert_eq!(job.model.dims, Shape::new([("y", 640), ("x", 640)]));
        let cut = &job.terms[0].split["angle"];
        assert_eq!((cut.parts, cut.order), (Some(12), Order::Interleaved));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (from, to, text, hint) in [
            (
                "center = 3",
                "centre = 3",
                "7: terms.scan.operator: unknown key `centre`",
                "did you mean `center`? valid keys: `angles_deg`, `angles_rad`, `center`",
            ),
            ("center = 3", "beam = 3", "7: terms.scan.operator: unknown key `beam`", "valid keys: `angles_deg`,"),
            ("value = 2.0", "valeu = 2.0", "12: terms.größe.operator: unknown key `valeu`", "did you mean `value`?"),
            ("parts = 3", "part = 3", "14: terms.größe.split.angle: unknown key `part`", "did you mean `parts`?"),
            (
                "\"parallel_ct\", center",
                "\"identity\", center",
                "7: terms.scan.operator: unknown key `center`",
                "this kind of table has no more keys",
            ),
            // Wrong types.
            ("value = 2.0", "value = \"2\"", "12: terms.größe.operator.value: expected a number, got string \"2\"", ""),
            (
                "parts = 3",
                "parts = -3",
                "14: terms.größe.split.angle.parts: expected a whole number (0 or more), got -3",
                "",
            ),
            (
                "parts = 3",
                "parts = 3.5",
                "14: terms.größe.split.angle.parts: expected a whole number (0 or more), got 3.5",
                "",
            ),
            ("threads = 2", "threads = true", "20: run.threads: expected a whole number (0 or more), got true", ""),
            ("x = 5", "x = \"5\"", "3: model.dims.x: expected a whole number (0 or more), got string \"5\"", ""),
            (
                "{ y = 4, x = 5 }",
                "[4, 5]",
                "3: model.dims: expected a table of dimension names and sizes, such as { y = 640, x = 640 }, got a list",
                "",
            ),
            ("{ kind = \"parallel_ct\", center = 3 }", "3", "7: terms.scan.operator: expected a table, got 3", ""),
            ("\"scan\"", "3", "6: terms.0.name: expected a string, got 3", ""),
            (
                "threads = 2",
                "threads = 2\n[output]\nfolder = 3",
                "22: output.folder: expected a path (a string), got 3",
                "",
            ),
            ("version = 1", "version = \"1\"", "2: version: expected a whole number (0 or more), got string \"1\"", ""),
            // Words out of a list.
            (
                "\"exact\"",
                "\"exat\"",
                "17: solve.pseudo_inverse: unknown value `exat`",
                "did you mean `exact`? valid values: ",
            ),
            ("\"exact\"", "3", "17: solve.pseudo_inverse: expected a string, got 3", ""),
            (
                "parallel_ct",
                "paralel_ct",
                "7: terms.scan.operator.kind: unknown kind `paralel_ct`",
                "did you mean `parallel_ct`? valid kinds: `parallel_ct`",
            ),
            (
                "\"cg\"",
                "\"fista_and_more\"",
                "18: solve.method.kind: unknown kind `fista_and_more`",
                "valid kinds: `cg`",
            ),
            ("\"cg\"", "3", "18: solve.method.kind: expected a string, got 3", ""),
            // Missing keys.
            ("name = \"scan\"", "", "5: terms.0: missing key `name`", ""),
            ("kind = \"cg\", ", "", "18: solve.method: missing key `kind`", "it may be: `cg`"),
            ("kind = \"cg\", ", "knid = \"cg\", ", "18: solve.method: unknown key `knid`", "did you mean `kind`?"),
            ("version = 1", "", " missing key `version`", "this program reads version 1: write version = 1 at the top"),
            (
                "version = 1",
                "version = 2",
                "2: version: the job is of version 2, this program reads version 1",
                "change it",
            ),
            // Not TOML.
            ("[solve]", "[solve", "16:7: unclosed table, expected `]`", "this is not TOML:\n    [solve\n          ^"),
            (
                "threads = 2",
                "threads = 2\nthreads = 3",
                "21:1: duplicate key",
                "this is not TOML:\n    threads = 3\n    ^",
            ),
        ] {
            let fault = load(from, to);
            assert_eq!(fault.text, format!("job.toml:{text}"));
            assert!(fault.hint.clone().unwrap_or_default().starts_with(hint), "{fault:?}");
            assert!(hint.is_empty() == fault.hint.is_none(), "{fault:?}");
        }
    }

    #[test]
    fn each_range_is_checked() {
        for (from, to, text) in [
            ("version = 1", "version = 0", "2: version: the job is of version 0, this program reads version 1"),
            ("{ y = 4, x = 5 }", "{}", "3: model.dims: the model has no dimensions"),
            ("x = 5", "x = 0", "3: model.dims.x: must be at least 1, got 0"),
            ("\"größe\"", "\"scan\"", "9: terms.scan.name: terms 0 and 1 have the same name, \"scan\""),
            ("\"größe\"", "\"a.b\"", "9: terms.a.b.name: a name must have letters and no dot, got \"a.b\""),
            ("parts = 3", "parts = 0", "14: terms.größe.split.angle.parts: `parts` must be at least 1, got 0"),
            (
                "name = \"scan\"",
                "name = \"scan\"\ncount = 0",
                "7: terms.scan.count: must be at least 1, got 0 operators",
            ),
            ("max_iter = 5", "max_iter = 0", "18: solve.method.max_iter: must be at least 1, got 0"),
            ("max_iter = 5", "damping = -1", "18: solve.method.damping: must be zero or a positive number, got -1"),
            ("max_iter = 5", "damping = inf", "18: solve.method.damping: must be zero or a positive number, got inf"),
            ("max_iter = 5", "damping = nan", "18: solve.method.damping: must be zero or a positive number, got NaN"),
            ("threads = 2", "threads = 0", "20: run.threads: must be at least 1, got 0"),
            ("threads = 2", "lanes = 0", "20: run.lanes: must be at least 1, got 0"),
        ] {
            assert_eq!(load(from, to).text, format!("job.toml:{text}"));
        }
        for (key, value) in [
            ("solve.tolerance.relative_residual", "0.0"),
            ("solve.tolerance.relative_residual", "nan"),
            ("solve.tolerance.relative_normal_residual", "-1e-3"),
            ("solve.wall_time_s", "0"),
            ("norm.method.tolerance", "0"),
        ] {
            let set = format!("{key}={value}");
            let sets = ["norm.method.kind=power".to_owned(), set.clone()];
            let fault = Job::from_toml(JOB, "job.toml", &sets).unwrap_err();
            assert!(
                fault.text.starts_with(&format!("--set {set}: {key}: must be a positive number, got ")),
                "{}",
                fault.text
            );
        }
        let no_iterations = ["norm.method={ kind = \"power\", max_iter = 0 }".to_owned()];
        let fault = Job::from_toml(JOB, "job.toml", &no_iterations).unwrap_err();
        assert!(fault.text.ends_with(": norm.method.max_iter: must be at least 1, got 0"), "{}", fault.text);
    }

    #[test]
    fn a_job_without_terms_is_refused() {
        let head = "version = 1\nmodel.dims = { x = 2 }\n";
        let fault = Job::from_toml(head, "job.toml", &[]).unwrap_err();
        assert_eq!(fault.text, "job.toml: missing key `terms`");
        let fault = Job::from_toml(&format!("{head}terms = []"), "job.toml", &[]).unwrap_err();
        assert_eq!(fault.text, "job.toml:3: terms: a job needs at least one term");
        let fault = Job::from_toml("", "job.toml", &[]).unwrap_err();
        assert_eq!(fault.text, "job.toml: missing key `version`");
    }
}
