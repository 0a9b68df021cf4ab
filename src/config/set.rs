//! `--set key.path=value`: changes to a job before it is read.

use toml::{Table, Value};

use super::Term;
use super::place::Segment;
use crate::error::Fault;

/// One `--set`.
pub(super) struct Override {
    /// As the user typed it.
    typed: String,
    keys: Vec<String>,
    value: Value,
}

impl Override {
    pub(super) fn parse(typed: &str) -> Result<Self, Fault> {
        let (path, value) = typed.split_once('=').ok_or_else(|| malformed(typed))?;
        let keys: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(malformed(typed));
        }
        Ok(Override { typed: typed.to_owned(), keys, value: value_of(value.trim()) })
    }

    pub(super) fn typed(&self) -> &str {
        &self.typed
    }

    /// Sets the value, making tables on the way, and gives back the path with indices in place of names. Keys that do
    /// not exist are left for the reader to find: it knows the valid ones.
    pub(super) fn apply(&self, job: &mut Value) -> Result<Vec<Segment>, Fault> {
        let mut path = Vec::new();
        let mut here = job;
        for key in self.full_keys(here)? {
            let segment = self.step(here, &key)?;
            here = match (here, &segment) {
                (Value::Table(table), Segment::Key(key)) => {
                    table.entry(key.clone()).or_insert(Value::Table(Table::new()))
                }
                (Value::Array(values), Segment::Index(index)) => &mut values[*index],
                // `step` gave keys to tables and indices to lists.
                _ => return Err(self.wrong(&key, "is neither in a table nor in a list")),
            };
            path.push(segment);
        }
        *here = self.value.clone();
        Ok(path)
    }

    /// The keys from the root: a key of the term may stand alone where there is only one term.
    fn full_keys(&self, job: &Value) -> Result<Vec<String>, Fault> {
        if !Term::KEYS.contains(&self.keys[0].as_str()) {
            return Ok(self.keys.clone());
        }
        let terms = job.get("terms").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        if terms.len() != 1 {
            let (first, rest) = (&self.keys[0], self.typed.trim());
            let text = format!("--set {rest}: `{first}` is a key of a term, and the job has {} terms", terms.len());
            let names: Vec<String> =
                (0..terms.len()).map(|k| format!("terms.{}.{rest}", element_name(terms, k))).collect();
            return Err(Fault::new(text).hint(format!("say which: {}", names.join(" or "))));
        }
        Ok(["terms", "0"].map(String::from).into_iter().chain(self.keys.iter().cloned()).collect())
    }

    fn step(&self, here: &Value, key: &str) -> Result<Segment, Fault> {
        match here {
            Value::Table(_) => Ok(Segment::Key(key.to_owned())),
            Value::Array(values) => {
                let names: Vec<String> = (0..values.len()).map(|k| element_name(values, k)).collect();
                let named = names.iter().position(|name| name == key);
                let index = named.or(key.parse().ok().filter(|&index: &usize| index < values.len()));
                index.map(Segment::Index).ok_or_else(|| {
                    self.wrong(key, "names no element of the list").hint(format!("there are: {}", names.join(", ")))
                })
            }
            plain => Err(self.wrong(key, &format!("cannot be set inside of a {}, {plain}", plain.type_str()))),
        }
    }

    fn wrong(&self, key: &str, what: &str) -> Fault {
        Fault::new(format!("--set {}: `{key}` {what}", self.typed))
    }
}

/// How a path speaks of an element of a list: by its `name` where it has one, else by its index.
pub(super) fn element_name(values: &[Value], index: usize) -> String {
    let name = values.get(index).and_then(|value| value.get("name")).and_then(Value::as_str);
    name.map_or_else(|| index.to_string(), str::to_owned)
}

fn malformed(typed: &str) -> Fault {
    Fault::new(format!("--set {typed}: expected key.path=value"))
        .hint("for example --set solve.method.max_iter=10 or --set terms.scan.operator.center=297")
}

