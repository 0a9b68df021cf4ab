//! `count = N`: one operator table becomes N; `{ each = […] }` and `{ linspace = [a, b] }` in it depend on the index.

use toml::{Table, Value};

use super::AnyPhysics;
use crate::kinds::{self, PATH_MARK};

/// Begins what is added to a message, to say at which index it arose.
pub(super) const IN_OPERATOR: &str = " (operator ";

/// The operators that a table stands for, or the path to what is wrong and a message.
pub(super) fn operators(written: &Table, count: Option<usize>) -> Result<Vec<AnyPhysics>, String> {
    (0..count.unwrap_or(1))
        .map(|index| {
            let table = table_at(written, "", index, count)?;
            kinds::params(table).map_err(|message| match count {
                None | Some(1) => message,
                Some(count) => format!("{message}{IN_OPERATOR}{index} of {count})"),
            })
        })
        .collect()
}

fn table_at(table: &Table, path: &str, index: usize, count: Option<usize>) -> Result<Table, String> {
    table
        .iter()
        .map(|(key, value)| Ok((key.clone(), value_at(value, &format!("{path}.{key}"), index, count)?)))
        .collect()
}

fn value_at(value: &Value, path: &str, index: usize, count: Option<usize>) -> Result<Value, String> {
    match value {
        Value::Table(table) => match only_entry(table) {
            Some(("each", values)) => each(values, index, need(count, "each", path)?).map_err(|text| at(path, &text)),
            Some(("linspace", ends)) => {
                linspace(ends, index, need(count, "linspace", path)?).map_err(|text| at(path, &text))
            }
            _ => table_at(table, path, index, count).map(Value::Table),
        },
        Value::Array(values) => {
            let values = values.iter().enumerate().map(|(k, v)| value_at(v, &format!("{path}[{k}]"), index, count));
            values.collect::<Result<_, _>>().map(Value::Array)
        }
        plain => Ok(plain.clone()),
    }
}

fn only_entry(table: &Table) -> Option<(&str, &Value)> {
    let mut entries = table.iter();
    let (key, value) = entries.next()?;
    entries.next().is_none().then_some((key.as_str(), value))
}

fn need(count: Option<usize>, what: &str, path: &str) -> Result<usize, String> {
    count.ok_or_else(|| at(path, &format!("`{what}` needs `count`, the number of operators, in the term's table")))
}

fn at(path: &str, message: &str) -> String {
    format!("{}{PATH_MARK}{message}", path.trim_start_matches('.'))
}

fn each(values: &Value, index: usize, count: usize) -> Result<Value, String> {
    let Value::Array(values) = values else {
        return Err(format!("`each` takes a list of values, got {values}"));
    };
    if values.len() != count {
        return Err(format!("`each` has {} values, but `count` is {count}", values.len()));
    }
    Ok(values[index].clone())
}

fn linspace(ends: &Value, index: usize, count: usize) -> Result<Value, String> {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|n| n as f64));
    let ends_are = ends.as_array().and_then(|ends| match ends.as_slice() {
        [a, b] => number(a).zip(number(b)),
        _ => None,
    });
    let (a, b) = ends_are.ok_or_else(|| format!("`linspace` takes two numbers, [first, last], got {ends}"))?;
    // As a weighted mean, so that the last value is exactly `b`.
    let t = if count > 1 { index as f64 / (count - 1) as f64 } else { 0.0 };
    Ok(Value::Float(a * (1.0 - t) + b * t))
}

#[cfg(test)]
mod tests {
    use crate::config::Job;
    use crate::physics::{AnyPhysics, DiagonalParams};

    fn values(count: &str, value: &str) -> Result<Vec<f64>, String> {
        let text = format!(
            "version = 1\nmodel.dims = {{ x = 2 }}\n[[terms]]\nname = \"a\"\n{count}\noperator = {{ kind = \
             \"diagonal\", value = {value} }}\n"
        );
        let job = Job::from_toml(&text, "job.toml", &[]).map_err(|fault| fault.text)?;
        Ok(job
            .operators()
            .map(|(_, operator)| match operator {
                AnyPhysics::Diagonal(DiagonalParams { value, .. }) => value.unwrap(),
                other => panic!("{other:?}"),
            })
            .collect())
    }

    #[test]
    fn each_operator_takes_its_value() {
        assert_eq!(values("", "3").unwrap(), [3.0]);
        assert_eq!(values("count = 2", "3").unwrap(), [3.0, 3.0]);
        assert_eq!(values("count = 3", "{ each = [1.0, 1.5, 2] }").unwrap(), [1.0, 1.5, 2.0]);
        assert_eq!(values("count = 5", "{ linspace = [1, 3.0] }").unwrap(), [1.0, 1.5, 2.0, 2.5, 3.0]);
        assert_eq!(values("count = 1", "{ linspace = [0.1, 3] }").unwrap(), [0.1]);
        assert_eq!(values("count = 7", "{ linspace = [0.3, 0.7] }").unwrap()[6], 0.7);
    }

    #[test]
    fn a_wrong_each_is_refused_at_its_key() {
        let wrong = [
            ("count = 3", "{ each = [1, 2] }", "`each` has 2 values, but `count` is 3"),
            ("", "{ each = [1, 2] }", "`each` needs `count`, the number of operators, in the term's table"),
            ("", "{ linspace = [1, 2] }", "`linspace` needs `count`, the number of operators, in the term's table"),
            ("count = 2", "{ each = 4 }", "`each` takes a list of values, got 4"),
            ("count = 2", "{ linspace = [1, 2, 3] }", "`linspace` takes two numbers, [first, last], got [1, 2, 3]"),
            ("count = 2", "{ linspace = [1, \"b\"] }", "`linspace` takes two numbers, [first, last], got [1, \"b\"]"),
            ("count = 2", "{ each = [1.0, \"b\"] }", "expected a number, got string \"b\" (operator 1 of 2)"),
        ];
        for (count, value, text) in wrong {
            assert_eq!(values(count, value).unwrap_err(), format!("job.toml:6: terms.a.operator.value: {text}"));
        }
    }

    #[test]
    fn zero_operators_are_refused() {
        let text = values("count = 0", "3").unwrap_err();
        assert_eq!(text, "job.toml:5: terms.a.count: must be at least 1, got 0 operators");
    }

    #[test]
    fn a_job_written_back_is_the_same_job() {
        let text = "version = 1\nmodel.dims = { x = 2 }\n[[terms]]\nname = \"a\"\ncount = 2\n[terms.operator]\nkind = \
                    \"diagonal\"\nvalue = { linspace = [1, 2] }";
        let job = Job::from_toml(text, "job.toml", &[]).unwrap();
        let again = Job::from_toml(&toml::to_string(&job).unwrap(), "again", &[]).unwrap();
        assert_eq!(again, job);
        assert_eq!(job.operators().count(), 2);
        let again: Job = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(again, job);
    }
}
