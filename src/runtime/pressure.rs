//! Memory pressure: how near a mutator is to its limit.

use crate::error::{Error, ErrorKind};

/// How near to its limit a mutator is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum PressureLevel {
    /// The first threshold has been reached, 75 % of the limit if not said otherwise
    /// ([`Attach::pressure_at`](crate::Attach::pressure_at)). Allocation pays twice what the pacing says.
    High,
    /// The second one has been, 90 % if not said otherwise. Allocation pays four times what the pacing says.
    Critical,
    /// An allocation finds no room: the limit is reached, or the engine has no memory. What is dead has been freed.
    Full,
}

impl PressureLevel {
    /// By what the pacing's ratio is multiplied.
    pub(super) fn boost(level: Option<PressureLevel>) -> f64 {
        match level {
            None => 1.0,
            Some(PressureLevel::High) => 2.0,
            Some(PressureLevel::Critical | PressureLevel::Full) => 4.0,
        }
    }
}

/// What handlers of memory pressure are told ([`Mutator::on_pressure`](crate::Mutator::on_pressure)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// How near the limit is.
    pub level: PressureLevel,
    /// Bytes of blocks in use, and those that are to be allocated.
    pub in_use: u64,
    /// The limit, or the size of the wall if that is less; `None` when there is neither and the engine has no memory.
    pub limit: Option<u64>,
    /// At [`Full`](PressureLevel::Full), the bytes that must become free for the allocation to be made; if the engine has no
    /// memory, those of the allocation. 0 otherwise.
    pub needed: u64,
}

/// The limits of a mutator's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Limits {
    /// Of blocks in use.
    pub(super) bytes: Option<u64>,
    /// Of the memory that the heap is confined to.
    pub(super) wall: Option<u64>,
    pub(super) thresholds: Thresholds,
}

/// From how many per cent of the limit on pressure is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Thresholds {
    high: u8,
    critical: u8,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { high: 75, critical: 90 }
    }
}

impl Thresholds {
    pub(super) fn new(high: u8, critical: u8) -> Result<Thresholds, Error> {
        if (1..=critical).contains(&high) && critical <= 100 {
            Ok(Thresholds { high, critical })
        } else {
            Err(Error::new(
                ErrorKind::InvalidSetting,
                format!(
                    "pressure is to be told at {high} % and {critical} % of the limit; give the lower threshold first, and \
                     both between 1 and 100"
                ),
            ))
        }
    }

    /// Both in bytes, lower first.
    fn of(self, limit: u64) -> [(u64, PressureLevel); 2] {
        // Rounded down, in this order: a limit can be as large as there are numbers.
        let part = |percent: u8| limit / 100 * u64::from(percent) + limit % 100 * u64::from(percent) / 100;
        [(part(self.high), PressureLevel::High), (part(self.critical), PressureLevel::Critical)]
    }

    /// The level of so many bytes.
    pub(super) fn level(self, limit: u64, bytes: u64) -> Option<PressureLevel> {
        self.of(limit).into_iter().rev().find_map(|(threshold, level)| (bytes >= threshold).then_some(level))
    }

    /// The bytes to the next threshold, if there is one.
    pub(super) fn to_next(self, limit: u64, bytes: u64) -> Option<u64> {
        self.of(limit).into_iter().find_map(|(threshold, _)| threshold.checked_sub(bytes).filter(|bytes| *bytes > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_at_their_thresholds() {
        let thresholds = Thresholds::default();
        for limit in [0, 1, 99, 100, 1000, 64 << 20, u64::MAX - 1] {
            let [(high, _), (critical, _)] = thresholds.of(limit);
            assert!(high <= critical && critical <= limit);
            assert_eq!(u128::from(high), u128::from(limit) * 75 / 100);
            assert_eq!(u128::from(critical), u128::from(limit) * 90 / 100);
            if high > 0 {
                assert_eq!(thresholds.level(limit, high - 1), None);
                assert_eq!(thresholds.to_next(limit, high - 1), Some(1));
            }
            assert_eq!(thresholds.level(limit, critical), Some(PressureLevel::Critical));
            assert_eq!(thresholds.to_next(limit, critical), None);
        }
    }

    #[test]
    fn thresholds_out_of_order_or_range_say_so() {
        for (high, critical) in [(0, 90), (91, 90), (75, 101), (0, 0)] {
            assert_eq!(Thresholds::new(high, critical).unwrap_err().kind(), ErrorKind::InvalidSetting);
        }
        assert!(Thresholds::new(1, 100).is_ok() && Thresholds::new(50, 50).is_ok());
    }
}
