//! The heap of a mutator, paired with the thread that uses it: two heaps of the engine, one for objects and one for all else.
//!
//! A block does not say what it is, and a raw block may hold anything, also what looks like an object. So a walk that looks for
//! objects ([`Walk`](super::walk::Walk)) has to know by the place, and finding out costs the allocation path nothing: it takes
//! the one or the other. Nobody but the mutator's thread ever frees into the objects' heap, so the walk can go on while
//! others free raw blocks.

mod half;
mod remote_free;

use core::cell::Cell;
use core::ptr::NonNull;
use std::thread;
use std::time::Duration;

use crate::deferred::{Memory, OBJECT_ALIGN, Object, Place, Unwalkable};
use crate::engine::{Area, EngineStats, heap_is_made};
use crate::error::{Error, ErrorKind};
use crate::fallible;
use crate::heartbeat;
use crate::sys::{self, engine, mi_heap_t};

#[cfg(doc)]
use super::magazine::MOST_BLOCKS;
use super::wall::Wall;
use super::{magazine, mark, walk};
pub(crate) use half::Half;
use half::resize;
pub(crate) use remote_free::FreedElsewhere;
pub use remote_free::RemoteFree;

/// A heap that no thread is using. Made by the engine, given back to it only when provably empty.
#[derive(Debug)]
pub(crate) struct IdleHeap {
    objects: NonNull<mi_heap_t>,
    blocks: NonNull<mi_heap_t>,
    wall: Option<Wall>,
    /// [`Heap::is_own`].
    is_own: bool,
}

// SAFETY: where heaps are bound to their thread, one is idle only from its making until it is taken up or destroyed, within one call
// of that thread (`Pool::take`, `Heap::walled`; `Heap::release` gives it up there); elsewhere the engine lets any thread take a heap
// up.
unsafe impl Send for IdleHeap {}

impl IdleHeap {
    pub(crate) fn new() -> Result<IdleHeap, Error> {
        heap_is_made();
        let (objects, blocks) = two(engine::heap_new).ok_or_else(no_heap)?;
        Ok(IdleHeap { objects, blocks, wall: None, is_own: true })
    }

    /// A heap that takes its memory from within `wall`.
    fn within(wall: Wall) -> Result<IdleHeap, Error> {
        heap_is_made();
        match two(|| engine::heap_new_in(wall.arena())) {
            Some((objects, blocks)) => Ok(IdleHeap { objects, blocks, wall: Some(wall), is_own: true }),
            None => {
                wall.give_back();
                Err(no_heap())
            }
        }
    }

    /// Gives the heap back to the engine, and its wall to the next heap.
    ///
    /// # Safety
    /// 1. No block of it is used again, and no thread is freeing into it.
    pub(crate) unsafe fn destroy(self) {
        for heap in [self.objects, self.blocks] {
            if self.is_own {
                // SAFETY: nobody uses the heap: it is idle, and neither does anybody use its blocks (1).
                unsafe { sys::mi_heap_destroy(heap.as_ptr()) }
            } else {
                // What is in use in it stays.
                // SAFETY: nobody uses the heap; bound to this thread, as it is not its own.
                unsafe { sys::mi_heap_delete(heap.as_ptr()) }
            }
        }
        if let Some(wall) = self.wall {
            wall.give_back();
        }
    }
}

/// Two heaps, or none.
fn two(make: impl Fn() -> Option<NonNull<mi_heap_t>>) -> Option<(NonNull<mi_heap_t>, NonNull<mi_heap_t>)> {
    let first = make()?;
    let second = make();
    if second.is_none() {
        // SAFETY: just made, and nothing was allocated from it.
        unsafe { sys::mi_heap_destroy(first.as_ptr()) }
    }
    Some((first, second?))
}

fn no_heap() -> Error {
    Error::new(
        ErrorKind::NoHeap,
        "the engine could not make a heap: memory has run out, or too many mutators are attached (at most about 32,000)",
    )
}

/// So often a wall is asked again, of which another thread may be giving memory back to the system.
const PURGES: u32 = 20;

