//! How much freeing an allocation pays for.
//!
//! # Theory (promise P2)
//!
//! A constant number of frees per allocation can blow space up by the ratio of object sizes (H.-J. Boehm, *The Space Cost
//! of Lazy Reference Counting*, POPL 2004): an allocation of 1 MiB would pay with the free of 16 bytes. So the debt is
//! counted in **bytes**. With `a` the bytes allocated since some moment, `f` the bytes freed since, ratio `r >= 1`:
//!
//! ```text
//! debt = r * a - f        never below 0, and 0 whenever nothing is pending
//! ```
//!
//! Allocation is charged *before* the memory is taken. When an installment's worth of bytes has been charged, or when one
//! allocation is larger than what is left of it, a step is due: a drain that goes on until the debt is paid, nothing is
//! pending, or the pause cap is reached. What the cap leaves unpaid is *carried over*.
//!
//! Let `T` be all bytes allocated and not freed, live or pending. When nothing was pending last, at time 0, all of `T(0)`
//! was live, so `T(0) <= L`, the peak of live bytes. Since then `T = T(0) + a - f`. Of `a`, at most an installment `I` has
//! not been charged to the debt, and of the charged part `a'`, `a' - f <= r * a' - f <= debt`. Hence at every moment
//!
//! ```text
//! live + pending  <=  L + I + carried over
//! ```
//!
//! Without a pause cap a step pays all that is owed, save that a large block waits until its own size is owed: then nothing
//! is carried over but, while one waits, at most the size of the largest. The price of having no cap is the length of a
//! step: it frees at least `r * I` bytes but may have to visit every slot of the object at hand to do so.
//!
//! What dies while a search for garbage cycles has it on a list leaves its memory there until the search lets go of it, and no step of the drain can pay with that: it is
//! carried over too. Of the candidates that wait for a search that is 16 bytes each, or 16 KiB, before they are gone through (`pace`).
//!
//! With a cap of `C` units a step is at most `C + c` units ([`SLACK_UNITS`](super::SLACK_UNITS)). Where references lie in
//! the objects themselves, in fields and [`Tail`](crate::Tail)s, an object of `n` slots has at least `8 n` bytes, so visiting and
//! freeing costs at most one unit for 8 bytes; then a cap of at least `r * I / 8` units, on allocations no larger than `I`,
//! carries over at most what is being spent on the object in hand. Two things can outrun a cap, and the debt
//! ([`Metrics::debt`](crate::Metrics::debt)) shows it: a sequence of allocations much larger than `8 * C / r` bytes, and objects
//! that keep many references in memory that is not counted, such as a `Vec` of Rust's own heap. For the second use a `Tail`,
//! whose items are counted, charged and freed with the object; for both, a higher cap or none.

use core::cell::Cell;

use crate::error::{Error, ErrorKind};

use super::budget::{Budget, Meter};

/// When dead objects are freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// In steps, paid for by allocation. The default.
    Paced,
    /// All of it, at the moment something dies: one step without a budget, still without recursion. How a reference
    /// count is usually implemented; here for comparison and for programs that never want to hold a dead object.
    Eager,
}

/// How freeing is paced. Set when a mutator is attached.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pacing {
    ratio: f64,
    installment: usize,
    pause_cap: Budget,
    schedule: Schedule,
}

impl Default for Pacing {
    /// 1.5 bytes freed for each byte allocated, in installments of 4 KiB, in steps of at most 10,000 units.
    fn default() -> Self {
        Pacing { ratio: 1.5, installment: 4096, pause_cap: Budget::Units(10_000), schedule: Schedule::Paced }
    }
}

impl Pacing {
    /// Frees everything the moment it dies.
    pub fn eager() -> Pacing {
        Pacing { schedule: Schedule::Eager, pause_cap: Budget::Unbounded, ..Pacing::default() }
    }

    /// A step of one unit at every allocation: the schedule under which a missing or a doubled reference shows soonest.
    pub fn stress() -> Pacing {
        Pacing { installment: 1, pause_cap: Budget::Units(1), ..Pacing::default() }
    }

