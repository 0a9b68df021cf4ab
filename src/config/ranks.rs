//! The `[ranks]` table: which rank takes which operator.

use ndarray::{Array2, ArrayD, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::stack::ranks_of_tiles;

/// Which rank takes which operator, where `run.assignment` is not to say: by a `matrix`, or as a `grid`.
///
/// The operators are a matrix themselves: a row for each part that the measurements are split into (all terms, one after the
/// other), a column for each block of `x`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ranks {
    /// A rank for each operator: `[[0, 1], [2, 3]]`. A smaller matrix is repeated in turn, a larger one cut off; a single row
    /// may be written as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// Groups of neighbouring rows times groups of neighbouring columns, one rank each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<RankGrid>,
}

/// Rows of ranks, or one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Matrix {
    /// One row.
    Row(Vec<usize>),
    /// Rows of equal length.
    Rows(Vec<Vec<usize>>),
}

/// Ranks as a grid: `operators` × `domain` of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RankGrid {
    /// Into how many groups of neighbours the parts of the measurements go.
    #[schemars(range(min = 1))]
    pub operators: usize,
    /// Into how many groups of neighbours the blocks of `x` go.
    #[schemars(range(min = 1))]
    pub domain: usize,
}

impl Ranks {
    /// What is wrong with it whatever the operators, if anything.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match (&self.matrix, &self.grid) {
            (None, None) => Err(Fault::new("expected `matrix` or `grid`, got neither")
                .hint("for example matrix = [[0, 1], [2, 3]], or grid = { operators = 2, domain = 2 }")),
            (Some(_), Some(_)) => Err(Fault::new("expected one of `matrix` and `grid`, got both").hint("remove one")),
            (Some(matrix), None) => matrix.array().map(|_| ()),
            (None, Some(RankGrid { operators: 0, .. } | RankGrid { domain: 0, .. })) => {
                Err(Fault::new("`grid` needs at least one group on either side, got 0").hint("count from 1"))
            }
            (None, Some(_)) => Ok(()),
        }
    }

    /// The rank of each operator, for `parts` of the measurements and `blocks` of `x`, out of `ranks`.
    pub fn of(&self, parts: usize, blocks: usize, ranks: usize) -> Result<Array2<usize>, Fault> {
        let matrix = match (&self.matrix, &self.grid) {
            (Some(matrix), _) => matrix.array()?,
            (None, Some(RankGrid { operators, domain })) => {
                let most = |what: &str, groups: usize, of: usize| {
                    let text = format!("`grid` has {groups} groups of {what}, of which there are {of}");
                    let hint = "ask for fewer groups, or cut into more parts";
                    if groups > of { Err(Fault::new(text).hint(hint)) } else { Ok(()) }
                };
                most("operators", *operators, parts)?;
                most("blocks of x", *domain, blocks)?;
                let rank = |(part, block)| part * operators / parts * domain + block * domain / blocks;
                Array2::from_shape_fn((parts, blocks), rank).into_dyn()
            }
            (None, None) => ArrayD::zeros(vec![1]),
        };
        let of_tiles = ranks_of_tiles(&matrix, &[parts, blocks], ranks)?;
        of_tiles.into_dimensionality().map_err(|error| Fault::new(error.to_string()))
    }
}

impl Matrix {
    fn array(&self) -> Result<ArrayD<usize>, Fault> {
        let rows = match self {
            Matrix::Row(row) => return Ok(ndarray::Array1::from(row.clone()).into_dyn()),
            Matrix::Rows(rows) => rows,
        };
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let flat = rows.concat();
        let shape = (rows.len(), lengths.first().copied().unwrap_or(0));
        if lengths.iter().any(|length| *length != shape.1) {
            let text = format!("`matrix`: expected rows of equal length, got lengths {lengths:?}");
            return Err(Fault::new(text).hint("a matrix has one entry in each row and column"));
        }
        let array = Array2::from_shape_vec(shape, flat).map_err(|error| Fault::new(error.to_string()))?;
        // one column is for all blocks, and a single row for all parts
        Ok(if array.len_of(Axis(0)) == 1 { array.remove_axis(Axis(0)).into_dyn() } else { array.into_dyn() })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn ranks(toml: &str) -> Ranks {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_matrix_is_repeated_and_a_grid_is_dealt_in_runs() {
        assert_eq!(ranks("matrix = [[0, 1], [2, 3]]").of(3, 2, 4).unwrap(), array![[0, 1], [2, 3], [0, 1]]);
        assert_eq!(ranks("matrix = [0, 1]").of(2, 3, 2).unwrap(), array![[0, 1, 0], [0, 1, 0]]);
        assert_eq!(ranks("matrix = [[1], [0]]").of(2, 1, 2).unwrap(), array![[1], [0]]);
        let grid = ranks("grid = { operators = 2, domain = 2 }").of(3, 4, 4).unwrap();
        assert_eq!(grid, array![[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]);
    }

    #[test]
    fn each_mistake_has_its_own_text() {
        let wrong = |toml: &str| ranks(toml).check().unwrap_err().text;
        assert_eq!(wrong(""), "expected `matrix` or `grid`, got neither");
        assert_eq!(
            wrong("matrix = [0]\ngrid = { operators = 1, domain = 1 }"),
            "expected one of `matrix` and `grid`, got both"
        );
        assert_eq!(wrong("matrix = [[0, 1], [2]]"), "`matrix`: expected rows of equal length, got lengths [2, 1]");
        assert!(wrong("grid = { operators = 0, domain = 1 }").contains("at least one group"));
        let of = |toml: &str, ranks_there| ranks(toml).of(3, 2, ranks_there).unwrap_err().text;
        assert!(
            of("grid = { operators = 1, domain = 3 }", 4).contains("3 groups of blocks of x, of which there are 2")
        );
        assert!(of("grid = { operators = 2, domain = 2 }", 3).contains("expected ranks from 0 to 2, got 3"));
        assert!(of("matrix = [0, 7]", 4).contains("expected ranks from 0 to 3, got 7 at [1]"));
    }
}
