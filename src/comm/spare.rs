//! What travels with every sum over ranks, in spare elements behind the numbers: for nothing, since a message is sent anyway.

use crate::scalar::Real;
use crate::space::SPARE;

/// What every rank says with every sum; after it, what all of them said.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spare {
    /// Whether any rank has a fault to tell.
    pub fault: bool,
    /// Whether any rank was asked to stop.
    pub asked: bool,
    /// Rank 0's clock; zero from all others.
    pub clock: f64,
}

impl Spare {
    /// As numbers that may be summed.
    pub fn words<R: Real>(self) -> [R; SPARE] {
        [f64::from(u8::from(self.fault)), f64::from(u8::from(self.asked)), self.clock].map(R::from_f64)
    }

    /// From the sums of all ranks' [`words`](Self::words).
    pub fn of_words<R: Real>([fault, asked, clock]: [R; SPARE]) -> Self {
        Spare { fault: fault.re() != 0.0, asked: asked.re() != 0.0, clock: clock.re() }
    }

    /// What two ranks say together.
    pub fn and(self, other: Spare) -> Self {
        Spare { fault: self.fault || other.fault, asked: self.asked || other.asked, clock: self.clock + other.clock }
    }
}
