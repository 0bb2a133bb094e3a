//! Finalizers of this state's objects, and their turn.

use crate::runtime::finalizer::{self, Finalizers};
use crate::runtime::mutator::Mutator;
use crate::runtime::{raw, thread};

use super::State;

/// How many finalizers run at a safepoint unless that is set.
pub(super) const PER_SAFEPOINT: u32 = 16;

impl State {
    pub(in crate::runtime) fn has_finalizers_due(&self) -> bool {
        self.pending.attachments().due() > 0
    }

    pub(in crate::runtime) fn set_finalizers_per_safepoint(&self, most: u32) {
        self.finalizers_per_safepoint.set(most);
        self.look_at_finalizers();
    }

    #[inline(always)]
    pub(super) fn finalizers(&self) -> Finalizers {
        let attachments = self.pending.attachments();
        Finalizers { registered: attachments.finalizers(), due: attachments.due(), run: self.finalized.get() }
    }

    /// Has the next safepoint run finalizers if some are due: this mutator's, or if that has gone, another one's of the thread.
    pub(in crate::runtime) fn look_at_finalizers(&self) {
        if self.has_finalizers_due() {
            self.tell_of_finalizers();
        }
    }

    fn tell_of_finalizers(&self) {
        if !self.is_attached() {
            thread::tell_of_finalizers();
        } else if self.finalizers_per_safepoint.get() > 0 {
            self.interrupts.raise_news();
        }
    }

    /// Runs finalizers that are due, of this mutator's objects and then of those whose mutators have gone. `mutator` is this state's.
    pub(in crate::runtime) fn run_finalizers(&self, mutator: &Mutator, most: u64) -> u64 {
        if self.is_within() {
            return 0;
        }
        let mut run = 0;
        while run < most {
            let gone = if self.has_finalizers_due() { None } else { thread::handed_over() };
            // SAFETY: on the thread's list, and so by THREAD alive. Not used again once its objects are released.
            let owner = gone.map_or(self, |state| unsafe { state.as_ref() });
            let Some((finalizer, host)) = owner.pending.attachments().next_due() else { break };
            owner.finalized.set(owner.finalized.get() + 1);
            // SAFETY: a finalizer with its host, both alive: by their references, which are ours now.
            self.guarded(|| unsafe { finalizer::run(finalizer, host, mutator) });
            // Each by itself: a state whose mutator has gone may end with its last object.
            for object in [finalizer, host] {
                // What dies is queued, save under an eager schedule or where the mutator has gone.
                // SAFETY: alive, with a reference that is ours.
                self.guarded(|| unsafe { raw::release(object) });
            }
            run += 1;
        }
        if run > 0 {
            // This may be the last that the program does for long, and it has nothing to do with beats.
            self.show(0);
        }
        if self.has_finalizers_due() || thread::handed_over().is_some() {
            self.tell_of_finalizers();
        }
        run
    }
}
