//! Numbers with units.

use std::time::Duration;

use lox_vm::machine::HeapLimit;
use mimalloc_runtime::Budget;

use super::UsageError;

const SIZES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// In nanoseconds.
const TIMES: &[(&str, u64)] =
    &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000)];

/// Such as `64KiB`; a number alone is bytes.
pub(super) fn size(text: &str) -> Result<u64, UsageError> {
    let (number, unit) = split(text);
    let unit = if unit.is_empty() { "B" } else { unit };
    scaled(number, unit, SIZES)
        .ok_or_else(|| UsageError::new(format!("'{text}' is no size; give a whole number of B, KiB, MiB or GiB")))
}

/// Such as `64MiB` or `64MiB:walled`.
pub(super) fn heap_limit(text: &str) -> Result<HeapLimit, UsageError> {
    let (number, walled) = match text.split_once(':') {
        None => (text, false),
        Some((number, "walled")) => (number, true),
        Some((_, kind)) => {
            return Err(UsageError::new(format!(
                "'{kind}' is no kind of heap limit; give a size alone, or size:walled"
            )));
        }
    };
    Ok(HeapLimit { bytes: size(number)?, walled })
}

/// Such as `100us`, `500units` or `none`. A number alone would leave open of what, and is refused.
pub(super) fn pause_cap(text: &str) -> Result<Budget, UsageError> {
    if text == "none" {
        return Ok(Budget::Unbounded);
    }
    let (number, unit) = split(text);
    let cap = match unit {
        "unit" | "units" => number.parse().ok().map(Budget::Units),
        _ => scaled(number, unit, TIMES).map(|nanoseconds| Budget::Time(Duration::from_nanos(nanoseconds))),
    };
    cap.ok_or_else(|| {
        UsageError::new(format!(
            "'{text}' is no pause cap; give a whole number of ns, us, ms, s, min or units, such as 100us or 500units, or none"
        ))
    })
}

/// Such as `2s`. A number alone would leave open of what, and is refused.
pub(super) fn time(text: &str) -> Result<Duration, UsageError> {
    let (number, unit) = split(text);
    scaled(number, unit, TIMES).map(Duration::from_nanos).ok_or_else(|| {
        UsageError::new(format!("'{text}' is no time; give a whole number of ns, us, ms, s or min, such as 2s"))
    })
}

/// Such as `1000`.
pub(super) fn count(text: &str) -> Result<u64, UsageError> {
    let (number, unit) = split(text);
    let counted = number.parse().ok().filter(|_| unit.is_empty());
    counted.ok_or_else(|| UsageError::new(format!("'{text}' is no count; give a whole number such as 1000")))
}

/// Such as `1.5`.
pub(super) fn ratio(text: &str) -> Result<f64, UsageError> {
    text.parse().map_err(|_| UsageError::new(format!("'{text}' is no ratio; give a number such as 1.5")))
}

/// The digits at the start, and the rest.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Nothing when the number or the unit is none, or when the product is too large.
fn scaled(number: &str, unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("17B"), Ok(17));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("3MiB"), Ok(3 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for text in ["", "KiB", "-1", "1.5MiB", "1kib", "1KB", "1 KiB", "18446744073709551616", "17179869184GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn heap_limits() {
        assert_eq!(heap_limit("64MiB"), Ok(HeapLimit { bytes: 64 << 20, walled: false }));
        assert_eq!(heap_limit("1GiB:walled"), Ok(HeapLimit { bytes: 1 << 30, walled: true }));
        assert_eq!(heap_limit("100000"), Ok(HeapLimit { bytes: 100_000, walled: false }));
        for text in ["", "much", ":walled", "64MiB:", "64MiB:walls", "64MiB:walled:walled", "walled:64MiB", "-1MiB"] {
            assert!(heap_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(time("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(time("3min"), Ok(Duration::from_secs(180)));
        for text in ["", "2", "s", "-1s", "1.5s", "1h", "1m", "none", "2 s", "18446744074s"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!([count("0"), count("1000"), count("18446744073709551615")], [Ok(0), Ok(1000), Ok(u64::MAX)]);
        for text in ["", "-1", "+1", "1.5", "1k", "1_000", "18446744073709551616"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pause_caps() {
        assert_eq!(pause_cap("none"), Ok(Budget::Unbounded));
        assert_eq!(pause_cap("1unit"), Ok(Budget::Units(1)));
        assert_eq!(pause_cap("500units"), Ok(Budget::Units(500)));
        assert_eq!(pause_cap("250ns"), Ok(Budget::Time(Duration::from_nanos(250))));
        assert_eq!(pause_cap("100us"), Ok(Budget::Time(Duration::from_micros(100))));
        assert_eq!(pause_cap("2ms"), Ok(Budget::Time(Duration::from_millis(2))));
        assert_eq!(pause_cap("1s"), Ok(Budget::Time(Duration::from_secs(1))));
        for text in ["", "soon", "500", "-1", "us", "1h", "None", "99999999999999999999999", "18446744074s"] {
            assert!(pause_cap(text).is_err(), "{text}");
        }
    }
}
