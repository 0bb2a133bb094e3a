//! One of a mutator's two heaps of the engine.

use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::deferred::{OBJECT_ALIGN, SMALL, counted};
use crate::runtime::magazine::{Class, Magazines};
use crate::runtime::stress::Stress;
use crate::sys::{self, engine, mi_heap_t};

/// A heap of the engine, with the part of it that allocates on this thread, and blocks kept at hand in front of it.
#[derive(Debug)]
pub(crate) struct Half {
    pub(super) heap: NonNull<mi_heap_t>,
    pub(super) local: NonNull<engine::Local>,
    /// What is allocated from: `local`, or before the first use what stands for it.
    from: Cell<NonNull<engine::Local>>,
    magazines: Magazines,
}

impl Half {
    /// Pairs `heap` with this thread. `None` when there is no memory.
    ///
    /// # Safety
    /// 1. `heap` is alive, and where heaps are bound to a thread it was made by this one.
    pub(super) unsafe fn take_up(heap: NonNull<mi_heap_t>) -> Option<Half> {
        // SAFETY: handed on (1).
        let local = unsafe { engine::local(heap) }?;
        Some(Half { heap, local, from: Cell::new(engine::asleep(local)), magazines: Magazines::new() })
    }

    /// The first use.
    pub(super) fn first_use<R>(&self, look: impl FnOnce(NonNull<u8>) -> R) -> Option<R> {
        self.from.set(self.local);
        // SAFETY: this thread's; a small size.
        let block = NonNull::new(unsafe { engine::malloc_small(self.local, OBJECT_ALIGN) }.cast())?;
        let seen = look(block);
        // SAFETY: allocated above as small.
        unsafe { engine::free_small(block) };
        Some(seen)
    }

    /// Makes the first use, unless it was made. An allocation that has failed may succeed then: a heap takes its memory no earlier, as
    /// many a mutator has no raw blocks.
    pub(crate) fn wake(&self) -> bool {
        let is_asleep = self.from.get() != self.local;
        if is_asleep {
            self.first_use(|_| ());
        }
        is_asleep
    }

    /// Ends its pairing with this thread.
    pub(super) fn give_up(self) {
        // SAFETY: this thread's, and not used again.
        unsafe { engine::release_local(self.local) }
    }

    /// A block, or nothing when there is no memory. `size` may be anything up to `isize::MAX`.
    #[inline(always)]
    pub(crate) fn malloc(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let block = if is_small(size, align) {
            let class = Class::of(size);
            if let Some(block) = self.magazines.take(class) {
                return Some(block);
            }
            // SAFETY: this thread's; a small size.
            unsafe { engine::malloc_small(self.from.get(), request(size)) }
        } else if align <= OBJECT_ALIGN {
            // SAFETY: this thread's.
            unsafe { engine::malloc(self.from.get(), request(size)) }
        } else {
            // SAFETY: this thread's.
            unsafe { engine::malloc_aligned(self.from.get(), size, align) }
        };
        NonNull::new(block.cast())
    }

    pub(crate) fn malloc_zeroed(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let block = if align <= OBJECT_ALIGN {
            // SAFETY: this thread's.
            unsafe { engine::zalloc(self.from.get(), request(size)) }
        } else {
            // SAFETY: this thread's.
            unsafe { engine::zalloc_aligned(self.from.get(), size, align) }
        };
        NonNull::new(block.cast())
    }

    /// # Safety
    /// 1. `block` is a live block of this half, of `old` bytes and this alignment; if a block is returned, it is gone.
    pub(crate) unsafe fn realloc(
        &self,
        block: NonNull<u8>,
        old: usize,
        align: usize,
        new: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: of this half, of this layout, and not used again (1).
        let free = |block| unsafe { self.free(block, old, align) };
        // SAFETY: of this half, of these sizes (1).
        unsafe { resize(block, [old, new], align, |size| self.malloc(size, align), free) }
    }

    /// # Safety
    /// 1. `block` is a live block of this half, of this size and alignment, and is not used again.
    #[inline(always)]
    pub(crate) unsafe fn free(&self, block: NonNull<u8>, bytes: usize, align: usize) {
        // SAFETY: handed on (1).
        unsafe { look_at(block) };
        if is_small(bytes, align) {
            // SAFETY: of this size and alignment (1).
            unsafe { self.free_small(block, Class::of(bytes).size()) }
        } else {
            if self.magazines.is_closed() {
                // SAFETY: a live block, not used again (1).
                unsafe { poison(block) }
            }
            // SAFETY: a live block (1).
            unsafe { sys::mi_free(block.as_ptr().cast()) }
        }
    }

