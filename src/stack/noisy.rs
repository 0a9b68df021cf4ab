//! Measurements as an instrument would give them: `y = noise(A x)`.

use super::Stack;
use crate::error::{Error, Phase};
use crate::physics::noise::AnyNoise;
use crate::scalar::Scalar;
use crate::space::Vector;

impl<X: Scalar, Y: Scalar<Real = X::Real>> Stack<X, Y> {
    /// `y = noise_i(A_i x)` for each block of measurements; one without noise stays clean. Draws depend on (seed, block, element), so
    /// the result is the same on any number of ranks.
    ///
    /// Collective: yes, one scalar reduction, which settles. Errors: those of the operators; counts of negative or complex
    /// measurements.
    ///
    /// ```
    /// use stackphys::physics::{Identity, noise::{AnyNoise, Gaussian}};
    /// use stackphys::{Shape, comm::Team, stack::{Description, FromFn, Stack}};
    /// let line = Shape::new([("x", 3)]);
    /// let factory = FromFn::new(
    ///     2,
    ///     |_| Ok(Description::new("identity", line.clone(), line.clone())),
    ///     |_| Ok(Box::new(Identity::new(line.clone())) as _),
    /// );
    /// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
    /// let (x, mut y) = (stack.zero_model(), stack.zero_data());
    /// let noise = AnyNoise::Gaussian(Gaussian { sigma: 0.1 });
    /// stack.forward_noisy(&x, &mut y, |index| (index == 1).then_some(&noise), 7).unwrap();
    /// assert_eq!(y.block_slice(0).unwrap(), [0.0; 3]);
    /// assert_ne!(y.block_slice(1).unwrap(), [0.0; 3]);
    /// ```
    pub fn forward_noisy<'n>(
        &self,
        x: &Vector<X>,
        y: &mut Vector<Y>,
        noise: impl Fn(usize) -> Option<&'n AnyNoise>,
        seed: u64,
    ) -> Result<(), Error> {
        self.forward_unsettled(x, y);
        for index in 0..self.blocks() {
            let (Some(noise), Some(block)) = (noise(index), y.block_slice_mut(index)) else { continue };
            if let Err(fault) = noise.disturb(block, seed, index) {
                let operator = self.plan().rows()[index].operators[0];
                self.team().note(fault.in_operator(operator).in_phase(Phase::Forward));
            }
        }
        self.team().settle()
    }
}
