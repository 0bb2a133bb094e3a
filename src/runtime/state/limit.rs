//! Limits: whether an allocation may be made, and what is tried before it is refused.
//!
//! Invariant LIMIT: with a limit, the bytes that are counted for blocks in use and for blocks kept at hand do not exceed it,
//! from one allocation to the next; and the counts are never below what the engine has in use of the mutator's blocks. (What earlier
//! mutators of a pooled heap have left in it is in no count; nor is what the engine's profiler takes for its samples.) The allocation path does not look at the limit: the clock's grant ends where it could be passed ([`State::room`]), and the poll that follows
//! decides before any memory is taken.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::deferred::{Budget, Large, Meter, Search};
use crate::heartbeat;
use crate::runtime::heap;
use crate::runtime::metrics::{Cause, Ladder, Rung};
use crate::runtime::mutator::Mutator;
use crate::runtime::pressure::{Pressure, PressureLevel};
use crate::runtime::subscribers::{Call, PressureHandler};
use crate::runtime::wall::Wall;

use super::State;

/// No limit.
pub(super) const NONE: u64 = u64::MAX;

fn option(limit: u64) -> Option<u64> {
    (limit < NONE).then_some(limit)
}

/// A threshold is told again when a poll has found the bytes in use below it by this part of the limit.
const REARM: u64 = 16;

/// Why an allocation finds no room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortage {
    /// The limit would be passed.
    Limit,
    /// The engine has no memory for so many bytes.
    Engine(u64),
    /// Somebody wants to see what happens then ([`Mutator::fail_allocation`]): nothing is found whatever is tried.
    Pretended(u64),
}

impl State {
    /// Bytes of blocks in use: objects live, pending and given up, and raw blocks. What is charged and about to be allocated is
    /// among them.
    pub(in crate::runtime) fn in_use(&self) -> u64 {
        self.allocated.get().bytes - self.pending.freed().bytes + self.blocks()
    }

    pub(in crate::runtime) fn limit(&self) -> Option<u64> {
        option(self.limit.get())
    }

    /// Where the bytes in use end: at the limit, or when the heap's wall is full. That the engine finds out, as not all that is counted
    /// need be in use.
    fn cap(&self) -> u64 {
        self.heap.wall().map_or(NONE, Wall::bytes).min(self.limit.get())
    }

    pub(in crate::runtime) fn set_limit(&self, limit: Option<u64>) {
        self.limit.set(limit.unwrap_or(NONE));
        self.grant_anew();
    }

    /// Lets the `nth` allocation from now on fail; 0 for none. Returns what was left of the count before.
    pub(in crate::runtime) fn fail_allocation(&self, nth: u64) -> u64 {
        let left = self.failing.replace(nth);
        self.grant_anew();
        left
    }

    /// By how many bytes the limit is passed. What is kept at hand counts: the engine has it in use.
    fn over(&self) -> u64 {
        let (limit, in_use) = (self.limit.get(), self.in_use());
        if in_use.saturating_add(heap::MOST_KEPT_BYTES) <= limit {
            return 0;
        }
        (in_use + self.heap.kept_bytes()).saturating_sub(limit)
    }

    /// Bytes that can be charged before the limit or the next threshold could be passed.
    pub(super) fn room(&self) -> u64 {
        let (limit, cap) = (self.limit.get(), self.cap());
        if self.failing.get() > 0 {
            return 0;
        }
        if cap == NONE {
            return u64::MAX;
        }
        let in_use = self.in_use();
        let to_threshold = self.thresholds.to_next(cap, in_use).unwrap_or(u64::MAX);
        if limit == NONE {
            return to_threshold;
        }
        let to_limit = limit.saturating_sub(in_use);
        // Far from the limit, the most that can be kept stands for what is.
        let kept = if to_limit > 2 * heap::MOST_KEPT_BYTES { heap::MOST_KEPT_BYTES } else { self.heap.kept_bytes() };
        to_threshold.min(to_limit.saturating_sub(kept))
    }

    /// Whether a block of `coming` bytes, which have been charged, may be allocated. If not, they count as freed.
    pub(super) fn admit(&self, coming: u64) -> bool {
        if coming == 0 {
            return true;
        }
        let left = self.failing.get();
        self.failing.set(left.saturating_sub(1));
        let admitted = match left {
            1 => self.climb(Shortage::Pretended(coming), || None),
            _ if self.over() == 0 => return true,
            _ => self.climb(Shortage::Limit, || (self.over() == 0).then_some(())),
        };
        if admitted.is_none() {
            self.note_freed(coming);
        }
        self.show(if admitted.is_some() { coming } else { 0 });
        admitted.is_some()
    }

