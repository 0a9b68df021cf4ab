//! Finite differences along dims of the model: the gradient.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::along::{Along, Side, around};
use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, Structure, Work};
use crate::range::positive;
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// The dim of the components.
const DIRECTION: &str = "direction";

/// Which neighbours a difference is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Differences {
    /// `x[i + 1] − x[i]`.
    #[default]
    Forward,
    /// `x[i] − x[i − 1]`.
    Backward,
    /// `(x[i + 1] − x[i − 1]) / 2`.
    Central,
}

/// What lies beyond the edges of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// The last pixel again: the difference across the edge is zero.
    #[default]
    Neumann,
    /// Zeros.
    Dirichlet,
    /// The other end of the model.
    Periodic,
}

/// Differences between neighbours along dims of the model, in units of its numbers per voxel. With data of zeros it is a term
/// that asks for a smooth image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradientParams {
    /// The dims along which differences are taken, in the order of the components. Default: all dims of the model.
    pub dims: Option<Vec<String>>,
    /// Which neighbours a difference is made of.
    pub differences: Differences,
    /// What lies beyond the edges.
    pub boundary: Boundary,
    /// A factor of all differences.
    pub weight: f64,
}

impl Default for GradientParams {
    fn default() -> Self {
        GradientParams { dims: None, differences: Differences::default(), boundary: Boundary::default(), weight: 1.0 }
    }
}

impl GradientParams {
    fn dims<'a>(&'a self, model: &'a Shape) -> Vec<&'a str> {
        match &self.dims {
            Some(dims) => dims.iter().map(String::as_str).collect(),
            None => model.names().collect(),
        }
    }
}

impl Physics for GradientParams {
    const SUMMARY: &'static str = "finite differences along dims of the model; edges neumann, dirichlet or periodic";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const NORMAL: Option<Basis> = Some(Basis::Fourier);

    fn normal(&self) -> Option<Basis> {
        (self.boundary == Boundary::Periodic).then_some(Basis::Fourier)
    }
    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        positive("weight", self.weight).map_err(|fault| fault.hint("a factor of all differences"))?;
        range_of(setting.model, &self.dims(setting.model))
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        let (model, dims) = (setting.model, self.dims(setting.model));
        let lines: usize = dims.iter().filter_map(|dim| model.size(dim)).sum();
        let entry = size_of::<S::Real>() + size_of::<usize>();
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        Ok(Needs {
            bytes: (2 * lines * (2 * entry + size_of::<usize>())) as u64,
            scratch_bytes: 0,
            cost: (4 * dims.len() * model.len() * parts) as f64,
        })
    }
    fn build<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let dims = self.dims(setting.model);
        let gradient = Gradient::<S>::new(setting.model, &dims, self.differences, self.boundary)?;
        Ok(Box::new(gradient.weighted(self.weight)))
    }
}

fn range_of(model: &Shape, dims: &[&str]) -> Result<Shape, Fault> {
    let wrong = |text: String| Err(Fault::new(text).hint(format!("name dims of the model {model}, each once")));
    if let Some(unknown) = dims.iter().find(|dim| model.axis(dim).is_none()) {
        return wrong(format!("`dims` names `{unknown}`, the model is {model}"));
    }
    if let Some(twice) = (1..dims.len()).find(|at| dims[..*at].contains(&dims[*at])) {
        return wrong(format!("`dims` names `{}` twice", dims[twice]));
    }
    if dims.is_empty() || model.axis(DIRECTION).is_some() {
        return wrong(format!("a gradient needs at least one dim, and a model {model} without a dim `{DIRECTION}`"));
    }
    let of_model = model.dims().iter().map(|dim| (dim.name.clone(), dim.size));
    Ok(Shape::new([(DIRECTION.to_owned(), dims.len())].into_iter().chain(of_model)))
}

/// The entries of the differences along a dim, row by row.
fn entries(size: usize, differences: Differences, boundary: Boundary, weight: f64) -> Vec<Vec<(usize, f64)>> {
    let last = size as isize - 1;
    let pixel = |at: isize| match boundary {
        Boundary::Neumann => Some(at.clamp(0, last) as usize),
        Boundary::Dirichlet => (0..=last).contains(&at).then_some(at as usize),
        Boundary::Periodic => Some(at.rem_euclid(size as isize) as usize),
    };
    let row = |i: isize| {
        let (plus, minus, weight) = match differences {
            Differences::Forward => (1, 0, weight),
            Differences::Backward => (0, -1, weight),
            Differences::Central => (1, -1, 0.5 * weight),
        };
        let entry = |at: isize, weight: f64| Some((pixel(at)?, weight));
        [entry(i + plus, weight), entry(i + minus, -weight)].into_iter().flatten().collect()
    };
    (0..=last).map(row).collect()
}

