//! Ranges of numbers that a user chooses, in one place: the condition, and its words.

use crate::error::Fault;

/// Whether a number is finite and above 0.
pub fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// Whether a number is finite and from 0 on.
pub fn is_not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A fault unless a parameter is a finite number above 0.
pub fn positive(name: &str, value: f64) -> Result<(), Fault> {
    expect(is_positive(value), name, value, "above 0")
}

/// A fault unless a parameter is a finite number from 0 on.
pub fn not_negative(name: &str, value: f64) -> Result<(), Fault> {
    expect(is_not_negative(value), name, value, "from 0 on")
}

fn expect(holds: bool, name: &str, value: f64, range: &str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::new(format!("`{name}` is {value}, expected a finite number {range}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_in_one_of_the_two_ranges_and_what_is_not_finite_in_none() {
        assert!(is_positive(f64::MIN_POSITIVE) && !is_positive(0.0) && is_not_negative(0.0));
        for value in [-1e-300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!is_positive(value) && !is_not_negative(value), "{value}");
        }
        assert_eq!(positive("sigma", 0.0).unwrap_err().text, "`sigma` is 0, expected a finite number above 0");
        assert_eq!(not_negative("noise", -1.0).unwrap_err().text, "`noise` is -1, expected a finite number from 0 on");
    }
}
