//! How engine version 2 and engine version 3 differ, and nothing else.
//!
//! | | version 3 | version 2 |
//! |---|---|---|
//! | what allocates | the *theap*, the thread-bound part of a heap | the heap, itself thread-bound |
//! | a heap after its thread has ended | lives on, another thread may use it | is gone, its blocks belong to no heap |
//! | at detach | the theap is deleted, its pages are free for the next thread | nothing: the heap waits for its own thread |
//! | what is in the pages of threads that have ended | stays in its heap | comes into a heap of the next thread that needs memory, also one that was made not to take any |
//! | what is free in an arena while it is given back to the system | | counts as in use |
//! | huge ranges purged inside `free` | yes, unless `arena_purge_immediate_size` is raised | only when the delay is 0 |

pub(crate) mod options;
mod pages;
mod profiler;

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;

use crate::error::{Error, ErrorKind};

use super::{mi_heap_t, walk};
pub(crate) use pages::{FoundBlock, FoundPage, WalkPlace, copy_words, walk_is_possible, walk_page, walk_pages};
pub(crate) use profiler::PprofProfiler;

/// What allocates on the calling thread: on version 2 the heap itself.
pub(crate) type Local = super::mi_theap_t;

/// Whether a heap can only ever be used by the thread that made it.
pub(crate) const HEAP_IS_THREAD_BOUND: bool = cfg!(engine = "v2");

/// The largest request that the engine's `*_small` functions take, in bytes.
pub(crate) const SMALL_MAX: usize = super::MI_SMALL_SIZE_MAX;

/// The error of what this engine cannot do.
pub(crate) fn unsupported(what: &str) -> Error {
    let (this, other) = if cfg!(engine = "v2") { (2, 3) } else { (3, 2) };
    let how = if this == 2 { "without the feature `v2`" } else { "with the feature `v2`" };
    Error::new(
        ErrorKind::Unsupported,
        format!("mimalloc {this} has no such thing as {what}: build {how} for mimalloc {other}, or do without"),
    )
}

/// The version of the library that was linked, as its header would say it.
pub(crate) fn version() -> c_int {
    // SAFETY: takes nothing and reads a constant.
    unsafe { super::mi_version() }
}

/// Whether what is free in an arena may be refused while another thread gives it back to the system.
pub(crate) const PURGES_ARE_IN_THE_WAY: bool = cfg!(engine = "v2");

/// Frees every block list and empty page of the calling thread's default heap and gives unused pages back to the
/// operating system. Not bounded.
pub(crate) fn collect_forced() {
    // SAFETY: callable on any thread; the hook it calls is ours.
    unsafe { super::mi_collect(true) }
}

/// Makes the engine ready on this thread, so that no later call does it inside a callback.
pub(crate) fn init_thread() {
    // SAFETY: idempotent, callable on any thread.
    unsafe { super::mi_thread_init() };
    // SAFETY: any size may be asked for.
    let block = unsafe { super::mi_malloc(1) };
    // SAFETY: fresh from mi_malloc, or null, which mi_free takes.
    unsafe { super::mi_free(block) };
}

/// The tag of this crate's heaps. When a thread needs memory, version 2 puts pages that threads which have ended left behind into a heap of it
/// with the tag that they had there: not into these, as [`leave`] takes it away from what is left. All other heaps have 0, unless asked for otherwise.
#[cfg(engine = "v2")]
const HEAP_TAG: c_int = 109;

pub(crate) fn heap_new() -> Option<NonNull<mi_heap_t>> {
    #[cfg(engine = "v3")]
    // SAFETY: takes nothing; null when memory or heaps have run out.
    let heap = unsafe { super::mi_heap_new() };
    #[cfg(engine = "v2")]
    let heap = tagged(0);
    NonNull::new(heap)
}

#[cfg(engine = "v2")]
fn tagged(arena: super::mi_arena_id_t) -> *mut mi_heap_t {
    // With a target a thread gives up segments that it uses, with what is in them.
    // SAFETY: an option, of the range it has.
    unsafe { super::mi_option_set(super::mi_option_target_segments_per_thread, 0) };
    // SAFETY: an arena or none; null when memory or heaps have run out.
    unsafe { super::mi_heap_new_ex(HEAP_TAG, true, arena) }
}

