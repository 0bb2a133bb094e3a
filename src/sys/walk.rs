//! Walks over the pages of a heap that can be left and taken up again: no API of the engine's, but `vendor/heap_walk.c`, which
//! is compiled against its internal headers.

use core::ffi::c_void;

use super::{mi_block_visit_fun, mi_heap_t, mi_theap_t};

/// Words of a place: all 0 at a walk's beginning.
pub(crate) const PLACE_WORDS: usize = 3;

/// The first word of the place at the walk's end.
pub(crate) const NO_MORE: usize = usize::MAX;

/// Words of a page that was found: the place behind it, and the page.
pub(crate) const FOUND_WORDS: usize = PLACE_WORDS + 1;

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// What the engine answers with when it has no memory for the part of a heap that allocates on a thread: every allocation from
    /// it gives null.
    pub(crate) fn mimalloc_runtime_placeholder() -> *mut mi_theap_t;
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// Takes the tag of a heap away, and of its pages. The heap is this thread's.
    pub(crate) fn mimalloc_runtime_untag(heap: *mut mi_heap_t);
}

unsafe extern "C" {
    /// Whether the engine is built as the walk takes it to be, to judge by a block of the heap in use. The first call also has it sample
    /// two blocks, in a heap of their own.
    ///
    /// `local` is what allocates for the heap on this thread, here and below.
    pub(crate) fn mimalloc_runtime_walk_is_possible(
        heap: *mut mi_heap_t,
        local: *mut mi_theap_t,
        block: *mut c_void,
    ) -> bool;
    /// The next pages of the heap from `place` on: stores at most `most` of them in `found`, [`FOUND_WORDS`] words for each, in the
    /// order of the walk, and returns how many. Moves the place behind the last of them, or behind what was looked at. It looks
    /// at so many words of 64 slices of an arena as `looks` says, and takes off what it has used; then it may have found less
    /// than there is. Pages that lie in no arena it finds by a look at the list of them all (version 2: all pages).
    ///
    /// The pages are there until something is allocated from or freed into the heap.
    pub(crate) fn mimalloc_runtime_walk_pages(
        heap: *mut mi_heap_t,
        local: *mut mi_theap_t,
        place: *mut usize,
        looks: *mut usize,
        found: *mut usize,
        most: usize,
    ) -> usize;
    /// Calls `visitor` for each block of the page in use, with what was handed out of it, and the bytes from there to its end. That is
    /// where the block starts, and all that its user has of it ([`mi_heap_area_t::block_size`](super::mi_heap_area_t)); but a block that
    /// a profiler has sampled begins with words of the engine's own.
    ///
    /// False, and nothing is visited, when a block begins with words of the engine's otherwise: it puts guard pages behind blocks, or
    /// aligns them, or notes a sample in another way than is known.
    ///
    /// What was handed out begins with 8 bytes, of which the upper 16 bits are not all 0, and not all bits are 1. No other thread frees
    /// into the page meanwhile, nor does the visitor.
    pub(crate) fn mimalloc_runtime_walk_page(
        page: *mut c_void,
        visitor: Option<mi_block_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
    /// Copies `count` words. They need not have been written: what they have then is any value.
    pub(crate) fn mimalloc_runtime_copy_words(from: *const c_void, to: *mut usize, count: usize);
}
