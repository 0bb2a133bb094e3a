//! A heap of the engine, paired with the thread that uses it.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::deferred::{Memory, OBJECT_ALIGN, Object, SMALL, counted};
use crate::engine::{Area, EngineStats, heap_is_made};
use crate::error::{Error, ErrorKind};
use crate::fallible::{self, TryArc};
use crate::sys::{self, engine, mi_heap_t};

#[cfg(doc)]
use super::magazine::MOST_BLOCKS;
use super::magazine::{Class, Magazines};
use super::wall::Wall;

/// A heap that no thread is using. Made by the engine, given back to it only when provably empty.
#[derive(Debug)]
pub(crate) struct IdleHeap {
    heap: NonNull<mi_heap_t>,
    wall: Option<Wall>,
}

// SAFETY: where heaps are bound to their thread, one is idle only from its making until it is taken up or destroyed, within one call
// of that thread (`Pool::take`, `Heap::walled`; `Heap::release` gives it up there); elsewhere the engine lets any thread take a heap
// up.
unsafe impl Send for IdleHeap {}

impl IdleHeap {
    pub(crate) fn new() -> Result<IdleHeap, Error> {
        heap_is_made();
        engine::heap_new().map(|heap| IdleHeap { heap, wall: None }).ok_or_else(no_heap)
    }

    /// A heap that takes its memory from within `wall`.
    fn within(wall: Wall) -> Result<IdleHeap, Error> {
        heap_is_made();
        match engine::heap_new_in(wall.arena()) {
            Some(heap) => Ok(IdleHeap { heap, wall: Some(wall) }),
            None => {
                wall.give_back();
                Err(no_heap())
            }
        }
    }

    /// Gives the heap back to the engine, and its wall to the next heap.
    ///
    /// # Safety
    /// 1. No block of it is allocated, so no thread can be freeing into it.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: nobody uses the heap: it is idle, and has no blocks (1).
        unsafe { sys::mi_heap_destroy(self.heap.as_ptr()) }
        if let Some(wall) = self.wall {
            wall.give_back();
        }
    }
}

fn no_heap() -> Error {
    Error::new(
        ErrorKind::NoHeap,
        "the engine could not make a heap: memory has run out, or too many mutators are attached (at most about 64,000)",
    )
}

/// A heap in use by the thread that took it up.
#[derive(Debug)]
pub(crate) struct Heap {
    heap: NonNull<mi_heap_t>,
    local: NonNull<engine::Local>,
    magazines: Magazines,
    wall: Option<Wall>,
}

impl Heap {
    /// Pairs `idle` with this thread.
    /// # Errors
    /// When there is no memory; the heap is given back.
    pub(crate) fn take_up(idle: IdleHeap) -> Result<Heap, (IdleHeap, Error)> {
        // SAFETY: the heap is alive, and where heaps are bound to a thread it was made by this one just now.
        let Some(local) = (unsafe { engine::local(idle.heap) }) else { return Err((idle, no_heap())) };
        let heap = Heap { heap: idle.heap, local, magazines: Magazines::new(), wall: idle.wall };
        // The first use, made here: inside a callback it would deadlock. Out of memory the engine hands out a placeholder
        // that fails every allocation, which shows here too.
        let Some(probe) = heap.malloc(16, 16) else {
            return Err((IdleHeap { heap: heap.heap, wall: heap.wall }, no_heap()));
        };
        // SAFETY: allocated above with this size and alignment.
        unsafe { heap.free(probe, 16, 16) };
        Ok(heap)
    }

    /// A heap for this thread in a wall of at least so many bytes.
    ///
    /// # Errors
    /// Those of [`Wall::take`], and when there is no memory for the heap's own data.
    pub(crate) fn walled(bytes: u64) -> Result<Heap, Error> {
        let idle = IdleHeap::within(Wall::take(bytes)?)?;
        Heap::take_up(idle).map_err(|(idle, error)| {
            // SAFETY: made above, and nothing has been allocated from it since.
            unsafe { idle.destroy() };
            error
        })
    }

    /// Ends the pairing. `None` where a heap cannot go to another thread; what is allocated in it stays valid all the same.
    ///
    /// # Safety
    /// 1. If it is `empty`, no block of the heap is allocated any more.
    pub(crate) unsafe fn release(self, empty: bool) -> Option<IdleHeap> {
        self.free_kept();
        // SAFETY: this thread's, and given up here.
        unsafe { engine::release_local(self.local) };
        let idle = IdleHeap { heap: self.heap, wall: self.wall };
        if !engine::HEAP_IS_THREAD_BOUND {
            return Some(idle);
        }
        if empty {
            // SAFETY: empty (1).
            unsafe { idle.destroy() };
        } else if let Some(wall) = idle.wall {
            wall.lose();
        }
        // Otherwise it stays with its thread, at whose end the engine passes its blocks on.
        None
    }