/// After this time each.
const PURGE: Duration = Duration::from_millis(1);

/// A heap in use by the thread that took it up.
#[derive(Debug)]
pub(crate) struct Heap {
    /// Invariant OBJECTS: every block in use here, but for those in the magazines, begins with the word of an object or of a
    /// [mark], wherever code of the user's may run. No other thread frees any of them. A block begins at what was handed out, also where
    /// the engine has words of its own before it.
    objects: Half,
    /// Everything else.
    blocks: Half,
    wall: Option<Wall>,
    /// Whether the engine is built as the walk takes it to be.
    can_walk: bool,
    /// Blocks of others may lie in it: see [`leave`](Heap::leave).
    is_left: Cell<bool>,
}

impl Heap {
    /// Pairs `idle` with this thread.
    ///
    /// # Errors
    /// When there is no memory; the heap is given back.
    pub(crate) fn take_up(idle: IdleHeap) -> Result<Heap, (IdleHeap, Error)> {
        // SAFETY: 1: the heap is alive, and where heaps are bound to a thread it was made by this one just now.
        let take_up = |heap| unsafe { Half::take_up(heap) };
        let Some(objects) = take_up(idle.objects) else { return Err((idle, no_heap())) };
        let Some(blocks) = take_up(idle.blocks) else {
            objects.give_up();
            return Err((idle, no_heap()));
        };
        // SAFETY: this thread's.
        unsafe { engine::leave_unguarded(objects.local) };
        let can_walk = objects.first_use(|block| {
            // SAFETY: a block of this heap, which is this thread's.
            unsafe { engine::walk_is_possible(objects.heap, objects.local, block) }
        });
        match can_walk {
            Some(can_walk) => Ok(Heap { objects, blocks, wall: idle.wall, can_walk, is_left: Cell::new(false) }),
            None => {
                objects.give_up();
                blocks.give_up();
                Err((idle, no_heap()))
            }
        }
    }

    /// A heap for this thread in a wall of at least so many bytes.
    ///
    /// # Errors
    /// Those of [`Wall::take`], and when there is no memory for the heap's own data.
    pub(crate) fn walled(bytes: u64) -> Result<Heap, Error> {
        let mut idle = IdleHeap::within(Wall::take(bytes)?)?;
        let mut left = if engine::PURGES_ARE_IN_THE_WAY { PURGES } else { 0 };
        loop {
            match heartbeat::causing(|| Heap::take_up(idle)) {
                Ok(heap) => return Ok(heap),
                Err((refused, _)) if left > 0 => {
                    left -= 1;
                    thread::sleep(PURGE);
                    idle = refused;
                }
                Err((idle, error)) => {
                    // SAFETY: made above, and nothing has been allocated from it since.
                    unsafe { idle.destroy() };
                    return Err(error);
                }
            }
        }
    }

    /// Ends the pairing. `None` where a heap cannot go to another thread; what is allocated in it stays valid all the same.
    ///
    /// # Safety
    /// 1. If it is `empty`, no block of the heap is allocated any more.
    pub(crate) unsafe fn release(self, empty: bool) -> Option<IdleHeap> {
        self.free_kept();
        let idle = self.end();
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

    /// Nothing is allocated from it any more.
    fn end(self) -> IdleHeap {
        let is_own = self.is_own();
        // Also where it is destroyed: a build of the engine with guard pages leaves the blocks to itself.
        self.leave();
        let idle = IdleHeap { objects: self.objects.heap, blocks: self.blocks.heap, wall: self.wall, is_own };
        self.objects.give_up();
        self.blocks.give_up();
        idle
    }

    /// The thread ends. Where the heap ends with it, its blocks go to the engine, and those of others may come into it from now on.
    pub(crate) fn leave(&self) {
        if engine::HEAP_IS_THREAD_BOUND && self.can_walk {
            self.is_left.set(true);
            for half in self.halves() {
                // SAFETY: alive, made by this thread, and laid out as it should be.
                unsafe { engine::leave(half.heap) }
            }
        }
    }

    /// Whether it was left.
    pub(super) fn is_left(&self) -> bool {
        self.is_left.get()
    }

    /// Whether nothing lies in it but what was allocated from it, so that it can be freed as a whole. Where heaps are bound to a thread only one that
    /// can be walked has been kept from taking in what others have left.
    pub(super) fn is_own(&self) -> bool {
        !engine::HEAP_IS_THREAD_BOUND || self.can_be_walked()
    }

    /// Ends the heap with all that is allocated in it. What is kept at hand goes with it.
    ///
    /// # Safety
    /// 1. No block of it is used again, and no thread is freeing into it.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: handed on (1).
        unsafe { self.end().destroy() }
    }

