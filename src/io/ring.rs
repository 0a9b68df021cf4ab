//! A bright ring: what the Event Horizon Telescope saw of M87*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::range::positive;
use crate::space::Tile;

/// A ring with a Gaussian profile, brighter on one side: `I ∝ exp(−(r − d/2)² / 2s²) (1 + a cos(θ − θ₀))` with s = width / 2.355.
///
/// The image is (y, x), its centre at index ⌊n/2⌋ as that of an interferometer's, north up and east to the left; the position angle
/// θ is counted from north over east. The numbers are brightnesses of pixels, which add up to `flux` over an infinite image.
///
/// Source: EHT Collaboration, *First M87 Event Horizon Telescope Results IV*, ApJL 875 (2019), section 6 (a crescent for tests).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RingParams {
    /// d, as a part of the image's width.
    pub diameter: f64,
    /// The full width of the ring at half of its maximum, as a part of the image's width.
    pub width: f64,
    /// a, from 0 (even) to 1.
    pub asymmetry: f64,
    /// θ₀: the position angle of the brightest side, in degrees. 180 is south.
    pub position_angle_deg: f64,
    /// The sum of all pixels, such as 0.6 Jy.
    pub flux: f64,
}

impl Default for RingParams {
    fn default() -> Self {
        RingParams { diameter: 0.33, width: 0.1, asymmetry: 0.4, position_angle_deg: 180.0, flux: 0.6 }
    }
}

/// The full width at half maximum of a Gaussian is so many standard deviations.
const FWHM: f64 = 2.354_820_045_030_949_4;

impl RingParams {
    /// Faults: a number out of range.
    pub(super) fn check(&self) -> Result<(), Fault> {
        for (name, value) in [("ring.diameter", self.diameter), ("ring.width", self.width), ("ring.flux", self.flux)] {
            positive(name, value)
                .map_err(|fault| fault.hint("lengths are parts of the image's width: 0.33 is a third"))?;
        }
        if !(0.0..=1.0).contains(&self.asymmetry) || !self.position_angle_deg.is_finite() {
            let (a, angle) = (self.asymmetry, self.position_angle_deg);
            let text = format!("`ring`: expected an asymmetry from 0 to 1 and a finite angle, got {a} and {angle}");
            return Err(Fault::new(text).hint("with an asymmetry of 1 the dark side is black"));
        }
        Ok(())
    }
}

/// A part of the image of a whole shape (y, x).
pub(super) fn ring_part(params: &RingParams, part: &Tile) -> Result<Vec<f64>, Fault> {
    let ([rows, columns], [in_rows, in_columns]) = match (&part.of().sizes()[..], part.selections()) {
        (&[rows, columns], &[in_rows, in_columns]) => ([rows, columns], [in_rows, in_columns]),
        _ => return Err(Fault::new(format!("the phantom `ring` has two dims (y, x), the model is {}", part.of()))),
    };
    let unit = columns as f64;
    let (radius, spread) = (params.diameter / 2.0 * unit, params.width / FWHM * unit);
    // ∫ exp(−(r − R)²/2s²) r dr dθ, where the ring is thin or thick: ∫_{−R}^∞ (t + R) exp(−t²/2s²) dt
    let (gauss, tail) = (0.5 * erfc(-radius / spread / 2.0_f64.sqrt()), (-0.5 * (radius / spread).powi(2)).exp());
    let area = std::f64::consts::TAU * spread * (spread * tail + radius * (std::f64::consts::TAU).sqrt() * gauss);
    let brightest = params.position_angle_deg.to_radians();
    let mut image = Vec::with_capacity(in_rows.count * in_columns.count);
    for row in in_rows.iter() {
        let north = (rows / 2) as f64 - row as f64;
        for column in in_columns.iter() {
            let east = (columns / 2) as f64 - column as f64;
            let profile = (-0.5 * ((north.hypot(east) - radius) / spread).powi(2)).exp();
            let side = 1.0 + params.asymmetry * (east.atan2(north) - brightest).cos();
            image.push(params.flux / area * profile * side);
        }
    }
    Ok(image)
}

/// The complementary error function, to 1e-7: enough for a brightness. (W. J. Cody's form by Press et al., *Numerical Recipes*,
/// section 6.2.2.)
fn erfc(x: f64) -> f64 {
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let polynomial = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = t * (-z * z + polynomial).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Selection, Shape};

    #[test]
    fn flux_diameter_and_brightest_side_are_as_asked() {
        let (n, shape) = (201, Shape::new([("y", 201), ("x", 201)]));
        for (position_angle_deg, [dy, dx]) in [(0.0, [-1, 0]), (90.0, [0, -1]), (180.0, [1, 0]), (270.0, [0, 1])] {
            let params = RingParams { diameter: 0.4, width: 0.08, position_angle_deg, ..RingParams::default() };
            let image = ring_part(&params, &Tile::whole(&shape)).unwrap();
            let sum: f64 = image.iter().sum();
            assert!((sum / 0.6 - 1.0).abs() < 1e-5, "{sum}");
            let at = |steps: i64| image[((100 + dy * steps) * n + 100 + dx * steps) as usize];
            let brightest = (1..100).max_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap();
            assert_eq!(brightest, 40); // half of 0.4 × 201
            assert!((at(40) / at(-40) - 1.4 / 0.6).abs() < 1e-9);
            let half = at(40) / 2.0;
            assert!(at(40 + 7) > half && at(40 + 9) < half && at(40 - 7) > half && at(40 - 9) < half);
        }
        let thick = RingParams { diameter: 0.01, width: 0.2, ..RingParams::default() };
        let sum: f64 = ring_part(&thick, &Tile::whole(&shape)).unwrap().iter().sum();
        assert!((sum / 0.6 - 1.0).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn a_part_is_cut_from_the_whole_and_nonsense_is_refused() {
        let params = RingParams::default();
        let whole = Tile::whole(&Shape::new([("y", 9), ("x", 8)]));
        let image = ring_part(&params, &whole).unwrap();
        let part = whole.with(0, Selection { start: 2, step: 3, count: 2 });
        assert_eq!(ring_part(&params, &part).unwrap(), part.offsets().map(|at| image[at]).collect::<Vec<_>>());
        assert!(ring_part(&params, &Tile::whole(&Shape::new([("x", 3)]))).is_err());
        for bad in [
            RingParams { diameter: 0.0, ..params.clone() },
            RingParams { width: f64::NAN, ..params.clone() },
            RingParams { asymmetry: 1.5, ..params.clone() },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