    /// # Safety
    /// 1. As for `free`, and of a [`Class`], by the bytes that are counted for it.
    #[inline(always)]
    pub(super) unsafe fn free_small(&self, block: NonNull<u8>, bytes: usize) {
        // SAFETY: allocated by `malloc` in this class (1).
        if !unsafe { self.magazines.keep(block, Class::counted(bytes)) } {
            // SAFETY: allocated by `malloc` as small (1).
            unsafe { self.give_back_small(block) }
        }
    }

    /// Out of line, with the question that it asks: most blocks are kept.
    ///
    /// # Safety
    /// 1. As for `free`, and allocated as small.
    #[inline(never)]
    unsafe fn give_back_small(&self, block: NonNull<u8>) {
        if self.magazines.is_closed() {
            // SAFETY: a live block, not used again (1).
            unsafe { poison(block) }
        }
        // SAFETY: allocated as small (1).
        unsafe { engine::free_small(block) }
    }

    /// Gives the engine the blocks that are kept at hand.
    pub(super) fn free_kept(&self) {
        // SAFETY: allocated as small, from this half.
        self.magazines.clear(|block| unsafe { engine::free_small(block) });
    }

    /// Those of one size, of another one each time.
    pub(super) fn free_some_kept(&self) {
        // SAFETY: as above.
        self.magazines.clear_next(|block| unsafe { engine::free_small(block) });
    }

    /// Bytes of the blocks that are kept at hand.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.magazines.bytes()
    }

    /// From now on blocks are [poisoned](poison) when they are freed, and none is kept at hand. None is yet.
    pub(super) fn poison_what_is_freed(&self) {
        self.magazines.close();
    }
}

/// A block in another size, which may be the same block.
///
/// # Safety
/// 1. `block` is a live block of the first of these sizes and this alignment; `malloc` makes such blocks, and `free` takes it. If a
///    block is returned, it is gone.
pub(super) unsafe fn resize(
    block: NonNull<u8>,
    [old, new]: [usize; 2],
    align: usize,
    malloc: impl FnOnce(usize) -> Option<NonNull<u8>>,
    free: impl FnOnce(NonNull<u8>),
) -> Option<NonNull<u8>> {
    // Not by the engine's `realloc`, which leaves a block in place that is twice as large as it need be: more would be in use
    // than is counted. Among blocks of one count, any serves all sizes (`request`); one of a larger alignment, what
    // it was made for.
    let in_place = counted(old, align) == counted(new, align) && (align <= OBJECT_ALIGN || new <= old);
    if in_place && !cfg!(engine_watches) {
        return Some(block);
    }
    let copy = malloc(new)?;
    // SAFETY: both are of at least so many bytes, and are two blocks (1).
    unsafe { core::ptr::copy_nonoverlapping(block.as_ptr(), copy.as_ptr(), old.min(new)) };
    free(block);
    Some(copy)
}

/// Reads from a block that is about to be freed, where somebody looks for errors: the engine does not, and tools would miss a
/// block that is freed twice.
///
/// # Safety
/// 1. `block` is a live block of the engine.
#[inline(always)]
pub(super) unsafe fn look_at(block: NonNull<u8>) {
    if cfg!(engine_watches) {
        // SAFETY: no block is of no size (1); its first byte need not have been written.
        core::hint::black_box(unsafe { block.cast::<MaybeUninit<u8>>().read() });
    }
}

/// Fills a block that is about to be freed, with [`Stress::POISON`]: all of it, as far as the engine says that it goes.
///
/// # Safety
/// 1. `block` is a live block of the engine, and not used again.
#[cold]
pub(super) unsafe fn poison(block: NonNull<u8>) {
    // SAFETY: a live block (1).
    let bytes = unsafe { sys::mi_usable_size(block.as_ptr().cast()) };
    // SAFETY: of at least so many bytes, which nobody reads again (1).
    unsafe { block.write_bytes(Stress::POISON, bytes) }
}

/// What is asked of the engine for so many bytes, at the alignment that every block has: all that is counted for the block. Where
/// somebody looks for errors in the use of memory, it is only what will be used (but blocks of up to 8 bytes have not that alignment).
#[inline(always)]
const fn request(bytes: usize) -> usize {
    match bytes {
        _ if !cfg!(engine_watches) => counted(bytes, OBJECT_ALIGN) as usize,
        ..OBJECT_ALIGN => OBJECT_ALIGN,
        _ => bytes,
    }
}

/// Whether such a block is one of a [`Class`].
#[inline(always)]
const fn is_small(size: usize, align: usize) -> bool {
    const { assert!(SMALL <= engine::SMALL_MAX) };
    size <= SMALL && align <= OBJECT_ALIGN
}
