//! Stress: what may happen now and then happens all the time, so that a mistake shows close to where it was made.

#[cfg(doc)]
use super::{Attach, Metrics, Mutator};

/// How a mutator is put under stress ([`Attach::stress`]): for the tests of whoever embeds this crate.
///
/// An `unsafe` mistake about references (one that was given up twice, or kept without being counted) does its damage when the object is
/// freed, and is seen when its memory is used for something else: both may be far away, or not happen in a test at all. Under stress
///
/// - each allocation, and each [charge](Mutator::charge), does a step of [`Budget::Units(1)`](crate::Budget::Units) if anything is dead,
///   whatever the pacing says, so that an object is taken apart in as many pieces as can be, with the program running in between;
/// - each [`poll`](Mutator::poll) is a [`safepoint`](Mutator::safepoint), and each safepoint does a step of one unit of the search for
///   garbage cycles. A trial begins as soon as the one before has ended and there is a candidate, and its lists have hardly any room, so that it
///   finds what it looks at by walking through the heap, at no cost in units. Cycles through the cells of the
///   standard library are not found in such steps, which are too small for them ([`cell`](crate::cell)), but by
///   [`collect`](Mutator::collect);
/// - memory is filled with [`Stress::POISON`] when it is freed: that of objects and raw blocks, also by other threads. No block is kept
///   at hand. (The engine links free blocks through their first word, and its `debug` and `secure` builds have patterns of their own.)
/// - every so many beats what is counted is compared with what lies in the heap, and the whole heap is
///   [verified](Mutator::verify). What does not fit comes out of the next safepoint as a panic.
///
/// What the program itself sees is the same: beats, fuel, limits, and its results. Not the same are the counts of steps and trials, the
/// order in which objects go, how much memory is held for what is dead, and so when handlers of pressure are called: a unit for an
/// allocation may be less than is owed, and then [`Metrics::debt`] grows. It is slower by far, the more so where much is a candidate.
///
/// ```
/// use mimalloc_runtime::{Runtime, Stress};
/// let mutator = Runtime::new()?.attaching().stress(Some(Stress::new())).attach()?;
/// for _ in 0..100 {
///     // ... the embedder's own test ...
///     drop(mutator.alloc([1u64; 4]).expect("memory"));
///     mutator.poll(1)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stress {
    /// Beats; 0 for never.
    verify_every: u64,
}

impl Stress {
    /// What freed memory is filled with. A header of it is that of a dead object, of a type that a program hardly has, whose count does
    /// not move: where debug assertions are on, a reference that is taken or given up there stops the program.
    pub const POISON: u8 = 0xdb;

    /// All of it, with a comparison every 16 beats.
    pub fn new() -> Stress {
        Stress { verify_every: 16 }
    }

    /// How many beats there are from one comparison of the counts with the heap to the next; 0 for none at all. Each looks at all
    /// objects: **not bounded**.
    #[must_use]
    pub fn verify_every(self, beats: u64) -> Stress {
        Stress { verify_every: beats }
    }

    /// Whether a comparison is due, at beat `number` when `passed` have come at once.
    pub(super) fn verifies_at(self, number: u64, passed: u64) -> bool {
        let verified = |number: u64| number.checked_div(self.verify_every).unwrap_or(0);
        verified(number) > verified(number - passed)
    }
}

impl Default for Stress {
    fn default() -> Self {
        Stress::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Stress;

    #[test]
    fn comparisons_are_due_every_so_many_beats_also_when_several_pass_at_once() {
        let due = |every: u64, number, passed| Stress::new().verify_every(every).verifies_at(number, passed);
        assert_eq!([1, 2, 3, 4, 5, 6].map(|number| due(3, number, 1)), [false, false, true, false, false, true]);
        assert!(due(3, 100, 50) && due(1, 1, 1) && due(16, 17, 2) && !due(16, 18, 2));
        assert!(!due(0, 7, 7), "never");
    }
}
