//! Steps: what is due on the allocation path, and the collections of all causes.

use core::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::deferred::{Budget, InUse, Large, Meter, Progress, Search, Stop};
use crate::heartbeat::Beat;
use crate::runtime::metrics::{Cause, Step};
use crate::runtime::mutator::Mutator;
use crate::runtime::subscribers::BeatHandler;
#[cfg(feature = "tracing")]
use crate::traced::event;

use super::{Outcome, State};

impl State {
    /// What is due on the allocation path: payment, beats, the limit, and the next grant. `coming` bytes have been charged and are
    /// about to be allocated. False if they may not be: then they are not charged any more as bytes in use.
    #[cold]
    #[inline(never)]
    pub(super) fn poll(&self, coming: u64) -> bool {
        if self.polling.replace(true) {
            // An allocation by a handler or a drop that this poll has called: it is charged, and pays later.
            let bytes = self.clock.settle();
            self.pacer.charge(bytes);
            self.pay_for_search(bytes);
            return self.admit(coming);
        }
        let bytes = self.clock.settle();
        self.sample(coming);
        self.look_at_pressure();
        self.pacer.charge(bytes);
        self.pay_for_search(bytes);
        let beat = self.clock.beat();
        let cause = match beat {
            None => Cause::Installment,
            Some(_) => {
                self.pacer.charge(self.pacer.pacing().installment() as u64);
                self.heap.free_some_kept();
                Cause::Beat
            }
        };
        if self.is_stressed() {
            if !self.step_by_one(cause) {
                self.pacer.credit(0, self.pending.tally().bytes);
            }
        } else if self.pending.has_work_for(self.pacer.debt()) {
            self.step(cause, self.pacer.pacing().pause_cap(), self.pacer.step(), Large::WhenOwed);
        } else {
            self.pacer.credit(0, self.pending.tally().bytes);
        }
        if let Some(beat) = beat {
            self.show(coming);
            self.beat_passed();
            self.verify_at_beat(beat);
            #[cfg(feature = "tracing")]
            self.guarded(|| event!(TRACE, "beat", number = beat.number, passed = beat.passed));
            self.run_beat_handlers(beat);
        }
        self.tell_rising_pressure();
        let admitted = self.admit(coming);
        self.grant(self.pending.tally().bytes > 0);
        self.polling.set(false);
        if !self.attached.get() {
            self.detached_within();
        }
        admitted
    }

    /// Lets as many bytes be charged as need not be looked at. With nothing pending there is nothing to pay for until something
    /// dies (`arm`).
    pub(super) fn grant(&self, pending: bool) {
        if self.is_stressed() {
            return self.clock.grant(1);
        }
        let pays = pending || self.pending.cycles().is_trying();
        let installment = if pays { self.pacer.pacing().installment() as u64 } else { u64::MAX };
        // At least one, which no charge is as small as: what is overdrawn is looked at by every poll of the program.
        self.clock.grant(installment.min(self.room()).max(1));
    }

    /// Grants anew, when what was granted is no longer right.
    pub(super) fn grant_anew(&self) {
        let bytes = self.clock.settle();
        let pending = self.pending.tally().bytes > 0;
        if pending {
            self.pacer.charge(bytes);
        }
        self.pay_for_search(bytes);
        self.grant(pending);
    }

    /// So many bytes were charged, of which the search for garbage cycles has its part: wherever the clock is settled, or it would not
    /// get on in a program whose objects die all the time.
    pub(super) fn pay_for_search(&self, bytes: u64) {
        if self.pending.cycles().pay(bytes, || self.in_use_by_kind()) {
            self.interrupts.raise_news();
        }
    }

    /// The mutator was detached by what a poll has called. That can only be where the allocation came through a handle of the
    /// heap, or of the object that something is attached to, which keeps the state alive. What `detach` found in use is given up now.
    #[cold]
    pub(super) fn detached_within(&self) {
        self.drop_handlers();
        self.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        self.arm_what_is_left();
    }

    /// Calls the handlers that are due. Those added meanwhile wait for the next beat.
    fn run_beat_handlers(&self, beat: Beat) {
        // SAFETY: this state, which a poll is running on and so is alive.
        let mutator = unsafe { Mutator::borrowed(NonNull::from(self)) };
        let run = |handler: &mut BeatHandler| _ = self.guarded(|| handler(&mutator, beat));
        self.on_beat.call(|due| due.on(beat.number), run, |handler| self.drop_guarded(handler));
    }