    /// The engine has no memory for `bytes`, which have been charged: makes room, and tries again after each rung.
    pub(super) fn rescue<R>(&self, bytes: u64, retry: impl Fn() -> Option<R>) -> Option<R> {
        // The forced call that the engine made before it gave up was ours, and so are those that it makes now.
        heartbeat::claim_forced();
        let found = self.climb(Shortage::Engine(bytes), || heartbeat::causing(&retry));
        self.show(bytes);
        if !self.is_attached() {
            self.detached_within();
        }
        found
    }

    /// Climbs the ladder until `try_again` finds something. None of it is bounded.
    fn climb<R>(&self, shortage: Shortage, try_again: impl Fn() -> Option<R>) -> Option<R> {
        let count = |count: fn(&mut Ladder, usize), rung: Rung| {
            let mut ladder = self.ladder.get();
            count(&mut ladder, rung as usize);
            self.ladder.set(ladder);
        };
        let found = Rung::ALL.into_iter().find_map(|rung| {
            match rung {
                Rung::Drain => {}
                Rung::Cycles => {
                    if !self.pending.cycles().is_worthwhile() {
                        return None;
                    }
                    let (budget, large) = (Budget::Unbounded, Large::Free);
                    self.step_with(Cause::OutOfMemory, budget, Meter::new(budget), large, Search::All);
                }
                Rung::Pressure => {
                    if !self.tell_pressure(PressureLevel::Full, self.needed(shortage)) {
                        return None;
                    }
                }
            }
            count(|ladder, rung| ladder.climbed[rung] += 1, rung);
            self.drain_for(shortage);
            let found = try_again()?;
            count(|ladder, rung| ladder.helped[rung] += 1, rung);
            Some(found)
        });
        if found.is_none() {
            count(|ladder, _| ladder.refused += 1, Rung::Pressure);
        }
        // All that may have taken long.
        self.interrupts.look_at_clock();
        found
    }

    fn needed(&self, shortage: Shortage) -> u64 {
        match shortage {
            Shortage::Limit => self.over(),
            Shortage::Engine(bytes) | Shortage::Pretended(bytes) => bytes,
        }
    }

    /// Gives the engine what is kept at hand and what is dead: as much as a limit is passed by, or all of it.
    fn drain_for(&self, shortage: Shortage) {
        self.heap.free_kept();
        let budget = match shortage {
            Shortage::Limit => Budget::Bytes(self.over()),
            Shortage::Engine(_) | Shortage::Pretended(_) => Budget::Unbounded,
        };
        if budget != Budget::Bytes(0) && self.pending.has_work_for(u64::MAX) {
            self.step(Cause::OutOfMemory, budget, Meter::new(budget), Large::Free);
            self.heap.free_kept();
        }
        if let Shortage::Engine(_) = shortage {
            // The engine has looked for empty pages in the one of the two heaps that it has none for.
            heartbeat::causing(|| self.heap.collect());
        }
    }

    /// Looks at how near the limit is: the nearer, the more allocation pays.
    pub(super) fn look_at_pressure(&self) {
        let limit = self.cap();
        let level = if limit == NONE { None } else { self.thresholds.level(limit, self.in_use()) };
        self.pacer.set_boost(PressureLevel::boost(level));
    }

    /// Tells handlers of a level that has been reached since they were told last, or since a lower one held.
    pub(super) fn tell_rising_pressure(&self) {
        let limit = self.cap();
        if limit == NONE {
            return;
        }
        let in_use = self.in_use();
        let told = self.pressure_told.get();
        match self.thresholds.level(limit, in_use) {
            level if level > told => {
                self.pressure_told.set(level);
                if let Some(level) = level {
                    self.tell_pressure(level, 0);
                }
            }
            // Not at once when it falls, or a program that lives about a threshold would hear of it all the time.
            level if level < told => {
                let above = self.thresholds.level(limit, in_use.saturating_add(limit / REARM));
                self.pressure_told.set(told.min(above));
            }
            _ => {}
        }
    }

    /// Calls the handlers of memory pressure. One that is being called already is not called anew. False if there was none.
    fn tell_pressure(&self, level: PressureLevel, needed: u64) -> bool {
        let pressure = Pressure { level, in_use: self.in_use(), limit: option(self.cap()), needed };
        // SAFETY: this state, which an allocation is being made from and so is alive.
        let mutator = unsafe { Mutator::borrowed(NonNull::from(self)) };
        let called = Cell::new(false);
        let run = |handler: &mut PressureHandler| {
            called.set(true);
            self.guarded(|| handler(&mutator, pressure));
        };
        self.on_pressure.call(|()| Call::Again, run, |handler| self.drop_guarded(handler));
        called.get()
    }
}
