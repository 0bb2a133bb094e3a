//! Allocation: what is charged, counted and, at the end of memory, rescued.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::deferred::{Managed, Memory, Object, Tally, addressable, counted, counted_bytes};
use crate::error::OutOfMemory;
use crate::fallible::TryArc;
use crate::runtime::handle::Allocation;
use crate::runtime::heap::{FreedElsewhere, Half, MOST_BYTES};

use super::State;

impl State {
    /// A new object that holds `value`, and the first reference to it.
    // Out of line, the value is copied once more: 226 instructions instead of 74 for a kilobyte.
    #[inline(always)]
    pub(in crate::runtime) fn make<T: Managed>(&self, value: T) -> Result<NonNull<Object>, OutOfMemory<T>> {
        let layout = const { Layout::new::<Allocation<T>>() };
        if const { size_of::<Allocation<T>>() > MOST_BYTES } {
            return Err(OutOfMemory { value, bytes: layout.size() });
        }
        let Some(block) = self.allocate_object(layout.size(), layout.align()) else {
            return Err(OutOfMemory { value, bytes: layout.size() });
        };
        let place = block.cast::<Allocation<T>>();
        let object = Allocation { header: Object::new::<T>(), value };
        // SAFETY: fresh memory of this layout.
        unsafe { place.write(object) };
        Ok(place.cast())
    }

