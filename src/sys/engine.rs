//! How engine version 2 and engine version 3 differ, and nothing else.
//!
//! | | version 3 | version 2 |
//! |---|---|---|
//! | what allocates | the *theap*, the thread-bound part of a heap | the heap, itself thread-bound |
//! | a heap after its thread has ended | lives on, another thread may use it | is gone, its blocks belong to no heap |
//! | at detach | the theap is deleted, its pages are free for the next thread | nothing: the heap waits for its own thread |
//! | huge ranges purged inside `free` | yes, unless `arena_purge_immediate_size` is raised | only when the delay is 0 |

use core::ffi::{CStr, c_int, c_long, c_void};
use core::ptr::NonNull;

use crate::error::{Error, ErrorKind};

use super::{mi_heap_t, walk};

/// What allocates on the calling thread: on version 2 the heap itself.
pub(crate) type Local = super::mi_theap_t;

/// Whether a heap can only ever be used by the thread that made it.
pub(crate) const HEAP_IS_THREAD_BOUND: bool = cfg!(engine = "v2");

/// The largest request that the engine's `*_small` functions take, in bytes.
pub(crate) const SMALL_MAX: usize = super::MI_SMALL_SIZE_MAX;

/// An engine option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EngineOption {
    pub(crate) id: super::mi_option_t,
    pub(crate) name: &'static str,
    /// Whether the engine reads it when a heap is made, and not afterwards.
    pub(crate) before_heaps: bool,
}

/// An option with the number and the name that the engine has for it.
macro_rules! option {
    ($id:ident, $name:literal) => {
        EngineOption { id: super::$id, name: $name, before_heaps: false }
    };
}