    fn halves(&self) -> [&Half; 2] {
        [&self.objects, &self.blocks]
    }

    pub(crate) fn wall(&self) -> Option<&Wall> {
        self.wall.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn engine_heaps(&self) -> [NonNull<mi_heap_t>; 2] {
        self.halves().map(|half| half.heap)
    }

    /// What raw blocks come from.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> &Half {
        &self.blocks
    }

    /// Where the objects lie, to be walked: the engine's heap and what allocates from it here. `None` when the engine is built
    /// otherwise than this crate was told, and when it was [left](Heap::leave).
    pub(super) fn walked(&self) -> Option<(NonNull<mi_heap_t>, NonNull<engine::Local>)> {
        self.can_be_walked().then_some((self.objects.heap, self.objects.local))
    }

    /// Gives the engine the objects' blocks that are kept at hand: what it has in use then is [OBJECTS](Heap).
    pub(super) fn free_kept_objects(&self) {
        self.objects.free_kept();
    }

    /// Ties it to a NUMA node; `None` for none.
    pub(crate) fn set_numa_node(&self, node: Option<u32>) {
        let node = node.map_or(-1, |node| i32::try_from(node).unwrap_or(i32::MAX));
        for half in self.halves() {
            // SAFETY: alive.
            unsafe { engine::set_numa_node(half.heap, node) }
        }
    }

    /// What the engine has counted of it.
    pub(crate) fn stats(&self) -> Result<EngineStats, Error> {
        let [objects, blocks] = self.halves().map(|half| {
            // SAFETY: alive, and taken up by this thread.
            unsafe { engine::heap_stats(half.heap, half.local) }.map(|stats| EngineStats::from(&stats))
        });
        Ok(objects?.and(&blocks?))
    }

    /// Its areas. The blocks that are kept at hand go back first, so that what is in use is in use by somebody.
    ///
    /// # Safety
    /// 1. No other thread frees into the heap meanwhile.
    pub(crate) unsafe fn areas(&self) -> Result<Vec<Area>, Error> {
        self.free_kept();
        let visit = |visit: &mut dyn FnMut(&sys::mi_heap_area_t)| {
            for half in self.halves() {
                // SAFETY: alone (1); nothing is allocated.
                unsafe { engine::visit_areas(half.heap, visit) };
            }
        };
        let mut count = 0;
        visit(&mut |_| count += 1);
        // The walk holds a lock, so memory is there before it; and this thread makes no area meanwhile.
        let mut areas = Vec::new();
        areas.try_reserve_exact(count).map_err(|_| fallible::out_of_memory())?;
        visit(&mut |area| {
            if areas.len() < areas.capacity() {
                areas.push(Area::from(area));
            }
        });
        Ok(areas)
    }

    /// Whether the object lies in this heap.
    ///
    /// # Safety
    /// 1. `object` is an object of this thread whose memory has not been freed.
    pub(crate) unsafe fn owns(&self, object: NonNull<u8>) -> bool {
        // SAFETY: live (1), and the heap is alive.
        unsafe { engine::owns(self.objects.heap, object) }
    }

    /// A block for an object, or nothing when there is no memory. The caller writes an object's word or a mark to it before
    /// code of the user's runs (OBJECTS).
    #[inline(always)]
    pub(crate) fn malloc_object(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        if align <= OBJECT_ALIGN { self.objects.malloc(size, align) } else { self.malloc_shifted(size, align) }
    }