/// Leaves the blocks of a heap to whoever frees them, before the thread ends that made it. Until then, pages that others have left may come into it. On
/// version 3 it does nothing.
///
/// # Safety
/// `heap` is alive and, where it is [bound](HEAP_IS_THREAD_BOUND) to a thread, was made by this one.
pub(crate) unsafe fn leave(heap: NonNull<mi_heap_t>) {
    #[cfg(engine = "v2")]
    // SAFETY: alive, this thread's (obligation).
    unsafe {
        walk::mimalloc_runtime_untag(heap.as_ptr())
    }
    #[cfg(engine = "v3")]
    let _ = heap;
}

/// Arenas are of whole multiples of this, in bytes: version 3 would round down to it, and so give less than was asked for.
pub(crate) const ARENA_STEP: usize = 32 << 20;

/// What names an arena. The value that is left out names none.
#[cfg(engine = "v3")]
type ArenaId = NonNull<c_void>;
#[cfg(engine = "v2")]
type ArenaId = core::num::NonZero<c_int>;

/// An arena that serves only heaps made for it ([`heap_new_in`]). It lasts as long as the process.
#[derive(Debug)]
pub(crate) struct Arena {
    id: ArenaId,
    bytes: usize,
}

// SAFETY: an arena belongs to no thread.
unsafe impl Send for Arena {}

impl Arena {
    /// Reserves one of so many bytes, a multiple of [`ARENA_STEP`]. It has less when it takes several and no more are to be had.
    ///
    /// # Errors
    /// With the system's number of the error.
    pub(crate) fn reserve_exclusive(bytes: usize) -> Result<Arena, c_int> {
        debug_assert!(bytes > 0 && bytes % ARENA_STEP == 0);
        // On a thread that has not used the engine yet, version 2 crashes.
        init_thread();
        #[cfg(engine = "v3")]
        let mut id = core::ptr::null_mut();
        #[cfg(engine = "v2")]
        let mut id = 0;
        // SAFETY: maps memory of the engine's own, and stores what names it.
        let refused = unsafe { super::mi_reserve_os_memory_ex(bytes, true, false, true, &raw mut id) };
        if refused != 0 {
            return Err(refused);
        }
        let mut bytes = 0;
        // SAFETY: an arena, or none; stores its size, or 0.
        unsafe { super::mi_arena_area(id, &raw mut bytes) };
        match ArenaId::new(id) {
            // Never without a name: a heap that was made for none takes its memory from anywhere.
            Some(id) if bytes > 0 => Ok(Arena { id, bytes }),
            _ => Err(libc::ENOMEM),
        }
    }

    /// The size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of the engine's arenas that many bytes take: one of version 3 has at most 16 GiB.
    pub(crate) fn count_for(bytes: usize) -> usize {
        if cfg!(engine = "v3") { bytes.div_ceil(LARGEST_ARENA) } else { 1 }
    }
}

/// The most bytes of one arena of version 3.
const LARGEST_ARENA: usize = 512 * ARENA_STEP;

/// A heap that takes its memory from one arena, and can be destroyed.
pub(crate) fn heap_new_in(arena: &Arena) -> Option<NonNull<mi_heap_t>> {
    #[cfg(engine = "v3")]
    // SAFETY: an arena; null when memory or heaps have run out.
    let heap = unsafe { super::mi_heap_new_in_arena(arena.id.as_ptr()) };
    #[cfg(engine = "v2")]
    let heap = tagged(arena.id.get());
    NonNull::new(heap)
}

/// The part of `heap` that allocates on this thread, made when it is not there yet.
///
/// # Safety
/// `heap` is alive and, where [`HEAP_IS_THREAD_BOUND`], made by this thread.
pub(crate) unsafe fn local(heap: NonNull<mi_heap_t>) -> Option<NonNull<Local>> {
    #[cfg(engine = "v3")]
    {
        // SAFETY: the heap is alive (obligation).
        let theap = unsafe { super::mi_heap_theap(heap.as_ptr()) };
        NonNull::new(theap).filter(|theap| *theap != placeholder())
    }
    #[cfg(engine = "v2")]
    {
        Some(heap)
    }
}

/// What answers every allocation with null, as version 3 does when it has no memory for the part of a heap that allocates on a thread.
#[cfg(engine = "v3")]
fn placeholder() -> NonNull<Local> {
    // SAFETY: takes nothing.
    let placeholder = unsafe { walk::mimalloc_runtime_placeholder() };
    NonNull::new(placeholder).expect("a static of the engine")
}

/// What stands for `local` as long as nothing was allocated from it, so that the first allocation fails and can be prepared. Where
/// a heap costs little before it is used, `local` itself.
pub(crate) fn asleep(local: NonNull<Local>) -> NonNull<Local> {
    #[cfg(engine = "v3")]
    {
        let _ = local;
        placeholder()
    }
    #[cfg(engine = "v2")]
    {
        local
    }
}

