//! Methods that invert by a formula, without iterating: what a config can name, as the method of a job or as its start.

use crate::error::Fault;
use crate::kinds::kinds;
use crate::physics::ct::{FbpParams, Scan};
use crate::scalar::Scalar;
use crate::space::Tile;

kinds! {
    /// A formula for `x`, with its parameters.
    pub enum AnyFormula by "kind" {
        "fbp" => Fbp(FbpParams),
    }
}

impl AnyFormula {
    /// Name and one line for each formula, for `stackphys list methods`.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] =
        &[("fbp", "filtered back-projection of a CT scan; of a cone beam that of Feldkamp, Davis and Kress (FDK)")];

    /// Whether it applies to measurements: those of a scan, if they are sums along rays. Faults: see [`FbpParams::check`].
    pub fn check(&self, scan: Option<&Scan>) -> Result<(), Fault> {
        match (self, scan) {
            (Self::Fbp(params), Some(scan)) => params.check(scan),
            (Self::Fbp(_), None) => {
                Err(Fault::new("filtered back-projection inverts sums along rays, this operator has none")
                    .hint("it is for the CT operators; use an iterative method, such as \"cg\""))
            }
        }
    }

    /// Adds to a part of `x` what a part of the measurements gives. Collective: no. See [`FbpParams::invert_add`].
    pub fn invert_add<S: Scalar>(
        &self,
        scan: &Scan,
        window: &Tile,
        tile: &Tile,
        y: &[S],
        x: &mut [S],
    ) -> Result<(), Fault> {
        match self {
            Self::Fbp(params) => params.invert_add(scan, window, tile, y, x),
        }
    }
}
