//! Limits of memory: how near a mutator is to its own, and who is told.

#[cfg(doc)]
use crate::error::OutOfMemory;
use crate::error::{Error, ErrorKind};
use crate::fallible;

#[cfg(doc)]
use super::metrics::{Metrics, Rung};
use super::mutator::Mutator;
#[cfg(doc)]
use super::setup::Attach;
use super::subscribers::Subscription;
use super::wall::Wall;

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

impl Mutator {
    /// Bytes of all blocks in use: objects live, pending and given up, and raw blocks, containers that lie in the heap included
    /// (how blocks are counted, [`Metrics`] says).
    pub fn in_use(&self) -> u64 {
        self.state().in_use()
    }

    /// The limit on the bytes in use.
    pub fn limit(&self) -> Option<u64> {
        self.state().limit()
    }

    /// Sets the limit on the bytes in use; `None` for none. It may be less than what is in use: then nothing is allocated until
    /// enough has become free.
    ///
    /// An allocation with which more would be in use, blocks kept at hand included, first tries to make room ([`Rung`]): what
    /// is dead is freed, as much as is needed; then the handlers of [`on_pressure`](Mutator::on_pressure) are called. If that does not help it
    /// is refused with [`OutOfMemory`]. While a block is made larger, both sizes count. To make one smaller is never refused by a limit.
    ///
    /// # Cost
    /// None on the allocation path. Near the limit the slow path is taken more often: at least once for as many bytes
    /// as there are left, kept blocks taken off.
    ///
    /// ```
    /// # use mimalloc_runtime::Runtime;
    /// let mutator = Runtime::new()?.attaching().limit(Some(1 << 20)).attach()?;
    /// let mut texts = Vec::new();
    /// while let Ok(text) = mutator.alloc_tail_copy((), b"a text of its own") {
    ///     texts.push(text);
    /// }
    /// assert!(mutator.in_use() <= 1 << 20);
    /// drop(texts);
    /// assert!(mutator.alloc([0u8; 1000]).is_ok()); // what is dead makes room
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    pub fn set_limit(&self, bytes: Option<u64>) {
        self.state().set_limit(bytes);
    }

    /// Calls `handler` when memory is short, for as long as the mutator is attached or until
    /// [`unsubscribe`](Mutator::unsubscribe):
    ///
    /// - when the bytes in use reach a threshold ([`PressureLevel::High`], [`PressureLevel::Critical`]), on the allocation path as
    ///   a beat handler is; again only when they have been below it by a sixteenth of the limit, as is looked at on each beat and where a
    ///   threshold could be reached: what falls and rises again between two such moments is not seen;
    /// - when an allocation finds no room ([`PressureLevel::Full`]), by the limit or in the engine. What the handler drops may
    ///   make room: the allocation is tried once more.
    ///
    /// It may do what a beat handler may do (the crate has a [table](crate#what-a-handler-may-do)), also raise the limit. While it
    /// runs it is not called anew.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`].
    ///
    /// ```
    /// # use mimalloc_runtime::{PressureLevel, Runtime};
    /// # use std::{cell::RefCell, rc::Rc};
    /// let mutator = Runtime::new()?.attaching().limit(Some(64 << 10)).attach()?;
    /// let cache = Rc::new(RefCell::new(Vec::new()));
    /// let emptied = Rc::clone(&cache);
    /// mutator.on_pressure(move |_, pressure| {
    ///     if pressure.level == PressureLevel::Full {
    ///         emptied.borrow_mut().clear();
    ///     }
    /// })?;
    /// for number in 0..1_000 {
    ///     let value = mutator.alloc([number; 100]).expect("the cache makes room");
    ///     cache.borrow_mut().push(value);
    /// }
    /// # drop(cache);
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    pub fn on_pressure(&self, handler: impl FnMut(&Mutator, Pressure) + 'static) -> Result<Subscription, Error> {
        self.state().subscribe_to_pressure(fallible::boxed(handler)?)
    }

    /// Lets the `nth` allocation from now on fail, once, as if there were no room whatever is tried; 0 for none. Returns how many
    /// allocations were left of a count that was set before: 0 when that has failed.
    ///
    /// For tests of what a program does when memory runs out: run it for `nth` = 1, 2, and so on, until the count is not used up.
    /// Objects, raw blocks and containers of the heap count alike; what Rust's global allocator does, does not. Meanwhile
    /// each allocation takes the slow path.
    ///
    /// ```
    /// # use mimalloc_runtime::Runtime;
    /// let mutator = Runtime::new()?.attach()?;
    /// let program = || {
    ///     let first = mutator.alloc(1).ok()?;
    ///     mutator.alloc((first, 2)).ok()
    /// };
    /// let mut failures = 0;
    /// for nth in 1.. {
    ///     mutator.fail_allocation(nth);
    ///     let result = program();
    ///     if mutator.fail_allocation(0) > 0 {
    ///         assert!(result.is_some());
    ///         break;
    ///     }
    ///     failures += 1;
    ///     assert!(result.is_none());
    ///     assert_eq!(mutator.in_use(), 0);
    /// }
    /// assert_eq!(failures, 2);
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    pub fn fail_allocation(&self, nth: u64) -> u64 {
        self.state().fail_allocation(nth)
    }

    /// How many bytes the [wall](Attach::wall) of this mutator's heap encloses: at least what was asked for. `None` if it has none.
    pub fn wall(&self) -> Option<u64> {
        self.state().heap.wall().map(Wall::bytes)
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