/// Gives the pages of `local` up, so that another thread can take them over.
///
/// # Safety
/// `local` came from [`local`](fn@local) on this thread and is not used again.
pub(crate) unsafe fn release_local(local: NonNull<Local>) {
    #[cfg(engine = "v3")]
    // SAFETY: the owner thread deletes its own theap, which is not used again (obligation).
    unsafe {
        super::mi_theap_delete(local.as_ptr());
    }
    #[cfg(engine = "v2")]
    let _ = local;
}

/// Whether the block at `p` came from `heap`.
///
/// # Safety
/// `p` is a block of the engine that has not been freed, `heap` is alive, and both belong to this thread.
pub(crate) unsafe fn owns(heap: NonNull<mi_heap_t>, p: NonNull<u8>) -> bool {
    #[cfg(engine = "v3")]
    // SAFETY: reads the page of a live block (obligation).
    unsafe {
        super::mi_heap_of(p.as_ptr().cast()) == heap.as_ptr()
    }
    #[cfg(engine = "v2")]
    // SAFETY: reads the page of a live block, heap alive (obligation).
    unsafe {
        super::mi_heap_contains_block(heap.as_ptr(), p.as_ptr().cast())
    }
}

/// A block of at most [`SMALL_MAX`] bytes.
///
/// # Safety
/// 1. `local` is this thread's and in use.
#[inline(always)]
pub(crate) unsafe fn malloc_small(local: NonNull<Local>, size: usize) -> *mut c_void {
    debug_assert!(size <= SMALL_MAX);
    #[cfg(engine = "v3")]
    // In words, as this is meant for: the engine is spared the division.
    // SAFETY: handed on (1).
    unsafe {
        super::mi_theap_wmalloc_small(local.as_ptr(), size.div_ceil(size_of::<usize>()))
    }
    #[cfg(engine = "v2")]
    // SAFETY: handed on (1).
    unsafe {
        super::mi_heap_malloc_small(local.as_ptr(), size)
    }
}

/// Frees a block that was allocated by [`malloc_small`]: its page is found without being looked up.
///
/// # Safety
/// 1. `block` is such a block, and not used again.
#[inline(always)]
pub(crate) unsafe fn free_small(block: NonNull<u8>) {
    #[cfg(engine = "v3")]
    // SAFETY: handed on (1).
    unsafe {
        super::mi_free_small_nonnull(block.as_ptr().cast())
    }
    #[cfg(engine = "v2")]
    // SAFETY: handed on (1).
    unsafe {
        super::mi_free_small(block.as_ptr().cast())
    }
}

/// The calls of the allocation path, named once for both engines.
///
/// # Safety
/// For all: `local` is this thread's and in use; what a block pointer names is live and came from this engine.
macro_rules! local_calls {
    ($($name:ident ( $($arg:ident : $ty:ty),* ) $(-> $ret:ty)? = $v3:ident | $v2:ident;)*) => {$(
        #[inline(always)]
        pub(crate) unsafe fn $name(local: NonNull<Local>, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(engine = "v3")]
            // SAFETY: handed on to the caller, see the macro.
            unsafe { super::$v3(local.as_ptr(), $($arg),*) }
            #[cfg(engine = "v2")]
            // SAFETY: handed on to the caller, see the macro.
            unsafe { super::$v2(local.as_ptr(), $($arg),*) }
        }
    )*};
}

local_calls! {
    malloc(size: usize) -> *mut c_void = mi_theap_malloc | mi_heap_malloc;
    zalloc(size: usize) -> *mut c_void = mi_theap_zalloc | mi_heap_zalloc;
    malloc_aligned(size: usize, align: usize) -> *mut c_void = mi_theap_malloc_aligned | mi_heap_malloc_aligned;
    zalloc_aligned(size: usize, align: usize) -> *mut c_void = mi_theap_zalloc_aligned | mi_heap_zalloc_aligned;
    collect(force: bool) = mi_theap_collect | mi_heap_collect;
}

/// The statistics of the process.
pub(crate) fn process_stats() -> super::mi_stats_t {
    let mut stats = super::mi_stats_t::new();
    // SAFETY: a structure of the engine's size and version (the C compiler has compared them).
    let filled = unsafe { super::mi_stats_get(&raw mut stats) };
    debug_assert!(filled);
    stats
}

