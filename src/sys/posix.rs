//! The names that other allocators and C libraries give these functions.

use core::ffi::{c_int, c_void};

unsafe extern "C" {
    /// [`mi_expand`](super::mi_expand) by another name.
    pub fn mi__expand(p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_good_size`](super::mi_good_size) by another name.
    pub fn mi_malloc_good_size(size: usize) -> usize;
    /// As `posix_memalign`: stores a block, and gives 0 or an `errno`.
    pub fn mi_posix_memalign(p: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
    /// As `memalign`: the alignment comes first.
    pub fn mi_memalign(alignment: usize, size: usize) -> *mut c_void;
    /// As `aligned_alloc`: the alignment comes first.
    pub fn mi_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    /// As `valloc`: aligned to the system's pages.
    pub fn mi_valloc(size: usize) -> *mut c_void;
    /// As `pvalloc`: whole pages of the system.
    pub fn mi_pvalloc(size: usize) -> *mut c_void;
    /// As `reallocarray`; sets `errno`.
    pub fn mi_reallocarray(p: *mut c_void, count: usize, size: usize) -> *mut c_void;
    /// As NetBSD's `reallocarr`: `ptrp` is the address of the pointer, which it replaces; 0 or an `errno`.
    pub fn mi_reallocarr(ptrp: *mut c_void, count: usize, size: usize) -> c_int;
    /// As Microsoft's `_aligned_recalloc`.
    pub fn mi_aligned_recalloc(p: *mut c_void, newcount: usize, size: usize, alignment: usize) -> *mut c_void;
    /// As Microsoft's `_aligned_offset_recalloc`.
    pub fn mi_aligned_offset_recalloc(
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
    /// [`mi_free`](super::mi_free); size and alignment are those that were asked for.
    pub fn mi_free_size_aligned(p: *mut c_void, size: usize, alignment: usize);
    /// [`mi_free`](super::mi_free); the alignment is the one that was asked for.
    pub fn mi_free_aligned(p: *mut c_void, alignment: usize);
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// Frees a block if it is one of the engine's, and says whether it was.
    pub fn mi_cfree(p: *mut c_void) -> bool;
    /// [`mi_usable_size`](super::mi_usable_size), or 0 for what is not the engine's.
    pub fn mi_malloc_size(p: *const c_void) -> usize;
    /// [`mi_malloc_size`] by another name.
    pub fn mi_malloc_usable_size(p: *const c_void) -> usize;
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// Frees a block if it is one of the engine's.
    pub fn mi_cfree(p: *mut c_void);
}
