//! Amounts as people read them.

use std::fmt;

/// Bytes, in the unit that leaves few digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes(pub(super) u64);

/// Nanoseconds, in the unit that leaves few digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nanoseconds(pub(super) u64);

/// A whole number with its digits in threes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        in_unit(f, self.0, &units, "B")
    }
}

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_unit(f, self.0, &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")], "ns")
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// With as many decimals as make three digits; in the smallest unit there are no parts.
fn in_unit(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(u64, &str)], smallest: &str) -> fmt::Result {
    let text = match units.iter().find(|(size, _)| amount >= *size) {
        None => format!("{amount} {smallest}"),
        Some((size, name)) => {
            let amount = amount as f64 / *size as f64;
            let decimals = match amount {
                ..10.0 => 2,
                ..100.0 => 1,
                _ => 0,
            };
            format!("{amount:.decimals$} {name}")
        }
    };
    f.pad(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_binary_units() {
        let texts = [0, 1023, 1024, 1536, 15 << 10, 200 << 20, 3 << 40].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(texts, ["0 B", "1023 B", "1.00 KiB", "1.50 KiB", "15.0 KiB", "200 MiB", "3.00 TiB"]);
    }

    #[test]
    fn times_have_decimal_units() {
        let texts = [0, 999, 1_000, 12_345, 999_000, 1_500_000, 72_000_000_000].map(|ns| Nanoseconds(ns).to_string());
        assert_eq!(texts, ["0 ns", "999 ns", "1.00 us", "12.3 us", "999 us", "1.50 ms", "72.0 s"]);
    }

    #[test]
    fn digits_stand_in_threes() {
        let texts = [0, 999, 1_000, 12_345, 1_234_567].map(|count| Count(count).to_string());
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(format!("{:>6}", Count(1_000)), " 1,000");
    }
}
