//! The orthogonal wavelet transform of an image of any number of dims.

mod filters;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::filters::{DAUBECHIES, SYMLETS};
use super::along::{Along, Product, Side, around};
use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// A wavelet and a number of levels. The measurements are coefficients, with the dims of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaveletParams {
    /// `haar`, `db1` to `db10` (Daubechies, by vanishing moments) or `sym2` to `sym10` (symlets).
    pub wavelet: String,
    /// How often the coarse part is transformed again; 2^levels must divide the sizes.
    pub levels: u32,
    /// The dims that are transformed. Default: all dims of the model.
    pub dims: Option<Vec<String>>,
}

impl WaveletParams {
    fn dims<'a>(&'a self, model: &'a Shape) -> Vec<&'a str> {
        self.dims.as_ref().map_or_else(|| model.names().collect(), |dims| dims.iter().map(String::as_str).collect())
    }
    fn operator<S: Scalar>(&self, model: &Shape) -> Result<Wavelet<S>, Fault> {
        Wavelet::new(model, &self.dims(model), &self.wavelet, self.levels)
    }
}

impl Physics for WaveletParams {
    const SUMMARY: &'static str = "the orthogonal wavelet transform, periodic: haar, db1 to db10, sym2 to sym10";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const NORMAL: Option<Basis> = Some(Basis::Model);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        check(setting.model, &self.dims(setting.model), &self.wavelet, self.levels)?;
        Ok(setting.model.clone())
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        let operator = self.operator::<S>(setting.model)?;
        let along = || operator.levels.iter().flat_map(|level| &level.passes.0);
        Ok(Needs {
            bytes: along().map(Along::bytes).sum::<usize>() as u64,
            scratch_bytes: (4 * setting.model.len() * size_of::<S>()) as u64,
            cost: 2.0 * along().map(Along::products).sum::<f64>(),
        })
    }
    fn build<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        Ok(Box::new(self.operator::<S>(setting.model)?))
    }
}

/// The scaling filter of a wavelet, after a check of all parameters.
fn check(model: &Shape, dims: &[&str], wavelet: &str, levels: u32) -> Result<&'static [f64], Fault> {
    let number = |family: &str| wavelet.strip_prefix(family).and_then(|number| number.parse::<usize>().ok());
    let found = match (wavelet, number("db"), number("sym")) {
        ("haar", ..) => Some(DAUBECHIES[0]),
        (_, Some(moments), _) | (_, _, Some(moments @ 2..=3)) => DAUBECHIES.get(moments.wrapping_sub(1)).copied(),
        (_, _, Some(moments)) => SYMLETS.get(moments.wrapping_sub(4)).copied(),
        _ => None,
    };
    let Some(filter) = found else {
        return Err(Fault::new(format!("`wavelet`: there is no wavelet `{wavelet}`"))
            .hint("choose haar, db1 to db10, or sym2 to sym10"));
    };
    for dim in dims {
        let Some(size) = model.size(dim) else {
            return Err(
                Fault::new(format!("`dims` names `{dim}`, the model is {model}")).hint("name dims of the model")
            );
        };
        let most = if size == 0 { 0 } else { size.trailing_zeros() };
        if levels > most {
            let text = format!(
                "`levels`: {levels} levels do not fit dim `{dim}`, whose size {size} can be halved {most} times"
            );
            return Err(Fault::new(text).hint("take fewer levels, or a model whose sizes 2^levels divides"));
        }
    }
    if (1..dims.len()).any(|at| dims[..at].contains(&dims[at])) {
        return Err(Fault::new(format!("`dims`: a dim comes twice in {dims:?}")).hint("name each dim once"));
    }
    Ok(filter)
}

/// One level: the coarse part, of these sizes, into a coarser one and details.
struct Level<R> {
    sizes: Vec<usize>,
    passes: Product<R>,
}