    /// Bytes freed for each byte allocated, from 1 to 1,000,000.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] outside this range. Below 1 space would grow without bound.
    pub fn with_ratio(self, ratio: f64) -> Result<Pacing, Error> {
        if (1.0..=1e6).contains(&ratio) {
            Ok(Pacing { ratio, ..self })
        } else {
            Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("the pacing ratio is {ratio}; it must lie between 1 and 1,000,000"),
            ))
        }
    }

    /// Bytes allocated between two steps, from 1 byte to 1 GiB.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] outside this range.
    pub fn with_installment(self, bytes: usize) -> Result<Pacing, Error> {
        if (1..=1 << 30).contains(&bytes) {
            Ok(Pacing { installment: bytes, ..self })
        } else {
            Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("the pacing installment is {bytes} bytes; it must lie between 1 byte and 1 GiB"),
            ))
        }
    }

    /// The most that one step may do; [`Budget::Unbounded`] for no cap.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for a cap of nothing: no step would ever do anything.
    pub fn with_pause_cap(self, cap: Budget) -> Result<Pacing, Error> {
        let nothing = match cap {
            Budget::Units(units) => units == 0,
            Budget::Bytes(bytes) => bytes == 0,
            Budget::Time(time) => time.is_zero(),
            Budget::Unbounded => false,
        };
        if nothing {
            Err(Error::new(
                ErrorKind::InvalidSetting,
                "the pause cap is zero; give at least 1 unit, or Budget::Unbounded",
            ))
        } else {
            Ok(Pacing { pause_cap: cap, ..self })
        }
    }

    /// Bytes freed for each byte allocated.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Bytes allocated between two steps.
    pub fn installment(&self) -> usize {
        self.installment
    }

    /// The most that one step may do.
    pub fn pause_cap(&self) -> Budget {
        self.pause_cap
    }

    /// When dead objects are freed.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }
}

/// A mutator's debt.
#[derive(Debug)]
pub(crate) struct Pacer {
    pacing: Pacing,
    /// By what the ratio is multiplied: more than 1 when memory is short.
    boost: Cell<f64>,
    debt: Cell<u64>,
}

impl Pacer {
    pub(crate) fn new(pacing: Pacing) -> Pacer {
        Pacer { pacing, boost: Cell::new(1.0), debt: Cell::new(0) }
    }

    pub(crate) fn pacing(&self) -> &Pacing {
        &self.pacing
    }

    /// Multiplies the ratio, from now on, by `boost`, which is at least 1: the theory holds for each such ratio.
    pub(crate) fn set_boost(&self, boost: f64) {
        debug_assert!(boost >= 1.0);
        self.boost.set(boost);
    }

    /// Bytes carried over.
    pub(crate) fn debt(&self) -> u64 {
        self.debt.get()
    }

    /// Charges for bytes about to be allocated.
    pub(crate) fn charge(&self, bytes: u64) {
        // A float holds 2^53 bytes exactly, and the conversion saturates.
        let debt = (bytes as f64 * self.pacing.ratio * self.boost.get()) as u64;
        self.debt.set(self.debt.get().saturating_add(debt));
    }

    /// The meter for a step that pays the debt.
    pub(crate) fn step(&self) -> Meter {
        let mut meter = Meter::new(Budget::Bytes(self.debt.get()));
        meter.limit(self.pacing.pause_cap);
        meter
    }

    /// Takes note of what was freed, by whatever collection, and of whether anything is left.
    pub(crate) fn credit(&self, freed: u64, pending: u64) {
        self.debt.set(if pending == 0 { 0 } else { self.debt.get().saturating_sub(freed) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_their_range_say_so() {
        let pacing = Pacing::default();
        for ratio in [0.0, 0.999, -1.0, f64::NAN, f64::INFINITY, 1e6 + 1.0] {
            assert_eq!(pacing.with_ratio(ratio).unwrap_err().kind(), ErrorKind::InvalidSetting);
        }
        for bytes in [0, (1 << 30) + 1, usize::MAX] {
            assert_eq!(pacing.with_installment(bytes).unwrap_err().kind(), ErrorKind::InvalidSetting);
        }
        for cap in [Budget::Units(0), Budget::Bytes(0), Budget::Time(core::time::Duration::ZERO)] {
            assert_eq!(pacing.with_pause_cap(cap).unwrap_err().kind(), ErrorKind::InvalidSetting);
        }
        assert!(pacing.with_ratio(1.0).is_ok() && pacing.with_installment(1).is_ok());
    }

    #[test]
    fn the_debt_saturates_and_is_forgiven_when_nothing_is_pending() {
        let pacer = Pacer::new(Pacing::default().with_ratio(1e6).unwrap());
        pacer.charge(u64::MAX);
        pacer.charge(u64::MAX);
        assert_eq!(pacer.debt(), u64::MAX);
        pacer.credit(1, 5);
        assert_eq!(pacer.debt(), u64::MAX - 1);
        pacer.credit(0, 0);
        assert_eq!(pacer.debt(), 0);
    }
}