    /// A block for an object that is aligned more than a block is.
    // Not the engine's: then nobody could tell where in its block the object lies.
    #[cold]
    fn malloc_shifted(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let block = self.objects.malloc(size.checked_add(align)?, OBJECT_ALIGN)?;
        // SAFETY: a fresh block of so many bytes more than the object has, at a multiple of 16.
        Some(unsafe { mark::shift(block, align) })
    }

    /// # Safety
    /// 1. `block` is an object's of this heap, of `old` bytes and this alignment; if a block is returned, it is gone.
    pub(crate) unsafe fn resize_object(
        &self,
        block: NonNull<u8>,
        old: usize,
        align: usize,
        new: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: of this heap, of this layout, and not used again (1).
        let free = |block| unsafe { self.free(block, old, align) };
        // SAFETY: of this heap, of these sizes (1); both calls are for objects.
        unsafe { resize(block, [old, new], align, |size| self.malloc_object(size, align), free) }
    }

    /// Gives the engine the blocks that are kept at hand.
    pub(crate) fn free_kept(&self) {
        self.halves().into_iter().for_each(Half::free_kept);
    }

    /// Gives the engine the blocks of one size, of another one each time: at most twice [`MOST_BLOCKS`] frees.
    pub(crate) fn free_some_kept(&self) {
        self.halves().into_iter().for_each(Half::free_some_kept);
    }

    /// Bytes of the blocks that are kept at hand.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.halves().map(Half::kept_bytes).into_iter().sum()
    }

    /// From now on blocks are [poisoned](half::poison) when they are freed, and none is kept at hand. None is yet.
    pub(crate) fn poison_what_is_freed(&self) {
        self.halves().into_iter().for_each(Half::poison_what_is_freed);
    }

    /// Sorts the heap's pages: frees empty ones, takes in what other threads freed. Not bounded.
    pub(crate) fn collect(&self) {
        self.free_kept();
        for half in self.halves() {
            // SAFETY: this thread's.
            unsafe { engine::collect(half.local, true) }
        }
    }
}

/// At most so many bytes are kept at hand.
pub(crate) const MOST_KEPT_BYTES: u64 = 2 * magazine::MOST_KEPT_BYTES;

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

// SAFETY: 1: takes every object's block of this heap, and calls nothing of the user's.
unsafe impl Memory for Heap {
    const LOOKS_AT_ALL_PAGES: bool = cfg!(feature = "v2");

    #[inline(always)]
    fn is_large(&self, bytes: usize) -> bool {
        bytes >= LARGE
    }

    #[inline(always)]
    unsafe fn free(&self, block: NonNull<u8>, bytes: usize, align: usize) {
        if align <= OBJECT_ALIGN {
            // SAFETY: handed on (1).
            unsafe { self.objects.free(block, bytes, align) }
        } else {
            // SAFETY: made by `malloc_shifted` (1).
            let block = unsafe { mark::unshift(block) };
            // SAFETY: the block that it asked for, of which nothing is used again (1).
            unsafe { self.objects.free(block, bytes + align, OBJECT_ALIGN) }
        }
    }

    #[inline(always)]
    unsafe fn owns(&self, object: NonNull<Object>) -> bool {
        // SAFETY: handed on (1).
        unsafe { Heap::owns(self, object.cast()) }
    }

    fn can_be_walked(&self) -> bool {
        self.can_walk && !self.is_left.get()
    }

    unsafe fn walk_on(
        &self,
        from: Place,
        visit: impl FnMut(NonNull<Object>),
    ) -> Result<(Option<Place>, u64), Unwalkable> {
        // SAFETY: handed on (1, 2).
        unsafe { walk::walk_on(self, from, visit) }
    }

    #[inline(always)]
    unsafe fn free_small(&self, block: NonNull<u8>, bytes: usize) {
        // SAFETY: handed on (1).
        unsafe { self.objects.free_small(block, bytes) }
    }
}
