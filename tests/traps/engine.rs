//! The engine's functions that these tests call, as its headers declare them. Not the crate's own declarations: these
//! tests are about the engine, and would not be there if the crate used it in these ways.

use core::ffi::{c_int, c_long, c_ulonglong, c_void};
use std::ptr::null_mut;

// It brings the library.
use mimalloc_runtime as _;

pub(crate) const V2: bool = cfg!(feature = "v2");

/// A heap. Opaque.
#[repr(C)]
pub(crate) struct Heap {
    _opaque: [u8; 0],
}

/// The thread-bound part of a heap in version 3. Opaque.
#[cfg(not(feature = "v2"))]
#[repr(C)]
pub(crate) struct Theap {
    _opaque: [u8; 0],
}

/// What a walk says of the area it is in. Not looked into.
#[repr(C)]
pub(crate) struct Area {
    _opaque: [u8; 0],
}

#[cfg(not(feature = "v2"))]
pub(crate) type ArenaId = *mut c_void;
#[cfg(feature = "v2")]
pub(crate) type ArenaId = c_int;

/// The id that names no arena.
#[cfg(not(feature = "v2"))]
pub(crate) const NO_ARENA: ArenaId = null_mut();
#[cfg(feature = "v2")]
pub(crate) const NO_ARENA: ArenaId = 0;

pub(crate) type DeferredFree = unsafe extern "C" fn(force: bool, heartbeat: c_ulonglong, arg: *mut c_void);

pub(crate) type Visitor = unsafe extern "C" fn(
    heap: *const Heap,
    area: *const Area,
    block: *mut c_void,
    size: usize,
    arg: *mut c_void,
) -> bool;

unsafe extern "C" {
    pub(crate) fn mi_malloc(size: usize) -> *mut c_void;
    pub(crate) fn mi_free(p: *mut c_void);
    pub(crate) fn mi_register_deferred_free(f: Option<DeferredFree>, arg: *mut c_void);
    pub(crate) fn mi_option_set(option: c_int, value: c_long);
    pub(crate) fn mi_heap_new() -> *mut Heap;
    pub(crate) fn mi_heap_new_in_arena(arena: ArenaId) -> *mut Heap;
    pub(crate) fn mi_heap_delete(heap: *mut Heap);
    pub(crate) fn mi_heap_destroy(heap: *mut Heap);
    pub(crate) fn mi_heap_malloc(heap: *mut Heap, size: usize) -> *mut c_void;
    pub(crate) fn mi_heap_malloc_aligned(heap: *mut Heap, size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_heap_collect(heap: *mut Heap, force: bool);
    pub(crate) fn mi_heap_visit_blocks(heap: *mut Heap, blocks: bool, visitor: Visitor, arg: *mut c_void) -> bool;
    pub(crate) fn mi_reserve_os_memory_ex(
        size: usize,
        commit: bool,
        allow_large: bool,
        exclusive: bool,
        arena: *mut ArenaId,
    ) -> c_int;
}

// Also as they are when a callback leaves by unwinding.
unsafe extern "C-unwind" {
    pub(crate) fn mi_collect(force: bool);
}

#[cfg(not(feature = "v2"))]
unsafe extern "C" {
    pub(crate) fn mi_heap_theap(heap: *mut Heap) -> *mut Theap;
    pub(crate) fn mi_heap_stats_get(heap: *mut Heap, stats: *mut c_void) -> bool;
    pub(crate) fn mi_theap_visit_blocks(theap: *const Theap, blocks: bool, visitor: Visitor, arg: *mut c_void) -> bool;
}

#[cfg(feature = "v2")]
unsafe extern "C" {
    pub(crate) fn mi_heap_new_ex(tag: c_int, allow_destroy: bool, arena: ArenaId) -> *mut Heap;
}

/// Options, by their numbers in both versions.
pub(crate) const SHOW_ERRORS: c_int = 0;
/// In KiB.
pub(crate) const ARENA_RESERVE: c_int = 23;

/// Registers `callback` with a null argument. The engine has one place for it: one process, one test.
pub(crate) fn register(callback: DeferredFree) {
    // SAFETY: a function of the program.
    unsafe { mi_register_deferred_free(Some(callback), null_mut()) }
}

/// A new heap.
pub(crate) fn heap() -> *mut Heap {
    // SAFETY: callable at any time.
    let heap = unsafe { mi_heap_new() };
    assert!(!heap.is_null());
    heap
}

/// A block of `heap`, which is this thread's, or null.
pub(crate) fn malloc_in(heap: *mut Heap, size: usize) -> *mut c_void {
    // SAFETY: a heap that the test has made and not deleted.
    unsafe { mi_heap_malloc(heap, size) }
}

/// A block of this thread's default heap.
pub(crate) fn malloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    unsafe { mi_malloc(size) }
}

/// Frees a block.
///
/// # Safety
/// 1. `block` is a live block of the engine, or null.
pub(crate) unsafe fn free(block: *mut c_void) {
    // SAFETY: handed on (1).
    unsafe { mi_free(block) }
}

/// `mi_collect(true)` on this thread's default heap.
pub(crate) fn collect_forced() {
    // SAFETY: callable at any time.
    unsafe { mi_collect(true) }
}
