//! Heaps: made, given back, asked.
//!
//! A heap of version 3 serves any thread. A heap of version 2 belongs to the thread that made it, and is gone when that
//! thread ends.

use core::ffi::{c_int, c_void};
use core::marker::{PhantomData, PhantomPinned};

use super::mi_arena_id_t;

/// A heap. Opaque.
#[repr(C)]
pub struct mi_heap_t {
    _opaque: [u8; 0],
    _neither_send_nor_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

unsafe extern "C" {
    /// A new heap; null when memory or heaps (version 3: 64,512) have run out.
    pub fn mi_heap_new() -> *mut mi_heap_t;
    /// Gives a heap back; its live blocks move to the main heap. (Version 2: to the thread's first, if they have the same tag and arena; otherwise they
    /// are left as by a thread that has ended, see `mi_heap_new_ex`.) While another thread frees into the heap or walks it, this
    /// crashes or hangs.
    pub fn mi_heap_delete(heap: *mut mi_heap_t);
    /// Gives a heap back and frees its live blocks. While another thread frees into the heap or walks it, this crashes or
    /// hangs. On version 2, a heap that may not be destroyed is deleted instead; and one without a tag of its own may have taken in what threads that have
    /// ended left in use, which goes with it.
    pub fn mi_heap_destroy(heap: *mut mi_heap_t);
    /// Calls the deferred-free function, with `force` as it is here; then frees what other threads freed, and empty pages.
    /// `force` also gives memory back to the system. Version 3: of the calling thread's part of the heap. Not bounded.
    pub fn mi_heap_collect(heap: *mut mi_heap_t, force: bool);
    /// A heap that allocates from one arena only. A null id (version 2: 0) gives a heap without that limit. Version 2: it
    /// cannot be destroyed, `mi_heap_new_ex` is the way.
    pub fn mi_heap_new_in_arena(arena_id: mi_arena_id_t) -> *mut mi_heap_t;
    /// Whether the block's page is used less than `perc_threshold` percent, so that moving the block would help. Only while
    /// no other thread uses the page.
    pub fn mi_unsafe_heap_page_is_under_utilized(heap: *mut mi_heap_t, p: *mut c_void, perc_threshold: usize) -> bool;
    /// Whether the pointer lies in a block of the engine. Version 2: of the calling thread's default heap.
    pub fn mi_check_owned(p: *const c_void) -> bool;
    /// Whether the pointer lies in memory of the engine.
    pub fn mi_is_in_heap_region(p: *const c_void) -> bool;
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// The heap from which `mi_malloc` allocates on every thread that has set no other.
    pub fn mi_heap_main() -> *mut mi_heap_t;
    /// The heap of a block.
    pub fn mi_heap_of(p: *const c_void) -> *mut mi_heap_t;
    /// Whether the pointer lies in a block of the heap.
    pub fn mi_heap_contains(heap: *const mi_heap_t, p: *const c_void) -> bool;
    /// Whether the pointer lies in a block of any heap.
    pub fn mi_any_heap_contains(p: *const c_void) -> bool;
    /// The NUMA node from which the heap prefers memory; below 0 for none. A null heap is the main one.
    pub fn mi_heap_set_numa_affinity(heap: *mut mi_heap_t, numa_node: c_int);
    /// In a debug build, leaves the first `preserve` bytes of each block as they are where it would fill them with a
    /// pattern.
    pub fn mi_heap_set_debug_fill_preserve(heap: *mut mi_heap_t, preserve: usize);
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// Makes a heap of this thread its default, and gives the one that was.
    pub fn mi_heap_set_default(heap: *mut mi_heap_t) -> *mut mi_heap_t;
    /// The thread's default heap.
    pub fn mi_heap_get_default() -> *mut mi_heap_t;
    /// The thread's first heap, which takes over the blocks of the thread's deleted heaps.
    pub fn mi_heap_get_backing() -> *mut mi_heap_t;
    /// A heap with a tag of its own, for one arena (0 for any). Without `allow_destroy`, `mi_heap_destroy` only deletes it.
    ///
    /// Pages that threads which have ended left with blocks in use come into a heap of the next thread that needs memory: one with the tag of
    /// the heap that they were made for, or if that thread has none, any, also one of a mutator. So heaps with a tag other than 0 must not leave
    /// blocks when they are deleted or their thread ends. The heaps of mutators have 109.
    pub fn mi_heap_new_ex(heap_tag: c_int, allow_destroy: bool, arena_id: mi_arena_id_t) -> *mut mi_heap_t;
    /// Whether the block is of the heap. The pointer must be a block.
    pub fn mi_heap_contains_block(heap: *mut mi_heap_t, p: *const c_void) -> bool;
    /// Whether the pointer lies in a block of the heap, which any pointer may be asked. Walks all pages of the heap.
    pub fn mi_heap_check_owned(heap: *mut mi_heap_t, p: *const c_void) -> bool;
    /// One object in `sample_rate` is followed by a guard page; 0 for none. A `seed` of 0 starts at random. Only in an
    /// engine that was built with guard pages.
    pub fn mi_heap_guarded_set_sample_rate(heap: *mut mi_heap_t, sample_rate: usize, seed: usize);
    /// The sizes that may be followed by a guard page.
    pub fn mi_heap_guarded_set_size_bound(heap: *mut mi_heap_t, min: usize, max: usize);
}
