//! Where in what the user wrote something is wrong, and what was probably meant.
//!
//! Serde says what is wrong and `serde_path_to_error` at which path. Here the path becomes a line of the file (or the
//! `--set` that wrote it), and words for programmers become words for the author of a config.

use std::ops::Range;

use toml::Value;
use toml::de::{DeArray, DeTable};

use super::each::IN_OPERATOR;
use super::set::{Override, element_name};
use crate::error::Fault;
use crate::kinds::PATH_MARK;

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Segment {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// A value that makes no sense: the path to it (`terms[0].count`), what is wrong, and perhaps what to do.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) hint: Option<String>,
}

/// All that the user wrote: the file, the overrides, and what came of both.
pub(super) struct Written<'a> {
    file_name: &'a str,
    text: &'a str,
    document: DeTable<'a>,
    overrides: Vec<(Vec<Segment>, Override)>,
    job: Value,
}

impl<'a> Written<'a> {
    /// Parses a file; a fault shows the line and the column where it stops being TOML.
    pub(super) fn parse(text: &'a str, file_name: &'a str) -> Result<Self, Fault> {
        let not_toml = |error: toml::de::Error| {
            let (line, column) = line_and_column(text, error.span());
            let shown = text.lines().nth(line - 1).unwrap_or_default();
            Fault::new(format!("{file_name}:{line}:{column}: {}", error.message()))
                .hint(format!("this is not TOML:\n    {shown}\n    {:>column$}", "^"))
        };
        let document = DeTable::parse(text).map_err(not_toml)?.into_inner();
        let job = Value::Table(toml::from_str(text).map_err(not_toml)?);
        Ok(Written { file_name, text, document, overrides: Vec::new(), job })
    }

    /// Changes one value, and remembers who did.
    pub(super) fn set(&mut self, by: Override) -> Result<(), Fault> {
        let path = by.apply(&mut self.job)?;
        self.overrides.push((path, by));
        Ok(())
    }

    /// File and overrides as one table.
    pub(super) fn job(&self) -> &Value {
        &self.job
    }

    /// The fault for a value that could be read but makes no sense.
    pub(super) fn trouble(&self, trouble: Trouble) -> Fault {
        let path = segments(&trouble.path);
        let fault = self.fault(&path, &path, trouble.text);
        Fault { hint: trouble.hint, ..fault }
    }

    /// The fault for serde's message about the value at a path.
    pub(super) fn explain(&self, path: &str, message: &str) -> Fault {
        let mut pieces: Vec<&str> = message.split(PATH_MARK).collect();
        let message = pieces.pop().unwrap_or_default();
        let path: Vec<Segment> = [path].into_iter().chain(pieces).flat_map(segments).collect();

        let quoted = quoted_words(message);
        let (wrong, valid) = quoted.split_first().map_or(("", &[] as &[&str]), |(first, rest)| (*first, rest));
        if message.starts_with("unknown field") {
            self.unknown_key(&path, wrong, valid)
        } else if let Some((what, _)) = message.strip_prefix("unknown ").and_then(|rest| rest.split_once(' ')) {
            // A kind, a format, a variant of an enum: the path leads to the word itself.
            let what = if what == "variant" { "value" } else { what };
            let hint = meant(wrong, valid, &format!("valid {what}s"));
            self.fault(&path, &path, format!("unknown {what} `{wrong}`")).hint(hint)
        } else if message.starts_with("missing field") {
            self.missing_key(&path, wrong, valid)
        } else if let Some((got, expected)) =
            message.strip_prefix("invalid ").and_then(|m| m.rsplit_once(", expected "))
        {
            let got = got.split_once(": ").map_or(got, |(_, got)| got); // `type:` or `value:` or `length`
            let (expected, of) = expected.split_at(expected.find(IN_OPERATOR).unwrap_or(expected.len()));
            // The toml crate does not say what stands where one of a list of words should.
            let got = match find(&self.job, &path) {
                Some(value) if got == "unit variant" => value.to_string(),
                _ => got_in_words(got),
            };
            let text = format!("expected {}, got {got}{of}", expected_in_words(expected));
            self.fault(&path, &path, text)
        } else {
            self.fault(&path, &path, message.to_owned())
        }
    }

    /// A key is missing from the table at a path, perhaps because it is there misspelt.
    pub(super) fn missing_key(&self, table: &[Segment], key: &str, values: &[&str]) -> Fault {
        let written = find(&self.job, table).and_then(Value::as_table);
        if let Some(near) = nearest(key, written.into_iter().flat_map(|table| table.keys().map(String::as_str))) {
            return self.unknown_key(table, near, &[key]);
        }
        let fault = self.fault(table, table, format!("missing key `{key}`"));
        if values.is_empty() { fault } else { fault.hint(format!("it may be: {}", list(values))) }
    }