    pub(crate) fn wall(&self) -> Option<&Wall> {
        self.wall.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn engine_heap(&self) -> NonNull<mi_heap_t> {
        self.heap
    }

    /// Ties it to a NUMA node; `None` for none.
    pub(crate) fn set_numa_node(&self, node: Option<u32>) {
        let node = node.map_or(-1, |node| i32::try_from(node).unwrap_or(i32::MAX));
        // SAFETY: alive.
        unsafe { engine::set_numa_node(self.heap, node) }
    }

    /// What the engine has counted of it.
    pub(crate) fn stats(&self) -> Result<EngineStats, Error> {
        // SAFETY: alive, and taken up by this thread.
        let stats = unsafe { engine::heap_stats(self.heap, self.local) }?;
        Ok(EngineStats::from(&stats))
    }

    /// Its areas. The blocks that are kept at hand go back first, so that what is in use is in use by somebody.
    ///
    /// # Safety
    /// 1. No other thread frees into the heap meanwhile.
    pub(crate) unsafe fn areas(&self) -> Result<Vec<Area>, Error> {
        self.free_kept();
        let mut count = 0;
        // SAFETY: alone (1).
        unsafe { engine::visit_areas(self.heap, &mut |_| count += 1) };
        // The walk holds a lock, so memory is there before it; and this thread makes no area meanwhile.
        let mut areas = Vec::new();
        areas.try_reserve_exact(count).map_err(|_| fallible::out_of_memory())?;
        // SAFETY: as above; nothing is allocated.
        unsafe {
            engine::visit_areas(self.heap, &mut |area| {
                if areas.len() < areas.capacity() {
                    areas.push(Area::from(area));
                }
            });
        }
        Ok(areas)
    }

    /// # Safety
    /// 1. `block` is a live block of the engine, of a heap that this thread uses.
    pub(crate) unsafe fn owns(&self, block: NonNull<u8>) -> bool {
        // SAFETY: live (1), and the heap is alive.
        unsafe { engine::owns(self.heap, block) }
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
            unsafe { engine::malloc_small(self.local, request(size)) }
        } else if align <= OBJECT_ALIGN {
            // SAFETY: this thread's.
            unsafe { engine::malloc(self.local, request(size)) }
        } else {
            // SAFETY: this thread's.
            unsafe { engine::malloc_aligned(self.local, size, align) }
        };
        NonNull::new(block.cast())
    }

    pub(crate) fn malloc_zeroed(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let block = if align <= OBJECT_ALIGN {
            // SAFETY: this thread's.
            unsafe { engine::zalloc(self.local, request(size)) }
        } else {
            // SAFETY: this thread's.
            unsafe { engine::zalloc_aligned(self.local, size, align) }
        };
        NonNull::new(block.cast())
    }

    /// # Safety
    /// 1. `block` is a live block of this heap, of `old` bytes and this alignment; if a block is returned, it is gone.
    pub(crate) unsafe fn realloc(
        &self,
        block: NonNull<u8>,
        old: usize,
        align: usize,
        new: usize,
    ) -> Option<NonNull<u8>> {
        // Not by the engine's `realloc`, which leaves a block in place that is twice as large as it need be: more would be in use
        // than is counted. Among blocks of one count, any serves all sizes (`request`); one of a larger alignment, what
        // it was made for.
        let in_place = counted(old, align) == counted(new, align) && (align <= OBJECT_ALIGN || new <= old);
        if in_place && !cfg!(engine_watches) {
            return Some(block);
        }
        let copy = self.malloc(new, align)?;
        // SAFETY: both are of at least so many bytes, and are two blocks.
        unsafe { core::ptr::copy_nonoverlapping(block.as_ptr(), copy.as_ptr(), old.min(new)) };
        // SAFETY: not used again (1).
        unsafe { self.free(block, old, align) };
        Some(copy)
    }

    /// Gives the engine the blocks that are kept at hand.
    pub(crate) fn free_kept(&self) {
        // SAFETY: allocated as small, from this heap.
        self.magazines.clear(|block| unsafe { engine::free_small(block) });
    }

