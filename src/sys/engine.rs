//! How engine version 2 and engine version 3 differ, and nothing else.
//!
//! | | version 3 | version 2 |
//! |---|---|---|
//! | what allocates | the *theap*, the thread-bound part of a heap | the heap, itself thread-bound |
//! | a heap after its thread has ended | lives on, another thread may use it | is gone, its blocks belong to no heap |
//! | at detach | the theap is deleted, its pages are free for the next thread | nothing: the heap waits for its own thread |
//! | huge ranges purged inside `free` | yes, unless `arena_purge_immediate_size` is raised | only when the delay is 0 |

use core::ffi::{c_int, c_long, c_void};
use core::ptr::NonNull;

use super::mi_heap_t;

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
}

/// Milliseconds that a free range waits before its pages are given back.
pub(crate) const PURGE_DELAY: EngineOption = EngineOption { id: super::mi_option_purge_delay, name: "purge_delay" };

/// Slow-path allocations between two sweeps over all pages of a heap.
pub(crate) const GENERIC_COLLECT: EngineOption =
    EngineOption { id: super::mi_option_generic_collect, name: "generic_collect" };

/// A delay that never ends within a program's life, small enough that ten times it does not overflow the engine's
/// `long`. A negative delay would not do: then nothing is noted for purging, and a later forced purge finds nothing.
const NEVER: c_long = {
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
    // Ranges of at least so many KiB are purged inside `free`, whatever the delay: a `long` of KiB, far above any range.
    #[cfg(engine = "v3")]
    (
        EngineOption { id: super::mi_option_arena_purge_immediate_size, name: "arena_purge_immediate_size" },
        c_long::MAX / 2048,
    ),
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

/// The part of `heap` that allocates on this thread, made when it is not there yet.
///
/// # Safety
/// `heap` is alive and, where [`HEAP_IS_THREAD_BOUND`], made by this thread.
pub(crate) unsafe fn local(heap: NonNull<mi_heap_t>) -> Option<NonNull<Local>> {
    #[cfg(engine = "v3")]
    {
        // SAFETY: the heap is alive (obligation).
        let theap = unsafe { super::mi_heap_theap(heap.as_ptr()) };
        let theap = NonNull::new(theap)?;
        // Out of memory, the engine answers with a placeholder theap on which every allocation fails.
        Some(theap)
    }
    #[cfg(engine = "v2")]
    {
        Some(heap)
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
    realloc(p: *mut c_void, size: usize) -> *mut c_void = mi_theap_realloc | mi_heap_realloc;
    collect(force: bool) = mi_theap_collect | mi_heap_collect;
}
