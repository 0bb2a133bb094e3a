//! Polls: what is due when the program asks whether it may go on.

use std::panic::resume_unwind;

use crate::deferred::Search;
use crate::engine::{deliver_messages, has_messages};
use crate::heartbeat;
use crate::runtime::interrupt::{Interrupted, Interrupts};
use crate::runtime::mutator::Mutator;
use crate::within;

use super::State;

impl State {
    pub(in crate::runtime) fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// Uses up fuel. True when [`poll_closer`](State::poll_closer) must follow.
    #[inline(always)]
    pub(in crate::runtime) fn spend(&self, cost: u32) -> bool {
        (self.interrupts.spend(cost) | self.clock.credit()) < 0 || self.interrupts.is_signalled()
    }

    /// What a poll does when it is not the fast one. `mutator` is this state's.
    #[cold]
    #[inline(never)]
    pub(in crate::runtime) fn poll_closer(&self, mutator: &Mutator) -> Result<(), Interrupted> {
        self.interrupts.refuel();
        self.settle();
        // Not at the end of a slice, when there is nothing else: when that comes is up to the time.
        if self.interrupts.has_news() {
            self.tell_news(mutator, Search::Current);
        }
        self.verdict()
    }

    /// Whether the program may go on. After all that was called above, which may have set limits anew.
    fn verdict(&self) -> Result<(), Interrupted> {
        if self.interrupts.is_out_of_fuel() {
            return Err(Interrupted::OutOfFuel);
        }
        if let Some(deadline) = self.clock.passed_deadline() {
            return Err(Interrupted::Deadline { deadline, beats: self.clock.beats() });
        }
        if self.interrupts.is_stopped() {
            // Code within can end by it, but nobody knows whether it tells the program around it.
            if !self.is_within() {
                self.interrupts.clear_stop();
            }
            return Err(Interrupted::Stopped);
        }
        if self.interrupts.is_timed_out() {
            return Err(Interrupted::TimedOut);
        }
        Ok(())
    }

    /// Whether what polls is code that the crate has called, for this mutator or another one of the thread: a handler, an observer, a
    /// request, a `Drop` within a step.
    pub(super) fn is_within(&self) -> bool {
        within::is_within() || self.pending.is_draining()
    }

    /// What a safepoint does besides settling. `mutator` is this state's. A safepoint that has collected already asks for no `search`: a
    /// call does no more than the budget that it was given.
    #[inline]
    pub(in crate::runtime) fn report(&self, mutator: &Mutator, search: Search) {
        if self.interrupts.has_news() || heartbeat::has_untold_calls() || has_messages() {
            self.tell_news(mutator, search);
        }
    }

    #[cold]
    fn tell_news(&self, mutator: &Mutator, search: Search) {
        // It waits for the program's own poll or safepoint: a panic is not the affair of whoever happens to run now.
        if self.is_within() {
            return;
        }
        self.interrupts.lower_news();
        // A panic ends the telling here, and the next poll or safepoint goes on with it: nothing is lost.
        let again = LookAgain(&self.interrupts);
        if search != Search::None {
            self.search();
        } else if self.pending.cycles().is_trying() {
            // What is paid for waits for the next poll.
            self.interrupts.raise_news();
        }
        self.run_finalizers(mutator, u64::from(self.finalizers_per_safepoint.get()));
        for request in self.interrupts.take_requests() {
            self.guarded(|| request(mutator));
        }
        if let Some(payload) = self.take_parked_panic() {
            resume_unwind(payload);
        }
        heartbeat::tell_calls();
        deliver_messages();
        core::mem::forget(again);
    }

    /// Sees to what the next poll has to say after a beat.
    pub(super) fn beat_passed(&self) {
        self.look_at_deadline();
        if heartbeat::has_untold_calls() || has_messages() {
            self.interrupts.raise_news();
        }
    }

    pub(in crate::runtime) fn set_deadline(&self, deadline: Option<u64>) {
        self.clock.set_deadline(deadline);
        self.interrupts.lower_deadline();
        self.look_at_deadline();
    }

    fn look_at_deadline(&self) {
        if self.clock.passed_deadline().is_some() {
            self.interrupts.raise_deadline();
        }
    }

    /// Drops the requests that nobody will run.
    pub(super) fn close_requests(&self) {
        for request in self.interrupts.close() {
            self.drop_guarded(request);
        }
    }
}

/// Has the next poll look closer, when it is dropped.
struct LookAgain<'a>(&'a Interrupts);

impl Drop for LookAgain<'_> {
    fn drop(&mut self) {
        self.0.raise_news();
    }
}