    /// Frees what has died while nothing was to be freed, if what dies is to be freed at once.
    pub(in crate::runtime) fn catch_up(&self) {
        if self.retires_now.get() && self.pending.has_work() {
            self.step(Cause::Death, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        }
    }

    /// Drains, and takes note of it. Returns at once when a drain is already running.
    pub(in crate::runtime) fn step(&self, cause: Cause, budget: Budget, meter: Meter, large: Large) -> Progress {
        // Whoever asks for it, and the last one, get all that is garbage. What allocation pays for is what is known to be dead.
        let search = match cause {
            Cause::Request | Cause::Detach => Search::All,
            Cause::Search => Search::Current,
            Cause::Installment | Cause::Beat | Cause::Death | Cause::OutOfMemory => Search::None,
        };
        self.step_with(cause, budget, meter, large, search)
    }

    fn in_use_by_kind(&self) -> InUse {
        InUse { objects: self.live().bytes, all: self.in_use() }
    }

    /// Tells the search how much lives.
    pub(super) fn suit_search(&self) {
        self.pending.cycles().suit(&self.heap, self.live().objects, self.room_under_stress());
    }

    pub(super) fn step_with(
        &self,
        cause: Cause,
        budget: Budget,
        mut meter: Meter,
        large: Large,
        search: Search,
    ) -> Progress {
        if self.pending.is_draining() {
            return self.progress(Stop::Busy, &meter);
        }
        self.pins.set(self.pins.get() + 1);
        let watched = self.observer.borrow().is_some();
        let start = watched.then(Instant::now);
        if search == Search::All && !meter.is_limited() {
            self.pending.cycles().forget_panic();
        }
        if search != Search::None {
            self.suit_search();
        }
        // A drop that panics ends the drain, not the step.
        while self.guarded(|| {
            // SAFETY: whatever this state queues came from its heap.
            unsafe { self.pending.work(&self.heap, &mut meter, large, search) }
        }) == Outcome::Panicked
        {}
        self.pacer.credit(meter.freed.bytes, self.pending.tally().bytes);
        self.pending.cycles().stepped(|| self.in_use_by_kind());
        let left = self.pending.has_work() || search == Search::All && self.pending.cycles().has_more();
        let stop = if left { Stop::Budget } else { Stop::Done };
        let progress = self.progress(stop, &meter);
        let mut steps = self.steps.get();
        steps.count += 1;
        steps.by_cause[cause as usize] += 1;
        steps.max_units = steps.max_units.max(meter.units);
        steps.units += meter.units;
        self.steps.set(steps);
        if let Some(start) = start {
            self.tell_observer(cause, budget, progress, start.elapsed());
        }
        #[cfg(feature = "tracing")]
        self.guarded(|| {
            let Progress { units, freed, pending, .. } = progress;
            event!(
                TRACE,
                "step",
                cause = ?cause,
                units,
                freed_objects = freed.objects,
                freed_bytes = freed.bytes,
                pending_objects = pending.objects,
                pending_bytes = pending.bytes,
                debt = self.pacer.debt()
            );
        });
        self.pins.set(self.pins.get() - 1);
        if !self.attached.get() {
            // No beat may come any more.
            self.show(0);
        }
        progress
    }

    /// Works on the search for garbage cycles as far as allocation has paid for it. At a safepoint.
    pub(super) fn search(&self) {
        if self.is_stressed() {
            return self.search_by_one();
        }
        let units = self.pending.cycles().due();
        if units > 0 {
            let mut meter = Meter::new(Budget::Units(units));
            meter.limit(self.pacer.pacing().pause_cap());
            self.step(Cause::Search, Budget::Units(units), meter, Large::Keep);
        }
    }

    fn progress(&self, stop: Stop, meter: &Meter) -> Progress {
        Progress {
            stop,
            units: meter.units,
            search_units: meter.search_units,
            freed: meter.freed,
            large_freed: meter.large_freed,
            pending: self.pending.tally(),
            large: self.pending.large(),
        }
    }

    #[cold]
    fn tell_observer(&self, cause: Cause, budget: Budget, progress: Progress, elapsed: Duration) {
        let Some(mut observer) = self.observer.take() else { return };
        let step = Step {
            cause,
            budget,
            progress,
            elapsed,
            debt: self.pacer.debt(),
            allocated_bytes: self.clock.charged(),
            live: self.live(),
        };
        self.guarded(|| observer(&step));
        // Back to its place, unless it set another one or detached the mutator: then it goes, by code of the user's.
        if self.attached.get() && self.observer.borrow().is_none() {
            self.observer.replace(Some(observer));
        } else {
            self.drop_guarded(observer);
        }
    }
}