/// `y = W x`, orthonormal wavelet coefficients: the coarsest part first, then details from coarse to fine, along each dim.
///
/// Along each dim `a[i] = Σ_j h[j] x[2i + j + 1 − n/2]` and `d[i] = Σ_j g[j] x[2i + j + 1 − n/2]`, periodic; the coefficients of
/// a level take the place of what they are made of, `a` before `d`, and the next level goes on with `a` of all dims. This is
/// PyWavelets' `periodization`, and the arrangement of its `coeffs_to_array`. `WᵀW` is the identity.
///
/// Shapes: the model's dims on both sides. Collective: no. Cost: 2n flops for each number and dim, in all levels together 4/3 of
/// that in two dims; the adjoint the same. Memory: the filters for each place of a line; scratch for four vectors. Faults
/// when built: an unknown wavelet or dim; more levels than the sizes can be halved.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::Wavelet};
/// let line = Shape::new([("x", 4)]);
/// let haar = Wavelet::<f64>::new(&line, &["x"], "haar", 2).unwrap();
/// let mut y = [0.0; 4];
/// haar.forward(&[1.0, 1.0, 3.0, 5.0], &mut y, &mut Work::default()).unwrap();
/// let want = [5.0, -3.0, 0.0, -2.0 / 2.0_f64.sqrt()];
/// assert!(y.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-14));
/// ```
///
/// Source: S. Mallat, "A theory for multiresolution signal decomposition", IEEE TPAMI 11 (1989); I. Daubechies, "Ten lectures
/// on wavelets", SIAM 1992.
pub struct Wavelet<S: Scalar> {
    shape: Shape,
    sizes: Vec<usize>,
    levels: Vec<Level<S::Real>>,
    /// The dims that are left as they are.
    others: Vec<String>,
}

impl<S: Scalar> Wavelet<S> {
    /// The transform of some dims of a model.
    pub fn new(model: &Shape, dims: &[&str], wavelet: &str, levels: u32) -> Result<Self, Fault> {
        let low = check(model, dims, wavelet, levels)?;
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let axes: Vec<usize> = dims.iter().filter_map(|dim| model.axis(dim)).collect();
        let mut sizes = model.sizes();
        let mut made = Vec::new();
        for _ in 0..levels {
            let along = |axis: &usize| Along::new(around(&sizes, *axis, parts), entries(sizes[*axis], low));
            made.push(Level { passes: Product(axes.iter().map(along).collect()), sizes: sizes.clone() });
            axes.iter().for_each(|axis| sizes[*axis] /= 2);
        }
        let others = model.names().filter(|name| !dims.contains(name)).map(str::to_owned).collect();
        Ok(Wavelet { shape: model.clone(), sizes: model.sizes(), levels: made, others })
    }

    fn scratch<'a>(&self, work: &'a mut Work) -> Scratch<'a, S> {
        let len = self.shape.len();
        let passes = self.levels.iter().map(|level| level.passes.scratch()).max().unwrap_or(0);
        let [coarse, made] = ["wavelet coarse", "wavelet made"].map(|name| work.take::<S>(name, len));
        let [first, second] = ["wavelet 1", "wavelet 2"].map(|name| work.take::<S::Real>(name, passes));
        Scratch { coarse, made, first, second, work }
    }
}

/// The coarse part, what a level makes of it, and what lies between its dims.
struct Scratch<'a, S: Scalar> {
    coarse: Vec<S>,
    made: Vec<S>,
    first: Vec<S::Real>,
    second: Vec<S::Real>,
    work: &'a mut Work,
}

impl<S: Scalar> Scratch<'_, S> {
    fn give(self) {
        self.work.give("wavelet 2", self.second);
        self.work.give("wavelet 1", self.first);
        self.work.give("wavelet made", self.made);
        self.work.give("wavelet coarse", self.coarse);
    }
    /// Some numbers of the coarse part through a level, into as many of what is made.
    fn run(&mut self, level: &Level<S::Real>, side: Side, len: usize) {
        let (from, to) = (S::as_reals(&self.coarse[..len]), S::as_reals_mut(&mut self.made[..len]));
        level.passes.run(side, from, to, false, [&mut self.first, &mut self.second]);
    }
}