/// The text as a TOML value, or as a string: shells eat the quotes that TOML wants.
fn value_of(text: &str) -> Value {
    let parsed: Option<Table> = format!("value = {text}").parse().ok();
    // More than one key: the text had a line break and went on.
    let only = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    only.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Job;

    const ONE: &str = include_str!("../../configs/demo.toml");

    fn load(text: &str, overrides: &[&str]) -> Result<Job, Fault> {
        let overrides: Vec<String> = overrides.iter().map(|set| set.to_string()).collect();
        Job::from_toml(text, "job.toml", &overrides)
    }

    fn two() -> String {
        "version = 1\nmodel.dims = { x = 2 }\n".to_owned()
            + "[[terms]]\nname = \"a\"\noperator = { kind = \"identity\" }\n"
            + "[[terms]]\nname = \"b\"\noperator = { kind = \"diagonal\", value = 2.0 }\n"
    }

    #[test]
    fn values_are_toml_or_strings() {
        for (text, value) in [
            ("3", Value::Integer(3)),
            ("3.0", Value::Float(3.0)),
            ("true", Value::Boolean(true)),
            ("\"3\"", Value::String("3".into())),
            ("zero", Value::String("zero".into())),
            ("tooth/tooth.h5", Value::String("tooth/tooth.h5".into())),
            ("", Value::String(String::new())),
            ("1\nother = 2", Value::String("1\nother = 2".into())),
            ("[1, 2]", Value::Array(vec![Value::Integer(1), Value::Integer(2)])),
        ] {
            assert_eq!(value_of(text), value, "{text}");
        }
    }

    #[test]
    fn an_override_reaches_every_place() {
        let job = load(ONE, &["solve.method.max_iter=7", "run.threads = 3", "norm.method.kind=power"]).unwrap();
        assert_eq!((job.solve.method.most_iterations(), job.run.threads, job.norm.is_some()), (7, Some(3), true));
        for path in ["terms.phantom.split.angle.parts", "terms.0.split.angle.parts", "split.angle.parts"] {
            let job = load(ONE, &[&format!("{path}=5")]).unwrap();
            assert_eq!(job.terms[0].split["angle"].parts, Some(5), "{path}");
        }
        let job = load(ONE, &["output.folder=elsewhere"]).unwrap();
        assert_eq!(job.output.folder.to_str(), Some("elsewhere"));
        let job = load(&two(), &["terms.b.operator.value=4", "terms.0.name=c"]).unwrap();
        assert_eq!((job.terms[0].name.as_str(), job.terms[1].operator["value"].as_float()), ("c", Some(4.0)));
    }

    #[test]
    fn the_last_override_wins() {
        let job = load(ONE, &["run.seed=2", "run.seed=3"]).unwrap();
        assert_eq!(job.run.seed, 3);
    }

    #[test]
    fn a_wrong_override_is_named() {
        for (set, text, hint) in [
            ("solve.metod.kind=cg", "--set solve.metod.kind=cg: solve: unknown key `metod`", "did you mean `method`?"),
            ("sovle.wall_time_s=1", "--set sovle.wall_time_s=1: unknown key `sovle`", "did you mean `solve`?"),
            (
                "operator.cetner=1",
                "--set operator.cetner=1: terms.phantom.operator: unknown key `cetner`",
                "did you mean `center`?",
            ),
            ("run.seed=x", "--set run.seed=x: run.seed: expected a whole number (0 or more), got string \"x\"", ""),
            ("run.threads=0", "--set run.threads=0: run.threads: must be at least 1, got 0", ""),
            ("run.seed.x=1", "--set run.seed.x=1: run.seed: expected a whole number (0 or more), got a table", ""),
            ("version.x=1", "--set version.x=1: `x` cannot be set inside of a integer, 1", ""),
            ("terms.scan.name=1", "--set terms.scan.name=1: `scan` names no element of the list", "there are: phantom"),
            ("run.seed", "--set run.seed: expected key.path=value", "for example"),
            ("=3", "--set =3: expected key.path=value", "for example"),
        ] {
            let fault = load(ONE, &[set]).unwrap_err();
            assert_eq!(fault.text, text);
            assert!(fault.hint.unwrap_or_default().starts_with(hint), "{set}");
        }
    }

    #[test]
    fn a_key_of_a_term_alone_needs_a_single_term() {
        let fault = load(&two(), &["operator.value=1"]).unwrap_err();
        assert_eq!(fault.text, "--set operator.value=1: `operator` is a key of a term, and the job has 2 terms");
        assert_eq!(fault.hint.unwrap(), "say which: terms.a.operator.value=1 or terms.b.operator.value=1");
    }
}