    /// `path` leads to the table or to the key itself.
    fn unknown_key(&self, path: &[Segment], key: &str, valid: &[&str]) -> Fault {
        let table = match path.split_last() {
            Some((Segment::Key(last), table)) if last == key => table,
            _ => path,
        };
        let place = [table, &[Segment::Key(key.to_owned())]].concat();
        self.fault(&place, table, format!("unknown key `{key}`")).hint(meant(key, valid, "valid keys"))
    }

    fn fault(&self, place: &[Segment], about: &[Segment], text: String) -> Fault {
        let source = self.source(place);
        match self.in_words(about) {
            about if about.is_empty() => Fault::new(format!("{source}: {text}")),
            about => Fault::new(format!("{source}: {about}: {text}")),
        }
    }

    /// The `--set` that wrote what stands at a path, or its line in the file.
    fn source(&self, path: &[Segment]) -> String {
        let (steps, span) = self.find_in_file(path);
        let whole = steps == path.len();
        // The last one that wrote the value or what it stands in; else, if the file has no such key, one that made it.
        let mut latest_first = self.overrides.iter().rev();
        let by = latest_first.clone().find(|(set, _)| path.starts_with(set));
        let by = by.or_else(|| latest_first.find(|(set, _)| !whole && set.starts_with(path)));
        match (by, span) {
            (Some((_, by)), _) => format!("--set {}", by.typed()),
            (None, Some(span)) => format!("{}:{}", self.file_name, line_and_column(self.text, Some(span)).0),
            (None, None) => self.file_name.to_owned(),
        }
    }

    /// How many steps of a path are in the file, and where the last of them is.
    fn find_in_file(&self, path: &[Segment]) -> (usize, Option<Range<usize>>) {
        let (mut table, mut list): (_, Option<&DeArray>) = (Some(&self.document), None);
        let mut found = None;
        for (steps, segment) in path.iter().enumerate() {
            let next = match (segment, table, list) {
                (Segment::Key(key), Some(table), _) => {
                    table.iter().find(|(name, _)| name.get_ref() == key).map(|(name, value)| (name.span(), value))
                }
                (Segment::Index(index), _, Some(list)) => list.get(*index).map(|value| (value.span(), value)),
                _ => None,
            };
            let Some((span, value)) = next else { return (steps, found) };
            found = Some(span);
            table = value.get_ref().as_table();
            list = value.get_ref().as_array();
        }
        (path.len(), found)
    }

    /// `terms.scan.operator`, as `--set` would take it.
    fn in_words(&self, path: &[Segment]) -> String {
        let words = path.iter().enumerate().map(|(depth, segment)| match segment {
            Segment::Key(key) => key.clone(),
            Segment::Index(index) => {
                let list = find(&self.job, &path[..depth]).and_then(Value::as_array);
                list.map_or_else(|| index.to_string(), |list| element_name(list, *index))
            }
        });
        words.collect::<Vec<_>>().join(".")
    }
}

fn find<'v>(value: &'v Value, path: &[Segment]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Key(key) => value.get(key),
        Segment::Index(index) => value.get(index),
    })
}

/// The steps of a path as `serde_path_to_error` prints it: `terms[0].operator`, or `.` for the root.
fn segments(path: &str) -> Vec<Segment> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !key.is_empty() {
            steps.push(Segment::Key(key.to_owned()));
        }
        let indices = indices.split(['[', ']']).filter_map(|index| index.parse().ok());
        steps.extend(indices.map(Segment::Index));
    }
    steps
}

/// Line and column, from 1, of the start of a span.
fn line_and_column(text: &str, span: Option<Range<usize>>) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(span.map_or(0, |span| span.start))];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The key that was probably meant, if any is close enough.
fn nearest<'k>(wrong: &str, keys: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let longest = |key: &str| key.chars().count().max(wrong.chars().count());
    let distances = keys.into_iter().map(|key| (strsim::damerau_levenshtein(wrong, key), key));
    // A third of the letters wrong is a slip; more is another word.
    distances
        .filter(|(distance, key)| 3 * distance <= longest(key))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

fn meant(wrong: &str, valid: &[&str], what: &str) -> String {
    match (nearest(wrong, valid.iter().copied()), valid) {
        (_, []) => "this kind of table has no more keys".to_owned(),
        (Some(near), _) => format!("did you mean `{near}`? {what}: {}", list(valid)),
        (None, _) => format!("{what}: {}", list(valid)),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What stands between pairs of backticks.
fn quoted_words(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

fn expected_in_words(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number (0 or more)",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "path string" => "a path (a string)",
        "a map" => "a table",
        "string only" | "string or table" => "a string",
        table if table.starts_with("struct ") => "a table",
        other => other,
    }
}

fn got_in_words(got: &str) -> String {
    match got {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => match quoted_words(got).as_slice() {
            // integer `3`, floating point `3.5`, boolean `true`
            [number] if !got.starts_with("string") => (*number).to_owned(),
            _ => got.to_owned(),
        },
    }
}