/// The entries of both filters, coarse rows first.
fn entries(size: usize, low: &[f64]) -> Vec<Vec<(usize, f64)>> {
    let n = low.len();
    let high: Vec<f64> = (0..n).map(|j| if j % 2 == 0 { low[n - 1 - j] } else { -low[n - 1 - j] }).collect();
    let row = |filter: &[f64], i: usize| -> Vec<(usize, f64)> {
        let place = |j: usize| (2 * i + j + 1 + size * n - n / 2) % size;
        filter.iter().enumerate().map(|(j, weight)| (place(j), *weight)).collect()
    };
    let half = size / 2;
    (0..half).map(|i| row(low, i)).chain((0..half).map(|i| row(&high, i))).collect()
}

/// Calls `visit` with where each row of a block begins, in the block and in the array whose first corner it is.
fn rows_of_block(block: &[usize], array: &[usize], at: [usize; 2], visit: &mut impl FnMut(usize, usize)) {
    if block.len() <= 1 {
        return visit(at[0], at[1]);
    }
    let inner = |sizes: &[usize]| sizes[1..].iter().product::<usize>();
    for k in 0..block[0] {
        rows_of_block(&block[1..], &array[1..], [at[0] + k * inner(block), at[1] + k * inner(array)], visit);
    }
}

impl<S: Scalar> LinearOperator<S> for Wavelet<S> {
    fn domain(&self) -> &Shape {
        &self.shape
    }
    fn range(&self) -> &Shape {
        &self.shape
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        y.copy_from_slice(x);
        let mut scratch = self.scratch(work);
        for level in &self.levels {
            let (len, last) = (level.sizes.iter().product(), level.sizes.last().copied().unwrap_or(1));
            rows_of_block(&level.sizes, &self.sizes, [0; 2], &mut |block, array| {
                scratch.coarse[block..block + last].copy_from_slice(&y[array..array + last]);
            });
            scratch.run(level, Side::Forward, len);
            rows_of_block(&level.sizes, &self.sizes, [0; 2], &mut |block, array| {
                y[array..array + last].copy_from_slice(&scratch.made[block..block + last]);
            });
        }
        scratch.give();
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.copy_from_slice(y);
        let mut scratch = self.scratch(work);
        for level in self.levels.iter().rev() {
            let (len, last) = (level.sizes.iter().product(), level.sizes.last().copied().unwrap_or(1));
            rows_of_block(&level.sizes, &self.sizes, [0; 2], &mut |block, array| {
                scratch.coarse[block..block + last].copy_from_slice(&x[array..array + last]);
            });
            scratch.run(level, Side::Adjoint, len);
            rows_of_block(&level.sizes, &self.sizes, [0; 2], &mut |block, array| {
                x[array..array + last].copy_from_slice(&scratch.made[block..block + last]);
            });
        }
        scratch.give();
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for (out, x) in out.iter_mut().zip(x) {
            *out += *x;
        }
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure { isometry: true, ..Structure::default() }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(1.0)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(vec![1.0; self.shape.len()])
    }
    fn normal_spectrum(&self, _basis: Basis) -> Option<Vec<f64>> {
        Some(vec![1.0; self.shape.len()])
    }
    /// The dims that are not transformed.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        self.others.iter().map(|name| [name.clone(), name.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::operator::Apply;
    use crate::testing::{dot_test, structure_test};

    fn names() -> Vec<String> {
        let numbered = |family: &'static str, from: usize| (from..=10).map(move |n| format!("{family}{n}"));
        ["haar".to_owned()].into_iter().chain(numbered("db", 1)).chain(numbered("sym", 2)).collect()
    }

