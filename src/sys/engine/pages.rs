//! The pages of a heap: found from a place on, their blocks visited, and words in them copied.

use core::ffi::c_void;
use core::ptr::NonNull;

use crate::sys::{mi_heap_area_t, mi_heap_t, walk};

use super::Local;

/// Whether the engine is built as the walk takes it to be.
///
/// # Safety
/// 1. `local` is what [`local`](fn@super::local) gave for `heap` on this thread, and `block` a block of it in use.
pub(crate) unsafe fn walk_is_possible(heap: NonNull<mi_heap_t>, local: NonNull<Local>, block: NonNull<u8>) -> bool {
    // SAFETY: this thread's, and in use (1).
    unsafe { walk::mimalloc_runtime_walk_is_possible(heap.as_ptr(), local.as_ptr(), block.as_ptr().cast()) }
}

/// How far a walk over the pages of a heap has come. What it has passed it does not come back to, whatever is allocated and freed.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct WalkPlace([usize; walk::PLACE_WORDS]);

impl WalkPlace {
    /// What [`words`](WalkPlace::words) gave.
    pub(crate) fn at(words: [usize; walk::PLACE_WORDS]) -> WalkPlace {
        WalkPlace(words)
    }

    pub(crate) fn words(self) -> [usize; walk::PLACE_WORDS] {
        self.0
    }

    pub(crate) fn is_end(self) -> bool {
        self.0[0] == walk::NO_MORE
    }
}

/// A page of a heap that a walk has found.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct FoundPage {
    /// The place behind it.
    pub(crate) behind: WalkPlace,
    page: usize,
}

/// The next pages of a heap from `place` on, in order, as many as `found` takes and `looks` last. The place is moved behind what was
/// looked at.
///
/// # Safety
/// 1. `local` is what [`local`](fn@super::local) gave for `heap` on this thread, of which [`walk_is_possible`] has said so.
pub(crate) unsafe fn walk_pages<'a>(
    heap: NonNull<mi_heap_t>,
    local: NonNull<Local>,
    place: &mut WalkPlace,
    looks: &mut usize,
    found: &'a mut [FoundPage],
) -> &'a [FoundPage] {
    const { assert!(size_of::<FoundPage>() == walk::FOUND_WORDS * size_of::<usize>()) };
    let (place, most) = (place.0.as_mut_ptr(), found.len());
    // SAFETY: this thread's (1); a place, and room for so many pages.
    let count = unsafe {
        walk::mimalloc_runtime_walk_pages(heap.as_ptr(), local.as_ptr(), place, looks, found.as_mut_ptr().cast(), most)
    };
    &found[..count]
}

/// A block in use that a walk passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundBlock {
    /// What was handed out, and `mi_free` takes.
    pub(crate) pointer: NonNull<u8>,
    /// Bytes of the engine's own that lie before it in the block: none, unless a profiler has sampled it.
    pub(crate) before: usize,
}

/// Calls `visit` with each block of the page in use. `None`, and nothing is visited, when the engine has put something into a block that
/// is not known; otherwise how many there were.
///
/// # Safety
/// 1. The page was found by [`walk_pages`] on this thread, and nothing was allocated from its heap or freed into it since.
/// 2. No other thread frees into it meanwhile, nor does `visit`, which does not unwind either.
/// 3. What was handed out of each block in use begins with the word of an object or of a mark.
pub(crate) unsafe fn walk_page<V: FnMut(FoundBlock)>(page: FoundPage, visit: &mut V) -> Option<u64> {
    struct Visit<'a, V> {
        visit: &'a mut V,
        blocks: u64,
    }
    unsafe extern "C" fn visitor<V: FnMut(FoundBlock)>(
        _: *const mi_heap_t,
        area: *const mi_heap_area_t,
        pointer: *mut c_void,
        size: usize,
        visit: *mut c_void,
    ) -> bool {
        // SAFETY: what `walk_page` passes below.
        let visit = unsafe { &mut *visit.cast::<Visit<'_, V>>() };
        visit.blocks += 1;
        if let Some(pointer) = NonNull::new(pointer.cast()) {
            // SAFETY: the page's, for as long as this call.
            let whole = unsafe { (*area).block_size };
            (visit.visit)(FoundBlock { pointer, before: whole - size });
        }
        true
    }
    let mut visit = Visit { visit, blocks: 0 };
    let page = core::ptr::with_exposed_provenance_mut(page.page);
    // SAFETY: a page of the engine's (1), which nobody else uses (2), with words that have the key of a type (3); the argument is what the
    // visitor takes it for.
    let visited = unsafe { walk::mimalloc_runtime_walk_page(page, Some(visitor::<V>), (&raw mut visit).cast()) };
    visited.then_some(visit.blocks)
}

/// Copies words of memory of which some may never have been written.
///
/// # Safety
/// 1. `from` lies at a multiple of a word's size, so many words behind it may be read, and nobody writes to them meanwhile.
pub(crate) unsafe fn copy_words(from: NonNull<usize>, to: &mut [usize]) {
    // SAFETY: so many words on both sides (1).
    unsafe { walk::mimalloc_runtime_copy_words(from.as_ptr().cast(), to.as_mut_ptr(), to.len()) }
}
