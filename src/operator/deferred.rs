//! An operator that is known by its shapes and made when it is asked for: all of it, or only the parts that are wanted.
//!
//! So an operator that no rank could hold can be cut into tiles, of which each rank makes its own.

use std::sync::OnceLock;

use super::{LinearOperator, SharedOperator, Work};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

type Make<X, Y> = Box<dyn Fn(&Ranges) -> Result<SharedOperator<X, Y>, Fault> + Send + Sync>;

/// An operator described by a function of its ranges.
///
/// Like every operator it is diagonal in a dim whose name stands on both sides. Collective: no. Memory: nothing until it is
/// applied; then all of it, once. Its [parts](super::part_of) are made by the function alone. Faults: what the function
/// reports; a part of other shapes than its ranges say.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Deferred, SharedOperator, part_of};
/// use stackphys::{Shape, physics::Dense, space::Ranges};
/// let (weights, x) = (Shape::new([("m", 1 << 20), ("n", 1 << 20)]), Shape::new([("n", 1 << 20)]));
/// let (cut_weights, cut_x) = (weights.clone(), x.clone());
/// let huge: SharedOperator<f64> = Arc::new(Deferred::new(x, Shape::new([("m", 1 << 20)]), &["m", "n"], move |ranges| {
///     let tile = ranges.tile(&cut_weights);
///     let entries = tile.offsets().map(|place| 1.0 / (1 + place) as f64).collect();
///     Ok(Arc::new(Dense::named(tile.shape(), entries, ranges.shape(&cut_x), &["m"])?))
/// }));
/// let corner = part_of(&huge, &Ranges::new([("m", 0..3), ("n", 5..7)])).unwrap();
/// assert_eq!((corner.domain().len(), corner.range().len()), (2, 3));
/// ```
pub struct Deferred<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    domain: Shape,
    range: Shape,
    inner: Vec<Dim>,
    cut: Vec<String>,
    make: Make<X, Y>,
    whole: OnceLock<SharedOperator<X, Y>>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Deferred<X, Y> {
    /// An operator from `domain` to `range` that may be cut anywhere along the dims `cut`. `make` is handed the ranges of a
    /// part, of each dim that is cut on both sides; none for all of it.
    pub fn new(
        domain: Shape,
        range: Shape,
        cut: &[&str],
        make: impl Fn(&Ranges) -> Result<SharedOperator<X, Y>, Fault> + Send + Sync + 'static,
    ) -> Self {
        let cut = cut.iter().map(|dim| (*dim).to_owned()).collect();
        Deferred { domain, range, inner: Vec::new(), cut, make: Box::new(make), whole: OnceLock::new() }
    }

    /// The same with dims that are summed inside, along which it may be cut if `cut` names them.
    pub fn with_inner(mut self, inner: impl IntoIterator<Item = Dim>) -> Self {
        self.inner = inner.into_iter().collect();
        self
    }

    /// All of it, made when it is first wanted.
    fn whole(&self) -> Result<&SharedOperator<X, Y>, Fault> {
        if self.whole.get().is_none() {
            let made = (self.make)(&Ranges::default())?;
            let of = |side: &str| format!("{side} of {} as made", self.name());
            self.domain.expect(made.domain(), &of("domain"))?;
            self.range.expect(made.range(), &of("range"))?;
            let _ = self.whole.set(made); // another thread may have been first: it made the same
        }
        self.whole.get().ok_or_else(|| Fault::new(format!("{} was not made", self.name())))
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Deferred<X, Y> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.whole()?.apply_forward(x, y, work)
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.whole()?.apply_adjoint(y, x, work)
    }
    fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.whole()?.apply_forward_add(x, y, work)
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.whole()?.apply_adjoint_add(y, x, work)
    }
    fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.whole()?.apply_normal_add(x, out, work)
    }
    fn inner_dims(&self) -> Vec<Dim> {
        self.inner.clone()
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.cut.iter().any(|cut| cut == dim)
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        (self.make)(ranges)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::operator::{Apply, part_of};
    use crate::physics::Diagonal;

    #[test]
    fn nothing_is_made_before_it_is_wanted_and_all_of_it_once() {
        let line = Shape::new([("x", 4)]);
        let made = Arc::new(AtomicUsize::new(0));
        let (made_in, of_all) = (made.clone(), line.clone());
        let operator: SharedOperator<f64> = Arc::new(Deferred::new(line.clone(), line, &["x"], move |ranges| {
            let tile = ranges.tile(&of_all);
            made_in.fetch_add(tile.shape().len(), Ordering::SeqCst);
            let factors = tile.offsets().map(|at| at as f64).collect();
            Ok(Arc::new(Diagonal::new([("x", tile.shape().len())], factors)?))
        }));
        let part = part_of(&operator, &Ranges::new([("x", 1..3)])).unwrap();
        assert_eq!((made.load(Ordering::SeqCst), part.domain().len()), (2, 2));
        let (mut y, mut work) = ([0.0; 4], Work::default());
        for _ in 0..2 {
            operator.forward(&[1.0; 4], &mut y, &mut work).unwrap();
            assert_eq!((y, made.load(Ordering::SeqCst)), ([0.0, 1.0, 2.0, 3.0], 6));
        }
    }

    #[test]
    fn what_is_made_has_the_shapes_that_were_told() {
        let (line, other) = (Shape::new([("x", 4)]), Shape::new([("x", 3)]));
        let wrong: SharedOperator<f64> = Arc::new(Deferred::new(line.clone(), line, &["x"], move |_| {
            Ok(Arc::new(Diagonal::new([("x", other.len())], vec![1.0; 3])?))
        }));
        let fault = wrong.forward(&[1.0; 4], &mut [0.0; 4], &mut Work::default()).unwrap_err();
        assert!(fault.text.contains("domain of Deferred as made: expected shape (x=4), got (x=3)"), "{fault:?}");
        let fault = part_of(&wrong, &Ranges::new([("x", 0..2)])).err().unwrap();
        assert!(fault.text.contains("domain of the part [x 0..2] of Deferred"), "{fault:?}");
    }
}
