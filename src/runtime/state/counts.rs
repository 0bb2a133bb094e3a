//! Counts: what lives, what is pending, what the blocks come to.

use core::sync::atomic::Ordering;

use crate::aside::aside;
use crate::deferred::Tally;
use crate::engine::Area;
use crate::error::{Error, ErrorKind};
use crate::heartbeat;
use crate::runtime::metrics::{EngineCalls, Live, Metrics};
use crate::runtime::walk::unwalkable;
use crate::runtime::watch::Watch;
use crate::runtime::words::Shown;

use super::State;

impl State {
    pub(in crate::runtime) fn live(&self) -> Tally {
        let gone = [self.pending.freed(), self.pending.tally(), self.pending.abandoned()];
        let allocated = self.allocated.get();
        Tally {
            objects: allocated.objects - gone.iter().map(|tally| tally.objects).sum::<u64>(),
            bytes: allocated.bytes - gone.iter().map(|tally| tally.bytes).sum::<u64>(),
        }
    }

    /// Bytes of raw blocks that this thread has not freed: those in use, and those freed elsewhere.
    pub(super) fn blocks_not_freed_here(&self) -> u64 {
        // Wrapping: what is charged without an allocation counts on both sides, and can be charged for ever.
        self.clock.total().wrapping_sub(self.allocated.get().bytes).wrapping_sub(self.blocks_freed.get())
    }

    /// Bytes of raw blocks in use.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks_not_freed_here() - self.elsewhere.bytes.load(Ordering::Relaxed)
    }

    /// The areas of the heap.
    pub(in crate::runtime) fn areas(&self) -> Result<Vec<Area>, Error> {
        // Whoever gave its share up has done with freeing, and shares are only made by this thread, or from other shares.
        if !self.elsewhere.is_alone() || !self.left.are_gone() {
            return Err(Error::new(
                ErrorKind::NotAlone,
                "the heap cannot be walked while other threads may free into it: drop all RemoteFree handles of the mutator \
                 first, and free the blocks that earlier mutators have left",
            ));
        }
        if !self.heap.is_own() {
            return Err(unwalkable(&self.heap));
        }
        // How long the list is, is the engine's affair.
        // SAFETY: nobody else has, or can come by, something to free into it with.
        aside(|| unsafe { self.heap.areas() })
    }

    /// Looks at the peaks. `coming` bytes are charged and not yet allocated.
    pub(super) fn sample(&self, coming: u64) {
        let (live, pending) = (self.live().bytes, self.pending.tally().bytes);
        // Less is in use than is coming if another thread has freed blocks meanwhile.
        let total = self.in_use().saturating_sub(coming);
        self.peak_live.set(self.peak_live.get().max(live));
        self.peak_pending.set(self.peak_pending.get().max(pending));
        self.peak_in_use.set(self.peak_in_use.get().max(total));
    }

    pub(in crate::runtime) fn metrics(&self) -> Metrics {
        self.sample(0);
        self.show(0);
        self.count(0)
    }

    /// Shows other threads what has been counted. `coming` bytes are charged and not yet allocated.
    // Out of line, all of it, so that each figure goes from its place to the words without a stop in between.
    #[inline(never)]
    pub(in crate::runtime) fn show(&self, coming: u64) {
        self.display.show(Shown { attached: self.attached.get(), metrics: self.count(coming) });
    }

    pub(in crate::runtime) fn watch(&self) -> Watch {
        self.display.watch()
    }

    #[inline(always)]
    fn count(&self, coming: u64) -> Metrics {
        // Read once, as other threads free meanwhile. What is coming counts among them until there is an object.
        let blocks = self.blocks().saturating_sub(coming);
        let objects = self.allocated.get().bytes - self.pending.freed().bytes;
        let (calls, before) = (heartbeat::calls(), self.calls_before);
        Metrics {
            beats: self.clock.beats(),
            allocated: self.allocated.get(),
            freed: self.pending.freed(),
            live: Live { now: self.live(), peak_bytes: self.peak_live.get() },
            pending: Live { now: self.pending.tally(), peak_bytes: self.peak_pending.get() },
            large: self.pending.large(),
            abandoned: self.pending.abandoned(),
            block_bytes: blocks,
            in_use_bytes: objects + blocks,
            peak_in_use_bytes: self.peak_in_use.get(),
            limit: self.limit(),
            ladder: self.ladder.get(),
            debt: self.pacer.debt(),
            steps: self.steps.get(),
            trials: self.cycles().trials(),
            finalizers: self.finalizers(),
            panics: self.panics.get(),
            engine_calls: EngineCalls {
                routine: calls.routine - before.routine,
                forced: calls.forced - before.forced,
                forced_elsewhere: calls.forced_elsewhere - before.forced_elsewhere,
            },
        }
    }
}
