//! Numbers as text.

use std::fmt;

/// Significant digits shown.
const DIGITS: usize = 6;

/// A number as C's `%g` shows it: six significant digits, without trailing zeros, with an exponent where it is below -4 or
/// at least 6.
pub(crate) struct General(pub(crate) f64);

impl fmt::Display for General {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.is_nan() {
            return f.write_str("nan");
        }
        if number.is_infinite() {
            return f.write_str(if number > 0.0 { "inf" } else { "-inf" });
        }
        if number == number.trunc() && number.abs() < 1e6 && (number != 0.0 || number.is_sign_positive()) {
            return write!(f, "{}", number as i32);
        }
        // The exponent is that of the rounded number: 999999.5 has one more than its digits say.
        let scientific = format!("{number:.*e}", DIGITS - 1);
        let (mantissa, exponent) = scientific.split_once('e').ok_or(fmt::Error)?;
        let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
        if (-4..DIGITS as i32).contains(&exponent) {
            let decimals = (DIGITS as i32 - 1 - exponent) as usize;
            f.write_str(without_zeros(&format!("{number:.decimals$}")))
        } else {
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(f, "{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
        }
    }
}

/// Digits without the zeros that say nothing.
fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// The number that a text is: decimal digits with an optional sign, fraction and exponent, and whitespace around.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    // The standard library also reads words such as "inf".
    let numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'));
    if numeric { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_c_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (42.0, "42"),
            (-999_999.0, "-999999"),
            (1e6, "1e+06"),
            (999_999.5, "1e+06"),
            (123_456.5, "123456"),
            (123_457.5, "123458"),
            (0.5, "0.5"),
            (2.5, "2.5"),
            (0.000_1, "0.0001"),
            (0.000_099_999_95, "0.0001"),
            (0.000_01, "1e-05"),
            (1.0 / 1024.0, "0.000976562"),
            (1e100, "1e+100"),
            (-2.5e-100, "-2.5e-100"),
            (f64::MAX, "1.79769e+308"),
            (f64::from_bits(1), "4.94066e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(General(number).to_string(), text);
        }
    }

    #[test]
    fn text_is_a_number_or_not() {
        for (text, number) in [("12", 12.0), (" -2.5\n", -2.5), ("1e+06", 1e6), ("0.125", 0.125), (".5", 0.5)] {
            assert_eq!(parse(text), Some(number), "{text:?}");
        }
        for text in ["", " ", "-", "1 2", "ten", "inf", "nan", "0x10", "1_000", "e5", "1e", "--1", "1.2.3"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