/// `y[d, i] = (∂_d x)[i]`, differences of neighbours along each of some dims.
///
/// [`weighted`](Self::weighted) has a factor before. Shapes: the model; (direction, model's dims). Collective: no. Cost: two flops for each number of the result. Memory: a few
/// numbers for each sample of the dims. Faults when built: a dim that the model does not have, or that comes twice.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Boundary, Differences, Gradient}};
/// let image = Shape::new([("y", 2), ("x", 3)]);
/// let gradient = Gradient::<f64>::new(&image, &["y", "x"], Differences::Forward, Boundary::Neumann).unwrap();
/// let mut y = [0.0; 12];
/// gradient.forward(&[0.0, 1.0, 4.0, 0.0, 2.0, 8.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y[..6], [0.0, 1.0, 4.0, 0.0, 0.0, 0.0]); // along y
/// assert_eq!(y[6..], [1.0, 3.0, 0.0, 2.0, 6.0, 0.0]); // along x
/// ```
///
/// Source: A. Chambolle, "An algorithm for total variation minimization and applications", J. Math. Imaging Vis. 20 (2004),
/// section 2 (forward differences, Neumann).
pub struct Gradient<S: Scalar> {
    domain: Shape,
    range: Shape,
    along: Vec<(usize, Along<S::Real>)>,
    differences: Differences,
    boundary: Boundary,
    weight: f64,
}

impl<S: Scalar> Gradient<S> {
    /// Differences along some dims of a model.
    pub fn new(model: &Shape, dims: &[&str], differences: Differences, boundary: Boundary) -> Result<Self, Fault> {
        let range = range_of(model, dims)?;
        let axes: Vec<usize> = dims.iter().filter_map(|dim| model.axis(dim)).collect();
        Ok(Gradient { domain: model.clone(), range, along: Vec::new(), differences, boundary, weight: 1.0 }.along(axes))
    }
    /// The same times a number.
    pub fn weighted(self, weight: f64) -> Self {
        let axes = self.along.iter().map(|(axis, _)| *axis).collect();
        Gradient { weight, ..self }.along(axes)
    }
    fn along(mut self, axes: Vec<usize>) -> Self {
        let (sizes, parts) = (self.domain.sizes(), if S::IS_COMPLEX { 2 } else { 1 });
        let of = |axis: usize| {
            let rows = entries(sizes[axis], self.differences, self.boundary, self.weight);
            (axis, Along::new(around(&sizes, axis, parts), rows))
        };
        self.along = axes.into_iter().map(of).collect();
        self
    }

    fn each(&self, mut visit: impl FnMut(&Along<S::Real>, std::ops::Range<usize>)) {
        let len = self.domain.len() * size_of::<S>() / size_of::<S::Real>();
        for (place, (_, along)) in self.along.iter().enumerate() {
            visit(along, place * len..(place + 1) * len);
        }
    }

    /// For each number of the model the sum over the differences' dims of what `values` has for its place there.
    fn sums(&self, values: impl Fn(usize, &Along<S::Real>) -> Vec<f64>) -> Vec<f64> {
        let (sizes, mut sums) = (self.domain.sizes(), vec![0.0; self.domain.len()]);
        for (axis, along) in &self.along {
            let (values, [_, size, inner]) = (values(sizes[*axis], along), around(&sizes, *axis, 1));
            sums.iter_mut().enumerate().for_each(|(at, sum)| *sum += values[at / inner % size]);
        }
        sums
    }
}

