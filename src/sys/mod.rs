//! The engine's functions that this crate calls, declared once for both engine versions.
//!
//! `libmimalloc-sys3` builds and links the library; of the functions below it binds a few. Every declaration here is
//! compared by the C compiler with the engine's own header when the crate is built (`vendor/abi_check.c`), so a wrong
//! one does not compile. [`engine`] is the one place that knows how version 2 and version 3 differ.

use core::ffi::{c_int, c_long, c_ulonglong, c_void};

// Linked for its native library; none of its declarations are used.
use libmimalloc_sys3 as _;

pub(crate) mod engine;

/// The engine's heap. Opaque.
#[repr(C)]
pub(crate) struct MiHeap {
    _opaque: [u8; 0],
}

/// The thread-bound part of a heap in version 3. Version 2 has none: there the heap itself is thread-bound.
#[cfg(engine = "v3")]
#[repr(C)]
pub(crate) struct MiTheap {
    _opaque: [u8; 0],
}

/// The function the engine calls now and then: `force`, its own count of calls, and the registered argument.
pub(crate) type DeferredFree = unsafe extern "C" fn(force: bool, heartbeat: c_ulonglong, arg: *mut c_void);

unsafe extern "C" {
    pub(crate) fn mi_version() -> c_int;
    pub(crate) fn mi_malloc(size: usize) -> *mut c_void;
    pub(crate) fn mi_free(p: *mut c_void);
    pub(crate) fn mi_collect(force: bool);
    pub(crate) fn mi_thread_init();
    pub(crate) fn mi_register_deferred_free(f: Option<DeferredFree>, arg: *mut c_void);
    pub(crate) fn mi_option_get(option: c_int) -> c_long;
    pub(crate) fn mi_option_set(option: c_int, value: c_long);
    pub(crate) fn mi_heap_new() -> *mut MiHeap;
    pub(crate) fn mi_heap_destroy(heap: *mut MiHeap);
}

// What a global allocator is made of.
unsafe extern "C" {
    pub(crate) fn mi_malloc_aligned(size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_zalloc_aligned(size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_realloc_aligned(p: *mut c_void, size: usize, align: usize) -> *mut c_void;
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    pub(crate) fn mi_heap_theap(heap: *mut MiHeap) -> *mut MiTheap;
    pub(crate) fn mi_theap_delete(theap: *mut MiTheap);
    pub(crate) fn mi_theap_malloc(theap: *mut MiTheap, size: usize) -> *mut c_void;
    pub(crate) fn mi_theap_zalloc(theap: *mut MiTheap, size: usize) -> *mut c_void;
    pub(crate) fn mi_theap_wmalloc_small(theap: *mut MiTheap, words: usize) -> *mut c_void;
    pub(crate) fn mi_free_small_nonnull(p: *mut c_void);
    pub(crate) fn mi_theap_malloc_aligned(theap: *mut MiTheap, size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_theap_zalloc_aligned(theap: *mut MiTheap, size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_theap_realloc(theap: *mut MiTheap, p: *mut c_void, size: usize) -> *mut c_void;
    pub(crate) fn mi_theap_collect(theap: *mut MiTheap, force: bool);
    pub(crate) fn mi_heap_of(p: *const c_void) -> *mut MiHeap;
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    pub(crate) fn mi_heap_malloc(heap: *mut MiHeap, size: usize) -> *mut c_void;
    pub(crate) fn mi_heap_zalloc(heap: *mut MiHeap, size: usize) -> *mut c_void;
    pub(crate) fn mi_free_small(p: *mut c_void);
    pub(crate) fn mi_heap_malloc_small(heap: *mut MiHeap, size: usize) -> *mut c_void;
    pub(crate) fn mi_heap_malloc_aligned(heap: *mut MiHeap, size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_heap_zalloc_aligned(heap: *mut MiHeap, size: usize, align: usize) -> *mut c_void;
    pub(crate) fn mi_heap_realloc(heap: *mut MiHeap, p: *mut c_void, size: usize) -> *mut c_void;
    pub(crate) fn mi_heap_collect(heap: *mut MiHeap, force: bool);
    pub(crate) fn mi_heap_contains_block(heap: *mut MiHeap, p: *const c_void) -> bool;
}
