//! Counts: what lives, what is pending, what the blocks come to.

use core::sync::atomic::{Ordering, fence};
use std::sync::Arc;

use crate::deferred::Tally;
use crate::engine::Area;
use crate::error::{Error, ErrorKind};
use crate::heartbeat;
use crate::runtime::metrics::{EngineCalls, Live, Metrics};

use super::State;

impl State {
    pub(super) fn live(&self) -> Tally {
        let gone = [self.pending.freed(), self.pending.tally(), self.pending.abandoned()];
        let allocated = self.allocated.get();
        Tally {
            objects: allocated.objects - gone.iter().map(|tally| tally.objects).sum::<u64>(),
            bytes: allocated.bytes - gone.iter().map(|tally| tally.bytes).sum::<u64>(),
        }
    }

    /// Bytes of raw blocks that this thread has not freed: those in use, and those freed elsewhere. `None` when so much was
    /// charged without an allocation that the clock stands still: then the sums say nothing any more.
    pub(super) fn blocks_not_freed_here(&self) -> Option<u64> {
        let charged = Some(self.clock.charged()).filter(|charged| *charged < u64::MAX)?;
        Some(charged - self.allocated.get().bytes - self.blocks_freed.get())
    }

    /// Bytes of raw blocks in use. `None` as above.
    pub(super) fn blocks(&self) -> Option<u64> {
        Some(self.blocks_not_freed_here()? - self.elsewhere.bytes.load(Ordering::Relaxed))
    }

    /// The areas of the heap.
    pub(in crate::runtime) fn areas(&self) -> Result<Vec<Area>, Error> {
        if heartbeat::in_handler() {
            return Err(Error::new(
                ErrorKind::InHandler,
                "a heap cannot be walked from within a deferred-free handler, as the engine is at work on it: do it later",
            ));
        }
        // Acquire: whoever gave its share up has done with freeing. Shares are only made by this thread, or from other shares.
        if Arc::strong_count(&self.elsewhere) > 1 || !self.left.are_gone() {
            return Err(Error::new(
                ErrorKind::NotAlone,
                "the heap cannot be walked while other threads may free into it: drop all RemoteFree handles of the mutator \
                 first, and free the blocks that earlier mutators have left",
            ));
        }
        fence(Ordering::Acquire);
        // Quietly, as the list allocates: a handler could make a `RemoteFree` then. And how long it is, is the engine's affair.
        // SAFETY: nobody else has, or can come by, something to free into it with.
        Ok(heartbeat::quietly(|| unsafe { self.heap.areas() }))
    }

    /// Looks at the peaks. `coming` bytes are charged and not yet allocated.
    pub(super) fn sample(&self, coming: u64) {
        let (live, pending) = (self.live().bytes, self.pending.tally().bytes);
        let total = (live + pending + self.blocks().unwrap_or(0)).saturating_sub(coming);
        self.peak_live.set(self.peak_live.get().max(live));
        self.peak_pending.set(self.peak_pending.get().max(pending));
        self.peak_total.set(self.peak_total.get().max(total));
    }

    pub(in crate::runtime) fn metrics(&self) -> Metrics {
        self.sample(0);
        let calls = heartbeat::calls();
        Metrics {
            beats: self.clock.beats(),
            allocated: self.allocated.get(),
            freed: self.pending.freed(),
            live: Live { now: self.live(), peak_bytes: self.peak_live.get() },
            pending: Live { now: self.pending.tally(), peak_bytes: self.peak_pending.get() },
            large: self.pending.large(),
            abandoned: self.pending.abandoned(),
            block_bytes: self.blocks().unwrap_or(0),
            peak_total_bytes: self.peak_total.get(),
            debt: self.pacer.debt(),
            steps: self.steps.get(),
            panics: self.panics.get(),
            engine_calls: EngineCalls {
                routine: calls.routine,
                forced: calls.forced,
                forced_elsewhere: calls.forced_elsewhere,
            },
        }
    }
}