/// The statistics of a heap, up to date with those of this thread.
///
/// # Safety
/// 1. `heap` is alive, and `local` is what [`local`](fn@local) gave for it on this thread.
pub(crate) unsafe fn heap_stats(heap: NonNull<mi_heap_t>, local: NonNull<Local>) -> Result<super::mi_stats_t, Error> {
    #[cfg(engine = "v3")]
    {
        // SAFETY: this thread's (1).
        unsafe { super::mi_theap_stats_merge_to_heap(local.as_ptr()) };
        let mut stats = super::mi_stats_t::new();
        // SAFETY: alive (1), and a structure of the engine's size and version.
        let filled = unsafe { super::mi_heap_stats_get(heap.as_ptr(), &raw mut stats) };
        debug_assert!(filled);
        Ok(stats)
    }
    #[cfg(engine = "v2")]
    {
        let _ = (heap, local);
        Err(unsupported("statistics of one heap"))
    }
}

/// Whether blocks are counted by size class.
pub(crate) const COUNTS_BLOCKS: bool = cfg!(engine = "v3");

/// Bytes from one block to the next in a size class; `None` for that of the huge ones, which differ.
pub(crate) fn bin_stride(bin: usize) -> Option<usize> {
    if bin >= super::MI_BIN_HUGE {
        return None;
    }
    #[cfg(engine = "v3")]
    {
        // SAFETY: any number may be asked about.
        Some(unsafe { super::mi_stats_get_bin_size(bin) })
    }
    #[cfg(engine = "v2")]
    {
        // Its function for this is not exported. Words: 1 to 8, then four sizes to each doubling.
        let place = bin.max(1) - 1;
        let words = if place < 4 { place + 1 } else { (5 + place % 4) << (place / 4 - 1) };
        Some(words * size_of::<usize>())
    }
}

/// Walks the areas of a heap.
///
/// # Safety
/// 1. `heap` is alive, used by no other thread, and no other thread frees into it.
/// 2. `visit` neither allocates from nor frees into it, and does not unwind.
pub(crate) unsafe fn visit_areas(heap: NonNull<mi_heap_t>, visit: &mut dyn FnMut(&super::mi_heap_area_t)) {
    unsafe extern "C" fn visitor(
        _: *const mi_heap_t,
        area: *const super::mi_heap_area_t,
        _: *mut c_void,
        _: usize,
        visit: *mut c_void,
    ) -> bool {
        // SAFETY: what `visit_areas` passes below.
        let visit = unsafe { &mut *visit.cast::<&mut dyn FnMut(&super::mi_heap_area_t)>() };
        // SAFETY: an area, for the time of the call.
        visit(unsafe { &*area });
        true
    }
    let mut visit = visit;
    // SAFETY: alone (1); the argument is what the visitor takes it for, and is not used otherwise meanwhile.
    unsafe { super::mi_heap_visit_blocks(heap.as_ptr(), false, Some(visitor), (&raw mut visit).cast()) };
}

/// Lets no guard pages be put behind blocks of `local`: such a block does not lie where it begins. Only an engine that is built
/// for debugging does so.
///
/// # Safety
/// 1. `local` is this thread's.
pub(crate) unsafe fn leave_unguarded(local: NonNull<Local>) {
    #[cfg(engine = "v3")]
    // SAFETY: this thread's (1).
    unsafe {
        super::mi_theap_guarded_set_sample_rate(local.as_ptr(), 0, 0);
    }
    #[cfg(engine = "v2")]
    // SAFETY: this thread's (1).
    unsafe {
        super::mi_heap_guarded_set_sample_rate(local.as_ptr(), 0, 0);
    }
}

/// Whether a heap's memory can be tied to a NUMA node.
pub(crate) fn heaps_have_numa_nodes() -> Result<(), Error> {
    if cfg!(engine = "v3") { Ok(()) } else { Err(unsupported("the NUMA node of a heap")) }
}

/// Ties a heap's memory to a NUMA node, where it can be; -1 for none.
///
/// # Safety
/// 1. `heap` is alive.
pub(crate) unsafe fn set_numa_node(heap: NonNull<mi_heap_t>, node: c_int) {
    #[cfg(engine = "v3")]
    // SAFETY: alive (1).
    unsafe {
        super::mi_heap_set_numa_affinity(heap.as_ptr(), node);
    }
    #[cfg(engine = "v2")]
    let _ = (heap, node);
}

/// Gives what is free in all arenas back to the system.
pub(crate) fn purge_arenas() {
    #[cfg(engine = "v3")]
    // SAFETY: takes nothing, callable on any thread.
    unsafe {
        super::mi_arenas_purge();
    }
    #[cfg(engine = "v2")]
    // Version 2 purges its arenas in a forced collect.
    collect_forced();
}
