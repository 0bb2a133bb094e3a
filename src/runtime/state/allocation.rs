//! Allocation: what is charged, counted and, at the end of memory, rescued.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::Arc;

use crate::deferred::{Budget, Large, Memory, Meter, Tally, addressable, counted};
use crate::heartbeat;
use crate::runtime::heap::{FreedElsewhere, Heap, MOST_BYTES, counted_block};
use crate::runtime::metrics::Cause;

use super::State;

impl State {
    /// Memory for an object of this layout, charged and counted. `None` when there is none even after all that is dead was
    /// freed; then nothing is counted.
    #[inline(always)]
    pub(in crate::runtime) fn allocate_object(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let charge = counted(bytes);
        if self.clock.charge(charge) {
            self.poll(charge);
        }
        let block = match self.heap.malloc(bytes, align) {
            Some(block) if addressable(block) => block,
            unusable => self.allocate_slow(unusable, bytes, align)?,
        };
        self.allocated.set(self.allocated.get().plus(charge));
        Some(block)
    }

    /// The allocation path's rare end: no memory, or memory that a header cannot link to.
    #[cold]
    #[inline(never)]
    fn allocate_slow(&self, unusable: Option<NonNull<u8>>, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let mut block = unusable.or_else(|| self.rescue(|| self.heap.malloc(bytes, align)));
        if let Some(far) = block.filter(|block| !addressable(*block)) {
            // Above 2^48: no engine that this crate knows maps there. It goes back, and the caller sees no memory.
            // SAFETY: fresh from the heap with this layout.
            unsafe { self.heap.free(far, bytes, align) };
            block = None;
        }
        if block.is_none() {
            self.forget_bytes(bytes);
        }
        block
    }

    /// Frees everything that is dead and tries once more.
    fn rescue(&self, retry: impl Fn() -> Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        if self.pending.is_draining() {
            return None;
        }
        self.step(Cause::OutOfMemory, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        self.heap.free_kept();
        // The forced call that the engine made before it gave up was ours, and so is the one that it makes now.
        heartbeat::claim_forced();
        heartbeat::causing(retry)
    }

    /// Gives back an allocation whose object was not finished.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_object` or `resize_object`, is of this layout and holds no object any more.
    pub(in crate::runtime) unsafe fn discard_object(&self, block: NonNull<u8>, bytes: usize, align: usize) {
        self.pending.count_freed(Tally { objects: 1, bytes: counted(bytes) });
        // SAFETY: from this heap, with this layout (1).
        unsafe { self.heap.free(block, bytes, align) }
    }

    /// An object's block in another size. `None` leaves it as it was.
    ///
    /// # Safety
    /// 1. `block` is an object's, of `old` bytes and this alignment; nobody else refers to it, and if a block is returned it
    ///    is not used again.
    pub(in crate::runtime) unsafe fn resize_object(
        &self,
        block: NonNull<u8>,
        old: usize,
        align: usize,
        new: usize,
    ) -> Option<NonNull<u8>> {
        let charge = counted(new);
        if self.clock.charge(charge) {
            self.poll(charge);
        }
        // SAFETY: handed on (1).
        let resize = || unsafe { self.heap.realloc(block, old, align, new) };
        // A block beyond the reach of a header could not be given back without losing the object: none is known (see
        // `allocate_slow`), and going on would corrupt the queue.
        let moved = resize().or_else(|| self.rescue(resize));
        if moved.is_some_and(|block| !addressable(block)) {
            std::process::abort();
        }
        match moved {
            Some(_) => {
                self.allocated.set(self.allocated.get().and(Tally { objects: 0, bytes: charge }));
                self.pending.count_freed(Tally { objects: 0, bytes: counted(old) });
            }
            None => self.forget_bytes(new),
        }
        moved
    }

    /// Bytes were charged to the clock for an object that does not exist. The clock keeps them: it measures what was asked
    /// for. So they count as those of a block that has been freed.
    fn forget_bytes(&self, bytes: usize) {
        self.note_freed(counted(bytes));
    }

    /// A raw block. `take` asks the heap for it. Sizes that the engine has no block of are refused and not charged.
    #[inline(always)]
    pub(in crate::runtime) fn allocate_block(
        &self,
        bytes: usize,
        take: impl Fn(&Heap) -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        if bytes > MOST_BYTES {
            return None;
        }
        let charge = counted_block(bytes);
        if self.clock.charge(charge) {
            self.poll(charge);
        }
        match take(&self.heap) {
            Some(block) => Some(block),
            None => self.allocate_block_slow(bytes, take),
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_block_slow(&self, bytes: usize, take: impl Fn(&Heap) -> Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        let block = self.rescue(|| take(&self.heap));
        if block.is_none() {
            self.block_freed(bytes);
        }
        block
    }

    /// A raw block in another size, with the alignment that it has. `None` leaves it as it was.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_block` of this state, or from here, with this layout; if a block is returned, it is not
    ///    used again.
    pub(in crate::runtime) unsafe fn resize_block(
        &self,
        block: NonNull<u8>,
        layout: Layout,
        new: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: of this heap, with this layout (1).
        let resize = |heap: &Heap| unsafe { heap.realloc(block, layout.size(), layout.align(), new) };
        let moved = self.allocate_block(new, resize)?;
        self.block_freed(layout.size());
        Some(moved)
    }

    /// Frees a raw block.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_block` or `resize_block` of this state with this layout, and is not used again.
    #[inline(always)]
    pub(in crate::runtime) unsafe fn free_block(&self, block: NonNull<u8>, layout: Layout) {
        self.block_freed(layout.size());
        // SAFETY: of this heap, with this layout (1).
        unsafe { self.heap.free(block, layout.size(), layout.align()) }
    }

    #[inline(always)]
    fn block_freed(&self, bytes: usize) {
        self.note_freed(counted_block(bytes));
    }

    /// So many bytes of what the clock was charged are those of blocks that are no more.
    #[inline(always)]
    fn note_freed(&self, bytes: u64) {
        // Wrapping: the sum of what was ever allocated fits, but charges without an allocation can be made for ever.
        self.blocks_freed.set(self.blocks_freed.get().wrapping_add(bytes));
    }

    /// Charges for memory that is not of this heap. Whatever becomes due waits for the next allocation or safepoint.
    #[inline]
    pub(in crate::runtime) fn charge_elsewhere(&self, bytes: usize) {
        if bytes <= MOST_BYTES {
            // Not a block of this heap: for these counts it is as if it had been freed.
            let charged = self.clock.charge_only(counted_block(bytes));
            self.note_freed(charged);
        }
    }

    /// Looks at what has become due without an allocation of this heap.
    #[inline(always)]
    pub(in crate::runtime) fn settle(&self) {
        if self.clock.credit() < 0 {
            self.poll(0);
        }
    }

    /// Charges the clock for work that was not done here, as if a block had been allocated and freed.
    pub(in crate::runtime) fn charge(&self, bytes: u64) {
        let due = self.clock.charge(bytes);
        self.note_freed(bytes);
        if due {
            self.poll(0);
        }
    }

    pub(in crate::runtime) fn elsewhere(&self) -> &Arc<FreedElsewhere> {
        &self.elsewhere
    }
}