/// Options that only version 3 has.
macro_rules! v3_options {
    ($($(#[$doc:meta])* $const:ident = $id:ident, $name:literal, $before_heaps:literal;)*) => {$(
        $(#[$doc])*
        #[cfg(engine = "v3")]
        pub(crate) const $const: Option<EngineOption> =
            Some(EngineOption { before_heaps: $before_heaps, ..option!($id, $name) });
        $(#[$doc])*
        #[cfg(engine = "v2")]
        pub(crate) const $const: Option<EngineOption> = None;
    )*};
}

/// Milliseconds that a free range waits before its pages are given back.
pub(crate) const PURGE_DELAY: EngineOption = option!(mi_option_purge_delay, "purge_delay");
/// Slow-path allocations between two sweeps over all pages of a heap.
pub(crate) const GENERIC_COLLECT: EngineOption = option!(mi_option_generic_collect, "generic_collect");
/// Whether memory given back is decommitted.
pub(crate) const PURGE_DECOMMITS: EngineOption = option!(mi_option_purge_decommits, "purge_decommits");
/// KiB of an arena.
pub(crate) const ARENA_RESERVE: EngineOption = option!(mi_option_arena_reserve, "arena_reserve");
/// Whether arenas are made usable at once.
pub(crate) const ARENA_EAGER_COMMIT: EngineOption = option!(mi_option_arena_eager_commit, "arena_eager_commit");
/// Whether memory comes from reserved arenas alone.
pub(crate) const DISALLOW_OS_ALLOC: EngineOption = option!(mi_option_disallow_os_alloc, "disallow_os_alloc");
/// Whether the system's large pages are used.
pub(crate) const ALLOW_LARGE_OS_PAGES: EngineOption = option!(mi_option_allow_large_os_pages, "allow_large_os_pages");
/// Whether errors and warnings are shown.
pub(crate) const SHOW_ERRORS: EngineOption = option!(mi_option_show_errors, "show_errors");
/// Whether the engine tells what it does.
pub(crate) const VERBOSE: EngineOption = option!(mi_option_verbose, "verbose");

v3_options! {
    /// KiB from which on a free range is given back inside `free`, whatever the delay.
    PURGE_IMMEDIATE_SIZE = mi_option_arena_purge_immediate_size, "arena_purge_immediate_size", false;
    /// KiB of the largest block in an arena.
    ARENA_MAX_OBJECT_SIZE = mi_option_arena_max_object_size, "arena_max_object_size", false;
    /// Pages looked at for an allocation.
    PAGE_MAX_CANDIDATES = mi_option_page_max_candidates, "page_max_candidates", false;
    /// Full pages kept in each size class.
    PAGE_FULL_RETAIN = mi_option_page_full_retain, "page_full_retain", true;
    /// Who may take a page over by freeing into it.
    PAGE_RECLAIM_ON_FREE = mi_option_page_reclaim_on_free, "page_reclaim_on_free", true;
}

/// The error of what this engine cannot do.
pub(crate) fn unsupported(what: &str) -> Error {
    let (this, other) = if cfg!(engine = "v2") { (2, 3) } else { (3, 2) };
    let how = if this == 2 { "without the feature `v2`" } else { "with the feature `v2`" };
    Error::new(
        ErrorKind::Unsupported,
        format!("mimalloc {this} has no such thing as {what}: build {how} for mimalloc {other}, or do without"),
    )
}

/// A delay that never ends within a program's life, small enough that ten times it does not overflow the engine's
/// `long`. A negative delay would not do: then nothing is noted for purging, and a later forced purge finds nothing.
pub(crate) const NEVER: c_long = {
    let wide: i128 = 1 << 40;
    if wide < c_long::MAX as i128 / 16 { wide as c_long } else { c_long::MAX / 16 }
};

/// Options that keep the engine's own long calls out of `malloc` and `free`.
///
/// Pages are never given back inside a call of ours but noted, and given back by [`collect_forced`]; the sweep over all
/// pages of a heap happens every millionth slow-path allocation (the engine's maximum) instead of every ten thousandth.
pub(crate) const LATENCY_PRESET: &[(EngineOption, c_long)] = &[
    (PURGE_DELAY, NEVER),
    (GENERIC_COLLECT, 1_000_000),
    // A `long` of KiB, far above any range.
    #[cfg(engine = "v3")]
    (PURGE_IMMEDIATE_SIZE.unwrap(), c_long::MAX / 2048),
];

pub(crate) fn option_get(option: EngineOption) -> c_long {
    // SAFETY: the number is an option of this engine; reading one is thread-safe.
    unsafe { super::mi_option_get(option.id) }
}

pub(crate) fn option_set(option: EngineOption, value: c_long) {
    // SAFETY: as above; the callers hold the lock that orders our writes.
    unsafe { super::mi_option_set(option.id, value) }
}

/// The version of the library that was linked, as its header would say it.
pub(crate) fn version() -> c_int {
    // SAFETY: takes nothing and reads a constant.
    unsafe { super::mi_version() }
}

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

pub(crate) fn heap_new() -> Option<NonNull<mi_heap_t>> {
    // SAFETY: takes nothing; null when memory or heaps have run out.
    NonNull::new(unsafe { super::mi_heap_new() })
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
    // SAFETY: as above. Heaps without a tag of their own have 0.
    let heap = unsafe { super::mi_heap_new_ex(0, true, arena.id.get()) };
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

/// Whether the engine is built as the walk takes it to be.
///
/// # Safety
/// 1. `local` is what [`local`](fn@local) gave for `heap` on this thread, and `block` a block of it in use.
pub(crate) unsafe fn walk_is_possible(heap: NonNull<mi_heap_t>, local: NonNull<Local>, block: NonNull<u8>) -> bool {
    // SAFETY: this thread's, and in use (1).
    unsafe { walk::mimalloc_runtime_walk_is_possible(heap.as_ptr(), local.as_ptr(), block.as_ptr().cast()) }
}

/// How far a walk over the pages of a heap has come. What it has passed it does not come back to, whatever is allocated and freed.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct WalkPlace([usize; walk::PLACE_WORDS]);

impl WalkPlace {
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
/// 1. `local` is what [`local`](fn@local) gave for `heap` on this thread, of which [`walk_is_possible`] has said so.
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
        area: *const super::mi_heap_area_t,
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

/// The engine's `pprof` profiler, attached to the process and not yet running. There is one for good: sampled blocks tell it
/// of their end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PprofProfiler {
    #[cfg(engine = "v3")]
    profiler: NonNull<super::mi_profiler_t>,
}

// SAFETY: the engine calls its profiler from all threads.
unsafe impl Send for PprofProfiler {}

impl PprofProfiler {
    /// Intervals are in bytes, bytes and seconds, 0 for none. `None` when memory has run out.
    pub(crate) fn new(
        path: &CStr,
        sample_bytes: usize,
        every_bytes: usize,
        every_growth: usize,
        every_seconds: usize,
    ) -> Result<Option<PprofProfiler>, Error> {
        #[cfg(engine = "v3")]
        {
            let profiler = unsafe {
                // SAFETY: a string that ends with a zero.
                super::mi_pprof_profiler_new(sample_bytes, path.as_ptr(), every_bytes, every_growth, every_seconds)
            };
            let Some(profiler) = NonNull::new(profiler) else { return Ok(None) };
            // SAFETY: a profiler, which is never given back.
            let attached = unsafe { super::mi_profile(profiler.as_ptr()) };
            Ok(attached.then_some(PprofProfiler { profiler }))
        }
        #[cfg(engine = "v2")]
        {
            let _ = (path, sample_bytes, every_bytes, every_growth, every_seconds);
            Err(unsupported("a heap profiler"))
        }
    }

    pub(crate) fn start(self) {
        #[cfg(engine = "v3")]
        // SAFETY: a profiler, attached.
        unsafe {
            super::mi_profiler_start(self.profiler.as_ptr());
        }
    }

    pub(crate) fn stop(self) {
        #[cfg(engine = "v3")]
        // SAFETY: as above.
        unsafe {
            super::mi_profiler_stop(self.profiler.as_ptr());
        }
    }

    pub(crate) fn snapshot(self) {
        #[cfg(engine = "v3")]
        // SAFETY: as above.
        unsafe {
            super::mi_profiler_snapshot(self.profiler.as_ptr());
        }
    }
}
