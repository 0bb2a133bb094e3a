//! Memory that is kept for loading the next script, when one has filled the heap: that may be the one that clears it.

use allocator_api2::vec::Vec;
use mimalloc_runtime::{HeapRef, Mutator};

/// Bytes of a heap limit that a running script does not get.
const BYTES: u64 = 4 << 10;

/// A wall can be full when less is in use than it has bytes, and what is free is of use only to sizes that were used before. So
/// that there are pages for others, a block of as many bytes is held in it.
const BLOCK: usize = 1 << 20;

/// What is kept.
pub(super) struct Reserve {
    block: Vec<u8, HeapRef>,
    /// While a script runs under a limit, what that is without one running.
    whole: Option<u64>,
}

impl Reserve {
    pub(super) fn new(mutator: &Mutator) -> Reserve {
        let mut reserve = Reserve { block: Vec::new_in(mutator.heap()), whole: None };
        reserve.refill(mutator);
        reserve
    }

    /// Holds a block, if the heap is walled and the limit is no less than what may fill the wall. It is missed when there is
    /// none left for it.
    fn refill(&mut self, mutator: &Mutator) {
        let limit = mutator.limit().unwrap_or(u64::MAX);
        if mutator.wall().is_some_and(|wall| limit > wall / 4 * 3) && self.block.capacity() == 0 {
            let _ = self.block.try_reserve_exact(BLOCK);
        }
    }

    /// Lets a script be loaded.
    pub(super) fn open(&mut self) {
        self.block = Vec::new_in(self.block.allocator().clone());
    }

    /// One is loaded, and runs.
    pub(super) fn close(&mut self, mutator: &Mutator) {
        self.whole = mutator.limit();
        if let Some(bytes) = self.whole {
            mutator.set_limit(Some(bytes.saturating_sub(BYTES)));
        }
        self.refill(mutator);
    }

    /// It has ended.
    pub(super) fn restore(&mut self, mutator: &Mutator) {
        if let Some(bytes) = self.whole.take() {
            mutator.set_limit(Some(bytes));
        }
        self.refill(mutator);
    }
}
