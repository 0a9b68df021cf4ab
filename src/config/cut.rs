//! How a dimension is cut into parts: of the measurements, or of the model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::space::{Order, Selection, is_partition};

/// How one dimension is cut: into a number of `parts`, into chunks of a size, or at `edges`. One of the three.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cut {
    /// The number of parts. More parts than ranks is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parts: Option<usize>,
    /// The number of samples in each part; the last one may have fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub chunk: Option<usize>,
    /// Where parts begin and end: 0, rising, up to the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<usize>>,
    /// How the samples are dealt into `parts`.
    pub order: Order,
}

impl Cut {
    /// What is wrong with it whatever the size, if anything.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let given = [("parts", self.parts.is_some()), ("chunk", self.chunk.is_some()), ("edges", self.edges.is_some())];
        let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        let hint = "for example { parts = 4 }, { chunk = 64 } or { edges = [0, 100, 256] }";
        match given.as_slice() {
            [] => Err(Fault::new("expected one of `parts`, `chunk` and `edges`, got none").hint(hint)),
            [_, _, ..] => {
                let text = format!("expected one of `parts`, `chunk` and `edges`, got `{}`", given.join("` and `"));
                Err(Fault::new(text).hint(hint))
            }
            [name @ ("parts" | "chunk")] if self.parts.or(self.chunk) == Some(0) => {
                Err(Fault::new(format!("`{name}` must be at least 1, got 0")).hint(hint))
            }
            [name] if *name != "parts" && self.order == Order::Interleaved => {
                let text = format!("`order = \"interleaved\"` deals samples into `parts`, got `{name}`");
                Err(Fault::new(text).hint("give the number of parts, or leave `order` out"))
            }
            _ => match &self.edges {
                Some(edges) if !is_partition(edges, edges.last().copied().unwrap_or(0)) => {
                    Err(Fault::new(format!("`edges` must begin with 0 and rise, got {edges:?}")).hint(hint))
                }
                _ => Ok(()),
            },
        }
    }

    /// The parts of a dimension of a size. Faults: more parts than samples; edges that end elsewhere.
    pub fn selections(&self, dim: &str, size: usize) -> Result<Vec<Selection>, Fault> {
        if let Some(edges) = &self.edges {
            if !is_partition(edges, size) {
                let text = format!("edges of dim `{dim}`: expected a partition of 0..{size}, got {edges:?}");
                return Err(Fault::new(text).hint(format!("edges begin with 0, rise, and end with the size, {size}")));
            }
            let run = |pair: &[usize]| Selection { start: pair[0], step: 1, count: pair[1] - pair[0] };
            return Ok(edges.windows(2).map(run).collect());
        }
        if let Some(chunk) = self.chunk {
            let run = |start| Selection { start, step: 1, count: chunk.min(size - start) };
            return Ok((0..size).step_by(chunk.max(1)).map(run).collect());
        }
        let parts = self.parts.unwrap_or(1);
        if parts > size {
            let text = format!("cut of dim `{dim}`: expected at most {size} parts, one a sample, got {parts}");
            return Err(Fault::new(text).hint(format!("ask for at most {size} parts")));
        }
        Ok((0..parts).map(|part| Selection::part(size, part, parts, self.order)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(cut: Cut, size: usize) -> Vec<Vec<usize>> {
        cut.check().unwrap();
        cut.selections("x", size).unwrap().iter().map(|part| part.iter().collect()).collect()
    }

    #[test]
    fn three_ways_to_cut() {
        assert_eq!(parts(Cut { parts: Some(2), ..Cut::default() }, 5), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(parts(Cut { chunk: Some(2), ..Cut::default() }, 5), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(parts(Cut { edges: Some(vec![0, 1, 5]), ..Cut::default() }, 5), [vec![0], vec![1, 2, 3, 4]]);
        let interleaved = Cut { parts: Some(2), order: Order::Interleaved, ..Cut::default() };
        assert_eq!(parts(interleaved, 5), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn each_mistake_has_its_own_text() {
        let wrong = |toml: &str| toml::from_str::<Cut>(toml).unwrap().check().unwrap_err().text;
        assert_eq!(wrong(""), "expected one of `parts`, `chunk` and `edges`, got none");
        assert_eq!(
            wrong("parts = 2\nchunk = 3"),
            "expected one of `parts`, `chunk` and `edges`, got `parts` and `chunk`"
        );
        assert_eq!(wrong("chunk = 0"), "`chunk` must be at least 1, got 0");
        assert_eq!(wrong("edges = [0, 3, 3]"), "`edges` must begin with 0 and rise, got [0, 3, 3]");
        assert!(wrong("chunk = 2\norder = \"interleaved\"").starts_with("`order = \"interleaved\"` deals"));
        let of_five = |toml: &str| toml::from_str::<Cut>(toml).unwrap().selections("x", 5).unwrap_err().text;
        assert_eq!(of_five("edges = [0, 4]"), "edges of dim `x`: expected a partition of 0..5, got [0, 4]");
        assert_eq!(of_five("parts = 6"), "cut of dim `x`: expected at most 5 parts, one a sample, got 6");
    }
}
