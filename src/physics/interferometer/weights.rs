//! How much a visibility counts in a dirty image.
//!
//! Source: D. S. Briggs, *High fidelity deconvolution of moderately resolved sources*, thesis, New Mexico Institute of Mining and
//! Technology (1995), chapter 3.

use std::collections::HashMap;

/// A weighting of visibilities.
///
/// With `W_k` the sum of natural weights 1/σ² in the cell of the (u, v) plane in which visibility k lies (cells are one over the
/// field of view wide; the conjugate of each visibility counts too):
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// 1/σ²: the least noise.
    Natural,
    /// 1/(σ² W_k): each cell counts the same, which gives the sharpest beam.
    Uniform,
    /// Between the two: 1/(σ² (1 + W_k f²)) with f² = (5·10^−R)² Σ_k 1/σ_k² / Σ_cells W². R from −2 (nearly uniform) to 2 (nearly
    /// natural).
    Briggs(f64),
}

impl Weighting {
    /// The weight of each visibility, for a field of view along l and m.
    pub(super) fn weights(self, u: &[f64], v: &[f64], sigma: &[f64], field: [f64; 2]) -> Vec<f64> {
        let natural: Vec<f64> = sigma.iter().map(|sigma| 1.0 / (sigma * sigma)).collect();
        if self == Weighting::Natural {
            return natural;
        }
        let cell = |u: f64, v: f64| [(u * field[0]).round() as i64, (v * field[1]).round() as i64];
        let mut cells: HashMap<[i64; 2], f64> = HashMap::new();
        for ((u, v), weight) in u.iter().zip(v).zip(&natural) {
            *cells.entry(cell(*u, *v)).or_default() += weight;
            *cells.entry(cell(-u, -v)).or_default() += weight;
        }
        // in the order of the visibilities: that of a hash map is another each time
        let of_cell: Vec<f64> = u.iter().zip(v).map(|(u, v)| cells[&cell(*u, *v)]).collect();
        let squares = match self {
            Weighting::Briggs(robust) => {
                // Σ over cells of W² is Σ over visibilities, conjugates too, of w W; both halves are alike
                let sum: f64 = natural.iter().zip(&of_cell).map(|(weight, cell)| weight * cell).sum();
                (5.0 * 10.0_f64.powf(-robust)).powi(2) * natural.iter().sum::<f64>() / sum
            }
            _ => 0.0,
        };
        let uniform = self == Weighting::Uniform;
        natural
            .iter()
            .zip(of_cell)
            .map(|(weight, cell)| if uniform { weight / cell } else { weight / (1.0 + cell * squares) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two visibilities in one cell, one alone, one in the conjugate's cell of the first.
    const U: [f64; 4] = [10.1, 9.9, 30.0, -10.0];
    const V: [f64; 4] = [5.0, 5.1, 0.2, -5.0];
    const SIGMA: [f64; 4] = [1.0, 0.5, 2.0, 1.0];

    #[test]
    fn uniform_cells_count_the_same_and_natural_weights_are_inverse_variances() {
        let weights = |weighting: Weighting| weighting.weights(&U, &V, &SIGMA, [1.0, 1.0]);
        assert_eq!(weights(Weighting::Natural), [1.0, 4.0, 0.25, 1.0]);
        let uniform = weights(Weighting::Uniform);
        for (got, want) in uniform.iter().zip([1.0 / 6.0, 4.0 / 6.0, 1.0, 1.0 / 6.0]) {
            assert!((got - want).abs() < 1e-15, "{uniform:?}");
        }
    }

    #[test]
    fn briggs_goes_from_one_to_the_other() {
        // up to one factor for all
        let scaled = |weighting: Weighting| {
            let weights = weighting.weights(&U, &V, &SIGMA, [1.0, 1.0]);
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect::<Vec<_>>()
        };
        let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let (natural, uniform) = (scaled(Weighting::Natural), scaled(Weighting::Uniform));
        assert!(far(&scaled(Weighting::Briggs(4.0)), &natural) < 1e-5);
        assert!(far(&scaled(Weighting::Briggs(-4.0)), &uniform) < 1e-5);
        let between = scaled(Weighting::Briggs(0.0));
        assert!(far(&between, &natural) > 0.01 && far(&between, &uniform) > 0.001, "{between:?}");
        // by hand: W of the shared cell is 6, of the other 0.25; Σ w W = 6 + 24 + 0.0625 + 6, Σ w = 6.25
        let squares = 25.0 * 6.25 / 36.0625;
        let want =
            [1.0, 4.0, 0.25, 1.0].into_iter().zip([6.0, 6.0, 0.25, 6.0]).map(|(w, cell)| w / (1.0 + cell * squares));
        let got = Weighting::Briggs(0.0).weights(&U, &V, &SIGMA, [1.0, 1.0]);
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-15), "{got:?}");
    }
}