    /// Memory for an object of this layout, charged and counted. `None` when the limit leaves no room for it, or the engine has
    /// none even after all that is dead was freed; then nothing is counted.
    #[inline(always)]
    pub(in crate::runtime) fn allocate_object(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let charge = counted(bytes, align);
        if self.clock.charge(charge) && !self.poll(charge) {
            return None;
        }
        let block = match self.heap.malloc_object(bytes, align) {
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
        let charge = counted(bytes, align);
        let mut block = unusable.or_else(|| self.rescue(charge, || self.heap.malloc_object(bytes, align)));
        if let Some(far) = block.filter(|block| !addressable(*block)) {
            // Above 2^48: no engine that this crate knows maps there. It goes back, and the caller sees no memory.
            // SAFETY: fresh from the heap with this layout.
            unsafe { self.heap.free(far, bytes, align) };
            block = None;
        }
        if block.is_none() {
            self.note_freed(charge);
        }
        block
    }

    /// Gives back an allocation whose object was not finished.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_object` or `resize_object`, is of this layout and holds no object any more.
    pub(in crate::runtime) unsafe fn discard_object(&self, block: NonNull<u8>, bytes: usize, align: usize) {
        self.pending.count_freed(Tally { objects: 1, bytes: counted(bytes, align) });
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
        // SAFETY: an object, of this heap (1).
        if unsafe { self.pending.is_fixed(block.cast()) } {
            // SAFETY: handed on (1).
            return unsafe { self.copy_object(block, old, align, new) };
        }
        let charge = counted(new, align);
        if self.clock.charge(charge) && !self.poll(charge) {
            return None;
        }
        // SAFETY: handed on (1).
        let resize = || unsafe { self.heap.resize_object(block, old, align, new) };
        // A block beyond the reach of a header could not be given back without losing the object: none is known (see
        // `allocate_slow`), and going on would corrupt the queue.
        let moved = resize().or_else(|| self.rescue(charge, resize));
        if moved.is_some_and(|block| !addressable(block)) {
            std::process::abort();
        }
        match moved {
            Some(_) => {
                self.allocated.set(self.allocated.get().and(Tally { objects: 0, bytes: charge }));
                self.pending.count_freed(Tally { objects: 0, bytes: counted(old, align) });
            }
            None => self.note_freed(charge),
        }
        moved
    }

    /// As `resize_object`, of an object whose block must stay where it is.
    ///
    /// # Safety
    /// 1. As for `resize_object`.
    #[cold]
    #[inline(never)]
    unsafe fn copy_object(&self, block: NonNull<u8>, old: usize, align: usize, new: usize) -> Option<NonNull<u8>> {
        let copy = self.allocate_object(new, align)?;
        // SAFETY: both are of at least so many bytes, and another block each.
        unsafe { block.copy_to_nonoverlapping(copy, old.min(new)) };
        // It is one object still.
        let allocated = self.allocated.get();
        self.allocated.set(Tally { objects: allocated.objects - 1, bytes: allocated.bytes });
        // SAFETY: still an object of this heap (1). What allocates may have worked on the trial to its end.
        if unsafe { self.pending.is_fixed(block.cast()) } {
            // SAFETY: a copy of the object, which is used from now on in its place (1).
            unsafe { self.pending.moved(block.cast(), copy.cast()) };
        } else {
            self.pending.count_freed(Tally { objects: 0, bytes: counted(old, align) });
            // SAFETY: from this heap, of this size; its object is in another place now.
            unsafe { self.heap.free(block, old, align) };
        }
        Some(copy)
    }

    /// A raw block. `take` asks the heap for it. Sizes that the engine has no block of are refused and not charged.
    #[inline(always)]
    pub(in crate::runtime) fn allocate_block(
        &self,
        layout: Layout,
        take: impl Fn(&Half) -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        let charge = counted_bytes(layout);
        if charge > MOST_BYTES as u64 || self.clock.charge(charge) && !self.poll(charge) {
            return None;
        }
        match take(self.heap.blocks()) {
            Some(block) => Some(block),
            None => self.allocate_block_slow(charge, take),
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_block_slow(&self, charge: u64, take: impl Fn(&Half) -> Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        let blocks = self.heap.blocks();
        let woken = if blocks.wake() { take(blocks) } else { None };
        let block = woken.or_else(|| self.rescue(charge, || take(blocks)));
        if block.is_none() {
            self.note_freed(charge);
        }
        block
    }

    /// A raw block in another size. `None` leaves it as it was. While it is resized, both sizes are in use.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_block` of this state, or from here, with this layout; if a block is returned, it is not
    ///    used again. `new` is of the same alignment.
    pub(in crate::runtime) unsafe fn resize_block(
        &self,
        block: NonNull<u8>,
        layout: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: of this heap, with this layout (1).
        let resize = |blocks: &Half| unsafe { blocks.realloc(block, layout.size(), layout.align(), new.size()) };
        let (charge, old) = (counted_bytes(new), counted_bytes(layout));
        // To make a block smaller is not refused: containers do it where they expect no failure.
        let coming = if charge > old { charge } else { 0 };
        if charge > MOST_BYTES as u64 || self.clock.charge(charge) && !self.poll(coming) {
            return None;
        }
        let moved = match resize(self.heap.blocks()) {
            Some(moved) => moved,
            None => self.allocate_block_slow(charge, resize)?,
        };
        self.note_freed(old);
        Some(moved)
    }

    /// Frees a raw block.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_block` or `resize_block` of this state with this layout, and is not used again.
    #[inline(always)]
    pub(in crate::runtime) unsafe fn free_block(&self, block: NonNull<u8>, layout: Layout) {
        self.note_freed(counted_bytes(layout));
        // SAFETY: of this heap, with this layout (1).
        unsafe { self.heap.blocks().free(block, layout.size(), layout.align()) }
    }

    /// So many bytes of what the clock was charged are not in use, or not any more: of raw blocks, or of blocks that were never
    /// made. The clock keeps them all the same, as it measures what was asked for.
    #[inline(always)]
    pub(super) fn note_freed(&self, bytes: u64) {
        // Wrapping: the sum of what was ever allocated fits, but charges without an allocation can be made for ever.
        self.blocks_freed.set(self.blocks_freed.get().wrapping_add(bytes));
    }

    /// Charges for memory that is not of this heap. Whatever becomes due waits for the next allocation or safepoint.
    #[inline]
    pub(in crate::runtime) fn charge_elsewhere(&self, layout: Layout) {
        let charge = counted_bytes(layout);
        if charge <= MOST_BYTES as u64 {
            // Not a block of this heap: for these counts it is as if it had been freed.
            let charged = self.clock.charge_only(charge);
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

    pub(in crate::runtime) fn elsewhere(&self) -> &TryArc<FreedElsewhere> {
        &self.elsewhere
    }
}