impl<S: Scalar> LinearOperator<S> for Gradient<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let (x, y) = (S::as_reals(x), S::as_reals_mut(y));
        self.each(|along, component| along.run(Side::Forward, x, &mut y[component], false));
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let (y, x) = (S::as_reals(y), S::as_reals_mut(x));
        self.each(|along, component| {
            let add = component.start > 0;
            along.run(Side::Adjoint, &y[component], x, add);
        });
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let (x, y) = (S::as_reals(x), S::as_reals_mut(y));
        self.each(|along, component| along.run(Side::Forward, x, &mut y[component], true));
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let (y, x) = (S::as_reals(y), S::as_reals_mut(x));
        self.each(|along, component| along.run(Side::Adjoint, &y[component], x, true));
        Ok(())
    }
    /// The sum of those of the components.
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.along.iter().map(|(_, along)| along.norm_squared_bound()).sum())
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(self.sums(|_, along| along.column_squares()))
    }
    /// With periodic edges `Σ_d |λ_d|²`: 4 sin²(πk/n) for neighbours, sin²(2πk/n) for central differences.
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let of_line = |size: usize| {
            let wave = move |k: usize| {
                let half = std::f64::consts::PI * k as f64 / size as f64;
                let square = match self.differences {
                    Differences::Central => (2.0 * half).sin().powi(2),
                    _ => 4.0 * half.sin().powi(2),
                };
                self.weight * self.weight * square
            };
            (0..size).map(wave).collect()
        };
        (basis == Basis::Fourier && self.boundary == Boundary::Periodic).then(|| self.sums(|size, _| of_line(size)))
    }
    fn structure(&self) -> Structure {
        Structure::default()
    }
    /// The dims without differences.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let names = self.domain.names().enumerate();
        let others = names.filter(|(axis, _)| self.along.iter().all(|(of, _)| of != axis));
        others.map(|(_, name)| [name.to_owned(), name.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::fourier::{Fourier as _, Transform, Way};
    use crate::operator::Apply;
    use crate::testing::{dot_test, structure_test};

    const DIFFERENCES: [Differences; 3] = [Differences::Forward, Differences::Backward, Differences::Central];
    const BOUNDARIES: [Boundary; 3] = [Boundary::Neumann, Boundary::Dirichlet, Boundary::Periodic];

    #[test]
    fn each_boundary_is_what_its_name_says() {
        let x = [1.0, 4.0, 9.0, 2.0];
        let line = Shape::new([("x", 4)]);
        let want = [
            [[3.0, 5.0, -7.0, 0.0], [3.0, 5.0, -7.0, -2.0], [3.0, 5.0, -7.0, -1.0]],
            [[0.0, 3.0, 5.0, -7.0], [1.0, 3.0, 5.0, -7.0], [-1.0, 3.0, 5.0, -7.0]],
            [[1.5, 4.0, -1.0, -3.5], [2.0, 4.0, -1.0, -4.5], [1.0, 4.0, -1.0, -4.0]],
        ];
        for (differences, want) in DIFFERENCES.into_iter().zip(want) {
            for (boundary, want) in BOUNDARIES.into_iter().zip(want) {
                let gradient = Gradient::<f64>::new(&line, &["x"], differences, boundary).unwrap();
                let mut y = [f64::NAN; 4];
                gradient.forward(&x, &mut y, &mut Work::default()).unwrap();
                assert_eq!(y, want, "{differences:?} {boundary:?}");
            }
        }
    }

    #[test]
    fn adjoint_and_what_is_declared_hold() {
        let model = Shape::new([("z", 3), ("y", 4), ("x", 5)]);
        for differences in DIFFERENCES {
            for boundary in BOUNDARIES {
                for dims in [&["z", "y", "x"][..], &["x"], &["x", "z"]] {
                    let gradient = Gradient::<Complex<f64>>::new(&model, dims, differences, boundary).unwrap();
                    assert!(dot_test(&gradient, 1).unwrap().passes::<Complex<f64>>());
                    structure_test(&gradient, 1).unwrap();
                    let gradient = Gradient::<f64>::new(&model, dims, differences, boundary).unwrap().weighted(0.5);
                    let mut unit = vec![0.0; 60];
                    unit[37] = 1.0;
                    let mut column = vec![0.0; 60];
                    gradient.normal_add(&unit, &mut column, &mut Work::default()).unwrap();
                    assert!((column[37] - gradient.normal_diagonal().unwrap()[37]).abs() < 1e-14);
                    let Some(spectrum) = gradient.normal_spectrum(Basis::Fourier) else {
                        assert!(boundary != Boundary::Periodic);
                        continue;
                    };
                    let mut field: Vec<_> = unit.iter().map(|x| Complex::new(*x, 0.0)).collect();
                    let mut transform = Transform::new(&model.sizes());
                    transform.run(&mut field, Way::There);
                    field.iter_mut().zip(&spectrum).for_each(|(z, w)| *z *= w / 60.0);
                    transform.run(&mut field, Way::Back);
                    assert!(field.iter().zip(&column).all(|(z, x)| (z - x).norm() < 1e-13), "{differences:?} {dims:?}");
                }
            }
        }
    }

    #[test]
    fn dims_must_be_those_of_the_model() {
        let model = Shape::new([("y", 4), ("x", 5)]);
        let fault = |dims: &[&str]| range_of(&model, dims).unwrap_err().text;
        assert!(fault(&["z"]).contains("`dims` names `z`, the model is (y=4, x=5)"));
        assert!(fault(&["x", "x"]).contains("`x` twice"));
        assert!(fault(&[]).contains("at least one dim"));
    }
}
