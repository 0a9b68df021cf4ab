//! The indices of the sum that a dense operator is, `y = Σ W x`, and what their names say.

use super::nest::{self, Loop, strides};
use crate::error::Fault;
use crate::space::Shape;

/// One index: its axes in `x` and in `y`, and whether the weights depend on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Index {
    pub size: usize,
    pub weighted: bool,
    pub x: Option<usize>,
    pub y: Option<usize>,
}

impl Index {
    pub fn is_row(&self) -> bool {
        self.x.is_none()
    }
    pub fn is_column(&self) -> bool {
        self.y.is_none()
    }
    /// Whether each of its samples has a matrix of its own.
    pub fn is_batch(&self) -> bool {
        self.weighted && self.x.is_some() && self.y.is_some()
    }
}

/// All indices; those with weights in the order of the weights' axes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Indices(pub Vec<Index>);

impl Indices {
    /// Those of a matrix with one row index, on vectors of `domain`.
    pub fn of_matrix(rows: usize, domain: &Shape) -> Self {
        let row = Index { size: rows, weighted: true, x: None, y: Some(0) };
        let columns = domain.sizes().into_iter().enumerate();
        let column = |(axis, size)| Index { size, weighted: true, x: Some(axis), y: None };
        Indices(std::iter::once(row).chain(columns.map(column)).collect())
    }

    /// What equal names join, and the shape of the range.
    pub fn of_names(weights: &Shape, domain: &Shape, range: &[&str]) -> Result<(Self, Shape), Fault> {
        let wrong = |text: String| Err(Fault::new(format!("dense: {text}")));
        let sides = [("the weights", weights.names().collect()), ("the domain", domain.names().collect())];
        for (side, names) in sides.into_iter().chain([("the range", range.to_vec())]) {
            if let Some((_, name)) = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
                return wrong(format!("dim `{name}` comes twice in {side} ({})", names.join(", ")));
            }
        }
        let axis_in_range = |name: &str| range.iter().position(|other| *other == name);
        let mut indices = Vec::new();
        for dim in weights.dims() {
            let (name, size) = (&dim.name, dim.size);
            let (x, y) = (domain.axis(name), axis_in_range(name));
            match domain.size(name) {
                Some(want) if want != size && size == 1 => {} // broadcast
                Some(want) if want != size => {
                    return wrong(format!(
                        "dim `{name}`: expected {want}, as in the domain {domain}, got {size} weights"
                    ));
                }
                None if y.is_none() => {
                    let text =
                        format!("dim `{name}` of the weights {weights} is neither in the domain {domain} nor in the");
                    return wrong(format!("{text} range ({})", range.join(", ")));
                }
                _ => indices.push(Index { size, weighted: true, x, y }),
            }
        }
        for (axis, dim) in domain.dims().iter().enumerate() {
            let y = axis_in_range(&dim.name);
            if indices.iter().any(|index| index.x == Some(axis)) {
                continue;
            }
            if y.is_none() {
                let text = format!("dim `{}` of the domain {domain} is neither in the weights {weights} nor", dim.name);
                return wrong(format!("{text} in the range ({})", range.join(", ")));
            }
            indices.push(Index { size: dim.size, weighted: false, x: Some(axis), y });
        }
        let mut dims = Vec::with_capacity(range.len());
        for (axis, name) in range.iter().enumerate() {
            let Some(index) = indices.iter().find(|index| index.y == Some(axis)) else {
                let text =
                    format!("dim `{name}` of the range is neither in the weights {weights} nor in the domain {domain}");
                return wrong(text);
            };
            dims.push((*name, index.size));
        }
        Ok((Indices(indices), Shape::new(dims)))
    }

    pub fn weighted(&self) -> impl Iterator<Item = &Index> {
        self.0.iter().filter(|index| index.weighted)
    }
    /// The sizes of the weights.
    pub fn sizes(&self) -> Vec<usize> {
        self.weighted().map(|index| index.size).collect()
    }
    /// The number of samples that some of the indices make together.
    pub fn count(&self, which: fn(&Index) -> bool) -> usize {
        self.0.iter().filter(|index| which(index)).map(|index| index.size).product()
    }
    /// The weights' axes in the order batch, rows, columns.
    pub fn matrix_order(&self) -> Vec<usize> {
        let weighted: Vec<&Index> = self.weighted().collect();
        let mut order: Vec<usize> = (0..weighted.len()).collect();
        order.sort_by_key(|at| (weighted[*at].is_column(), weighted[*at].is_row(), weighted[*at].x, weighted[*at].y));
        order
    }
    /// The indices with the weights' axes in another order.
    pub fn in_order(&self, order: &[usize]) -> Self {
        let weighted: Vec<&Index> = self.weighted().collect();
        let broadcast = self.0.iter().filter(|index| !index.weighted);
        Indices(order.iter().map(|at| weighted[*at]).chain(broadcast).copied().collect())
    }
    /// Whether the weights make matrices that are worth a call of BLAS.
    pub fn make_matrices(&self) -> bool {
        nest::pays(self.count(Index::is_row), self.count(Index::is_column))
    }

    /// The loops that the indices stand for, in their order.
    pub fn loops(&self, domain: &Shape, range: &Shape) -> Vec<Loop> {
        let (x, y) = (strides(&domain.sizes()), strides(&range.sizes()));
        let mut w = strides(&self.sizes()).into_iter();
        let stride = |axis: Option<usize>, of: &[usize]| axis.map_or(0, |axis| of[axis]);
        let turn = |index: &Index| Loop {
            size: index.size,
            w: if index.weighted { w.next().unwrap_or(0) } else { 0 },
            x: stride(index.x, &x),
            y: stride(index.y, &y),
        };
        self.0.iter().map(turn).collect()
    }
}
