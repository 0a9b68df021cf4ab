//! The kernels in plain Rust: each weight from its formula, each sum in `f64`. The reference for the others, and what
//! machines without their instructions use.

use super::{AdjointChunk, ForwardBand, add_scaled};
use crate::scalar::Real;

/// One sample per line for each ray, interpolated between its two neighbours; what lies outside counts as zero.
pub(super) fn forward<R: Real>(band: ForwardBand<'_, R>) {
    let ForwardBand { ray, image, lines, columns, out, step } = band;
    let beyond = image.samples as f64;
    for column in ray.columns_over(&lines, image.samples, columns) {
        let mut sum = 0.0;
        for line in lines.clone() {
            let position = ray.start + ray.per_column * column as f64 + ray.per_line * line as f64;
            if -1.0 < position && position < beyond {
                // Counted from the zero before the line, because conversion rounds towards zero.
                let place = position + 1.0;
                let (left, values) = (place as usize, image.line_between_zeros(line - lines.start));
                let weight = place - left as f64;
                sum += (1.0 - weight) * values[left].re() + weight * values[left + 1].re();
            }
        }
        add_scaled(out, step, column, &[R::from_f64(sum)], R::from_f64(ray.gain));
    }
}

/// For each pixel the detector columns whose rays pass within one sample of it.
pub(super) fn adjoint<R: Real>(chunk: AdjointChunk<'_, R>) {
    let AdjointChunk { rays, sinogram, rows, columns, out, layout, .. } = chunk;
    let last = sinogram.samples as f64 - 1.0;
    for row in rows.clone() {
        let from = layout.first + (row - rows.start) * layout.lines;
        for column in 0..columns {
            let mut sum = 0.0;
            for (angle, ray) in rays.iter().enumerate() {
                let t = ray.corner + ray.down * row as f64 + ray.right * column as f64;
                let reach = ray.width.recip();
                // Conversion rounds towards zero: what was above −1 begins at 0.
                let (first, end) = ((t - reach).max(-1.0) + 1.0, (t + reach).min(last) + 1.0);
                let (first, end) = (first as usize, end as usize);
                for k in first..end {
                    let weight = 1.0 - ray.width * (k as f64 - t).abs();
                    sum += ray.gain * weight.max(0.0) * sinogram.line(angle)[k].re();
                }
            }
            add_scaled(&mut out[from..], layout.step, column, &[R::from_f64(sum)], R::one());
        }
    }
}
