//! What becomes of measurements that are not finite.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// What a reader does with NaN and infinite values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NanPolicy {
    /// One such value is a fault.
    #[default]
    Error,
    /// They become zeros and are counted.
    Zero,
}

/// Applies the policy to the values of a tile and returns how many were not finite.
///
/// `place` turns an index of the whole (one number per dim) into words. The fault says how many and where the first is.
pub(super) fn settle<S: Scalar>(
    values: &mut [S],
    policy: NanPolicy,
    tile: &Tile,
    of: &str,
    place: impl Fn(&[usize]) -> String,
) -> Result<u64, Fault> {
    let count = values.iter().filter(|value| !value.is_finite()).count();
    let Some(first) = values.iter().position(|value| !value.is_finite()) else { return Ok(0) };
    match policy {
        NanPolicy::Zero => {
            for value in values.iter_mut().filter(|value| !value.is_finite()) {
                *value = S::from_f64(0.0);
            }
            Ok(count as u64)
        }
        NanPolicy::Error => {
            let are = if count == 1 { "is" } else { "are" };
            let (all, value, place) = (values.len(), values[first], place(&index_in_whole(tile, first)));
            Err(Fault::new(format!(
                "{of}: {count} of the {all} values read here {are} not finite as {}; the first, {value}, is at {place}",
                S::NAME
            )))
        }
    }
}

/// The index in the whole, one number per dim, of element `k` of a tile.
fn index_in_whole(tile: &Tile, mut k: usize) -> Vec<usize> {
    let mut index = vec![0; tile.selections().len()];
    for (at, selection) in index.iter_mut().zip(tile.selections()).rev() {
        let count = selection.count.max(1);
        *at = selection.start + (k % count) * selection.step;
        k /= count;
    }
    index
}

/// `angle=4, column=17`
pub(super) fn named(tile: &Tile, index: &[usize]) -> String {
    let parts: Vec<_> = tile.of().names().zip(index).map(|(name, at)| format!("{name}={at}")).collect();
    parts.join(", ")
}

/// The hint that a fault of the policy carries where the config has a key for it.
pub(super) const HINT: &str = "`data.nan = \"zero\"` accepts them as zeros";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Selection, Shape};

    #[test]
    fn the_first_is_found_in_the_coordinates_of_the_whole() {
        let tile = Tile::whole(&Shape::new([("a", 9), ("b", 4)]))
            .with(0, Selection { start: 1, step: 3, count: 2 })
            .with(1, Selection { start: 2, step: 1, count: 2 });
        let mut values = [1.0, 2.0, 3.0, f64::INFINITY];
        let fault = settle(&mut values, NanPolicy::Error, &tile, "f.npy", |index| named(&tile, index)).unwrap_err();
        assert!(fault.text.contains("1 of the 4") && fault.text.contains("a=4, b=3"), "{}", fault.text);
        let count = settle(&mut values, NanPolicy::Zero, &tile, "f.npy", |index| named(&tile, index)).unwrap();
        assert_eq!((count, values), (1, [1.0, 2.0, 3.0, 0.0]));
    }
}
