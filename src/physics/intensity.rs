//! Measured intensities `F(x) = |B x|²` of a linear operator: phase retrieval, ptychography, diffraction.

use crate::error::Fault;
use crate::operator::{Differentiable, LinearOperator, Point, Work};
use crate::scalar::Scalar;
use crate::space::Shape;

/// `F(x) = |B x|²`, element by element. Smooth, not linear.
///
/// Derivative: `F′(x) h = 2 Re(conj(B x) ⊙ B h)`; its adjoint `F′(x)* v = 2 Bᴴ(B x ⊙ Re v)`. Collective: no. Cost: one
/// application of `B` or its adjoint each. Memory: a point holds `B x`.
///
/// Reference: J. R. Fienup, "Phase retrieval algorithms: a comparison", Appl. Opt. 21 (1982).
///
/// ```
/// use stackphys::{Shape, operator::{Differentiable, Work}, physics::{Identity, Intensity}};
/// let squares = Intensity(Identity::new(Shape::new([("x", 2)])));
/// let (mut value, mut at, mut work) = ([0.0; 2], Differentiable::<f64>::point(&squares), Work::default());
/// squares.linearize(&[3.0, -2.0], &mut value, &mut at, &mut work).unwrap();
/// assert_eq!(value, [9.0, 4.0]);
/// let mut slope = [0.0; 2];
/// squares.jvp(&at, &[1.0, 1.0], &mut slope, &mut work).unwrap();
/// assert_eq!(slope, [6.0, -4.0]);
/// ```
pub struct Intensity<B>(pub B);

impl<S: Scalar, B: LinearOperator<S>> Differentiable<S> for Intensity<B> {
    fn domain(&self) -> &Shape {
        self.0.domain()
    }
    fn range(&self) -> &Shape {
        self.0.range()
    }
    fn point(&self) -> Point {
        Point::new(vec![S::default(); self.0.range().len()])
    }

    fn evaluate(&self, x: &[S], value: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.0.apply_forward(x, value, work)?;
        value.iter_mut().for_each(|z| *z = S::from_f64(z.modulus_squared()));
        Ok(())
    }

    fn linearize(&self, x: &[S], value: &mut [S], at: &mut Point, work: &mut Work) -> Result<(), Fault> {
        let field = at.get_mut::<Vec<S>>()?;
        self.0.apply_forward(x, field, work)?;
        for (value, z) in value.iter_mut().zip(field.iter()) {
            *value = S::from_f64(z.modulus_squared());
        }
        Ok(())
    }

    fn jvp(&self, at: &Point, dx: &[S], dy: &mut [S], work: &mut Work) -> Result<(), Fault> {
        let field = at.get::<Vec<S>>()?;
        self.0.apply_forward(dx, dy, work)?;
        for (dy, z) in dy.iter_mut().zip(field) {
            *dy = S::from_f64(2.0 * (z.conj() * *dy).re());
        }
        Ok(())
    }

    fn vjp_add(&self, at: &Point, dy: &[S], dx: &mut [S], work: &mut Work) -> Result<(), Fault> {
        let field = at.get::<Vec<S>>()?;
        let mut pulled = work.take::<S>("Bx ⊙ Re v", dy.len());
        for ((pulled, z), dy) in pulled.iter_mut().zip(field).zip(dy) {
            *pulled = *z * S::from_f64(2.0 * dy.re());
        }
        let done = self.0.apply_adjoint_add(&pulled, dx, work);
        work.give("Bx ⊙ Re v", pulled);
        done
    }
}