    /// Gives the engine the blocks of one size, of another one each time: at most [`MOST_BLOCKS`] frees.
    pub(crate) fn free_some_kept(&self) {
        // SAFETY: as above.
        self.magazines.clear_next(|block| unsafe { engine::free_small(block) });
    }

    /// Bytes of the blocks that are kept at hand.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.magazines.bytes()
    }

    /// Sorts the heap's pages: frees empty ones, takes in what other threads freed. Not bounded.
    pub(crate) fn collect(&self) {
        self.free_kept();
        // SAFETY: this thread's.
        unsafe { engine::collect(self.local, true) }
    }
}

/// More than this is never asked of the engine: it has no such block, and sums of sizes stay far from overflowing.
pub(crate) const MOST_BYTES: usize = match 1usize.checked_shl(47) {
    Some(bytes) => bytes,
    None => isize::MAX as usize,
};

/// Blocks of at least this many bytes are freed from a place that may wait.
///
/// Below it a free touches the engine's own records alone. From 32 MiB on version 3 gives the pages back inside the call
/// unless told otherwise (`arena_purge_immediate_size`), and what is too large for an arena is unmapped there whatever the options.
/// Half of that is well on this side of it, on both engines.
pub(crate) const LARGE: usize = 16 << 20;

// SAFETY: 1: mi_free takes every block of the engine, of whichever heap, and calls nothing of ours.
unsafe impl Memory for Heap {
    #[inline(always)]
    fn is_large(&self, bytes: usize) -> bool {
        bytes >= LARGE
    }

    #[inline(always)]
    unsafe fn free(&self, block: NonNull<u8>, bytes: usize, align: usize) {
        // SAFETY: handed on (1).
        unsafe { look_at(block) };
        if is_small(bytes, align) {
            // SAFETY: of this size and alignment (1).
            unsafe { self.free_small(block, Class::of(bytes).size()) }
        } else {
            // SAFETY: a live block (1).
            unsafe { sys::mi_free(block.as_ptr().cast()) }
        }
    }

    #[inline(always)]
    unsafe fn owns(&self, object: NonNull<Object>) -> bool {
        // SAFETY: handed on (1).
        unsafe { Heap::owns(self, object.cast()) }
    }

    #[inline(always)]
    unsafe fn free_small(&self, block: NonNull<u8>, bytes: usize) {
        // SAFETY: allocated by `malloc` in this class (1).
        if !unsafe { self.magazines.keep(block, Class::counted(bytes)) } {
            // SAFETY: allocated by `malloc` as small (1).
            unsafe { engine::free_small(block) }
        }
    }
}

/// Reads from a block that is about to be freed, where somebody looks for errors: the engine does not, and tools would miss a
/// block that is freed twice.
///
/// # Safety
/// 1. `block` is a live block of the engine.
#[inline(always)]
unsafe fn look_at(block: NonNull<u8>) {
    if cfg!(engine_watches) {
        // SAFETY: no block is of no size (1); its first byte need not have been written.
        core::hint::black_box(unsafe { block.cast::<MaybeUninit<u8>>().read() });
    }
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

/// What threads without the mutator have freed of its blocks, in bytes as they are counted. Every block counts, so the bytes
/// that are left are 0 exactly when no block is.
#[derive(Debug, Default)]
pub(crate) struct FreedElsewhere {
    pub(crate) bytes: AtomicU64,
}

/// Frees blocks of a mutator from any thread.
///
/// Made by [`Mutator::remote_free`](crate::Mutator::remote_free); cheap to clone; may outlive the mutator.
#[derive(Clone, Debug)]
pub struct RemoteFree {
    pub(super) freed: TryArc<FreedElsewhere>,
}

impl RemoteFree {
    /// Frees a block.
    ///
    /// # Safety
    /// 1. `block` was allocated by [`Mutator::allocate`](crate::Mutator::allocate) or a sibling of it, of the mutator that
    ///    this was made by, with this `layout`, and is not used again.
    ///
    /// # Cost
    /// One `mi_free` of another thread's block, and an atomic addition.
    pub unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: a live block of the engine (1).
        unsafe { look_at(block) };
        // SAFETY: as above.
        unsafe { sys::mi_free(block.as_ptr().cast()) };
        // Release: whoever sees the block counted as freed (Acquire in `Leftover::is_gone`) comes after the free itself, and
        // may destroy the heap.
        self.freed.bytes.fetch_add(counted(layout.size(), layout.align()), Ordering::Release);
    }
}
