//! How much work a collection may do, and what it did.

use std::time::{Duration, Instant};

/// How much work a collection may do.
///
/// A *unit* is one slot visited, one object freed, or one object looked at in the search for garbage cycles. See [`SLACK_UNITS`](super::SLACK_UNITS) for how exactly it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Budget {
    /// At most so many units, and [`SLACK_UNITS`](super::SLACK_UNITS) more.
    Units(u64),
    /// Until so many bytes of objects have been freed. What this costs in units has no bound by itself: the next object
    /// to be freed may have any number of slots.
    Bytes(u64),
    /// Until so much time has passed by the monotonic clock, which is read after every 32 units. So at least 32 units are
    /// done, unless the time is zero: a thread that lost its processor for a moment still gets on.
    Time(Duration),
    /// Until nothing is left, large blocks included.
    Unbounded,
}

/// Why a collection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Nothing is left but, perhaps, [`large`](Progress::large) blocks.
    Done,
    /// The budget is used up.
    Budget,
    /// Another collection of the same mutator is running further up this call stack (the caller is code that it called:
    /// a `Drop`, a handler). Nothing was done and nothing is lost: the one that runs goes on.
    Busy,
}

/// Objects and their bytes, headers included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How many.
    pub objects: u64,
    /// Their bytes, as they were asked for plus the header, rounded up to 16.
    pub bytes: u64,
}

impl Tally {
    #[inline(always)]
    pub(crate) fn plus(self, bytes: u64) -> Tally {
        Tally { objects: self.objects + 1, bytes: self.bytes + bytes }
    }

    pub(crate) fn less(self, other: Tally) -> Tally {
        Tally { objects: self.objects - other.objects, bytes: self.bytes - other.bytes }
    }

    pub(crate) fn and(self, other: Tally) -> Tally {
        Tally { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

/// What a collection did and what it left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Why it ended.
    pub stop: Stop,
    /// Units of work done.
    pub units: u64,
    /// Of these, units of the search for garbage cycles: objects looked at, and slots followed.
    pub search_units: u64,
    /// What it freed.
    pub freed: Tally,
    /// Of these, blocks whose free was a long engine call ([`large`](Progress::large)); each is one unit, and no unit says how long it took.
    pub large_freed: u64,
    /// What is known to be dead and is not yet freed, `large` included. Objects that only dead objects refer to are not
    /// in it until they are reached.
    pub pending: Tally,
    /// Dead blocks, done but for their free, that wait for [`release_memory`](crate::Mutator::release_memory).
    pub large: Tally,
}

impl Progress {
    /// Whether a collection has nothing left to do. Dead [`large`](Progress::large) blocks may still wait for a place that
    /// may: a loop that collects until this is true ends all the same.
    pub fn is_done(&self) -> bool {
        self.stop == Stop::Done
    }
}

/// The clock is read when so many units were done since it was last read.
const CLOCK_UNITS: u64 = 32;

/// A budget being used up. All limits hold at once; an absent one is the largest number.
#[derive(Debug)]
pub(crate) struct Meter {
    units_left: u64,
    bytes_left: u64,
    deadline: Option<Deadline>,
    pub(crate) units: u64,
    pub(crate) search_units: u64,
    pub(crate) freed: Tally,
    pub(crate) large_freed: u64,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    /// Units done when the clock is next read.
    next_look: u64,
    passed: bool,
}

impl Meter {
    pub(crate) fn new(budget: Budget) -> Meter {
        let mut meter = Meter {
            units_left: u64::MAX,
            bytes_left: u64::MAX,
            deadline: None,
            units: 0,
            search_units: 0,
            freed: Tally::default(),
            large_freed: 0,
        };
        meter.limit(budget);
        meter
    }

    /// Adds a limit.
    pub(crate) fn limit(&mut self, budget: Budget) {
        match budget {
            Budget::Units(units) => self.units_left = self.units_left.min(units),
            Budget::Bytes(bytes) => self.bytes_left = self.bytes_left.min(bytes),
            Budget::Time(time) => {
                // A duration too long to be added is no limit.
                let Some(at) = Instant::now().checked_add(time) else { return };
                if self.deadline.as_ref().is_none_or(|earlier| at < earlier.at) {
                    self.deadline = Some(Deadline { at, next_look: CLOCK_UNITS, passed: time.is_zero() });
                }
            }
            Budget::Unbounded => {}
        }
    }

    /// Whether the budget still admits a unit of work.
    #[inline(always)]
    pub(crate) fn admits(&mut self) -> bool {
        if self.units_left == 0 || self.bytes_left == 0 {
            return false;
        }
        match &mut self.deadline {
            None => true,
            Some(deadline) => {
                if self.units >= deadline.next_look {
                    deadline.passed = Instant::now() >= deadline.at;
                    deadline.next_look = self.units + CLOCK_UNITS;
                }
                !deadline.passed
            }
        }
    }

    /// Whether there is any limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.units_left < u64::MAX || self.bytes_left < u64::MAX || self.deadline.is_some()
    }

    /// Nothing more is admitted.
    pub(crate) fn exhaust(&mut self) {
        self.units_left = 0;
    }

    /// Whether at least so many bytes are still to be freed.
    pub(crate) fn owes(&self, bytes: u64) -> bool {
        self.bytes_left >= bytes
    }

    /// How many units may be done before [`admits`](Meter::admits) must be asked again. At least 1 when it admits.
    #[inline(always)]
    pub(crate) fn units_now(&self) -> usize {
        let units = if self.deadline.is_some() { self.units_left.min(CLOCK_UNITS) } else { self.units_left };
        usize::try_from(units).unwrap_or(usize::MAX)
    }

    #[inline(always)]
    pub(crate) fn visited(&mut self, units: u64) {
        self.units += units;
        self.units_left = self.units_left.saturating_sub(units);
    }

    #[inline]
    pub(crate) fn searched(&mut self, units: u64) {
        self.search_units += units;
        self.visited(units);
    }

    /// Objects were freed, in so many units of work.
    #[inline(always)]
    pub(crate) fn freed(&mut self, freed: Tally, units: u64) {
        self.visited(units);
        self.bytes_left = self.bytes_left.saturating_sub(freed.bytes);
        self.freed.objects += freed.objects;
        self.freed.bytes += freed.bytes;
    }

    #[inline(always)]
    pub(crate) fn bytes_left(&self) -> u64 {
        self.bytes_left
    }
}
