//! Whether numbers stand in the wrong byte order, where the format does not tell: told by their sizes.

/// Of more numbers than this nothing new is learned.
const ENOUGH: usize = 1 << 14;

/// Whether little-endian `f32` numbers make no sense, but do as big-endian ones (or the other way round).
pub(in crate::io) fn is_swapped(bytes: &[u8], big_endian: bool) -> bool {
    let numbers = || bytes.as_chunks::<4>().0.iter().filter(|number| **number != [0; 4]).take(ENOUGH);
    // of numbers in the wrong order a fifth or more lies beyond: their exponents are the last bits of their fractions
    let share = |of: fn([u8; 4]) -> f32| {
        let plausible = |bytes: &&[u8; 4]| (1e-30..1e30).contains(&of(**bytes).abs());
        numbers().filter(plausible).count() as f64 / numbers().count().max(1) as f64
    };
    let (little, big) = (share(f32::from_le_bytes), share(f32::from_be_bytes));
    let (as_told, other) = if big_endian { (big, little) } else { (little, big) };
    as_told < 0.9 && other > 0.999
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_numbers_are_noticed_and_others_are_not() {
        let values: Vec<f32> = (0..500).map(|k| (k as f32 * 0.37).sin() * 1e-3).chain([0.0; 500]).collect();
        let little: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let big: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        assert!(is_swapped(&big, false) && is_swapped(&little, true));
        assert!(!is_swapped(&little, false) && !is_swapped(&big, true));
        assert!(!is_swapped(&[0; 400], false) && !is_swapped(&[], true));
    }
}