    #[test]
    fn filters_are_orthonormal_and_blind_to_polynomials() {
        for name in names() {
            let low = check(&Shape::new([("x", 8)]), &["x"], &name, 1).unwrap();
            let n = low.len();
            assert!((low.iter().sum::<f64>() - 2.0_f64.sqrt()).abs() < 1e-14, "{name}");
            for shift in 0..n / 2 {
                let product: f64 = low[2 * shift..].iter().zip(low).map(|(a, b)| a * b).sum();
                assert!((product - if shift == 0 { 1.0 } else { 0.0 }).abs() < 2e-15, "{name} {shift}");
            }
            // half as many vanishing moments as the filter is long
            for power in 0..n as i32 / 2 {
                let high = |j: usize| if j.is_multiple_of(2) { low[n - 1 - j] } else { -low[n - 1 - j] };
                let place = |j: usize| (j as f64 - 0.5 * (n as f64 - 1.0)) / n as f64;
                let moment: f64 = (0..n).map(|j| high(j) * place(j).powi(power)).sum();
                assert!(moment.abs() < 1e-13, "{name}, moment {power}: {moment:e}");
            }
        }
        assert_eq!(names().len(), 20);
    }

    /// `pywt.coeffs_to_array(pywt.wavedec2(x, "db2", mode="periodization", level=2))` of PyWavelets 1.8.0.
    #[test]
    fn coefficients_are_those_of_pywavelets() {
        let model = Shape::new([("y", 8), ("x", 12)]);
        let x: Vec<f64> = (0..96).map(|k| (0.7 * k as f64).cos() * (k as f64).powf(1.1).sin()).collect();
        let wavelet = Wavelet::<f64>::new(&model, &["y", "x"], "db2", 2).unwrap();
        let mut y = vec![f64::NAN; 96];
        wavelet.forward(&x, &mut y, &mut Work::default()).unwrap();
        let known = [
            (0, vec![0.26427692, 0.86590607, -0.76032956, -0.94120029]),
            (5 * 12 + 7, vec![0.81648939, -0.19654724, -0.80373006, 0.32260943]),
            (12 + 4, vec![-0.47345322, 0.55004836]),
            (2 * 12 + 4, vec![0.6717573, -0.22002661]),
        ];
        for (first, known) in known {
            for (got, want) in y[first..].iter().zip(known) {
                assert!((got - want).abs() < 1e-8, "from {first}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn each_is_an_isometry_with_its_adjoint_as_inverse() {
        for name in names() {
            for (dims, levels) in [(&["z", "y", "x"][..], 1), (&["y", "x"], 2), (&["x"], 3), (&["y"], 0)] {
                let model = Shape::new([("z", 2), ("y", 4), ("x", 8)]);
                let wavelet = Wavelet::<Complex<f64>>::new(&model, dims, &name, levels).unwrap();
                assert!(dot_test(&wavelet, 1).unwrap().passes::<Complex<f64>>(), "{name}");
                structure_test(&wavelet, 1).unwrap();
                let wavelet = Wavelet::<f64>::new(&model, dims, &name, levels).unwrap();
                for at in [0, 17, 63] {
                    let mut unit = vec![0.0; 64];
                    unit[at] = 1.0;
                    let (mut y, mut x) = (vec![f64::NAN; 64], vec![f64::NAN; 64]);
                    wavelet.forward(&unit, &mut y, &mut Work::default()).unwrap();
                    wavelet.adjoint(&y, &mut x, &mut Work::default()).unwrap();
                    assert!(x.iter().zip(&unit).all(|(a, b)| (a - b).abs() < 1e-14), "{name} {dims:?}");
                    assert!((y.iter().map(|y| y * y).sum::<f64>() - 1.0).abs() < 1e-14);
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let model = Shape::new([("y", 24), ("x", 20)]);
        for (dims, name, levels, says) in [
            (&["y", "x"][..], "db4", 3, "3 levels do not fit dim `x`, whose size 20 can be halved 2 times"),
            (&["y"], "db11", 1, "no wavelet `db11`"),
            (&["y"], "sym1", 1, "no wavelet `sym1`"),
            (&["y"], "morlet", 1, "no wavelet `morlet`"),
            (&["z"], "db4", 1, "`dims` names `z`"),
            (&["y", "y"], "db4", 1, "twice"),
        ] {
            let fault = Wavelet::<f32>::new(&model, dims, name, levels).err().unwrap();
            assert!(fault.text.contains(says), "{}", fault.text);
        }
    }
}
