//! Options of the engine, those that version 2 has not included.

use core::ffi::c_long;

use crate::sys;

/// An engine option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EngineOption {
    pub(crate) id: sys::mi_option_t,
    pub(crate) name: &'static str,
    /// Whether the engine reads it when a heap is made, and not afterwards.
    pub(crate) before_heaps: bool,
}

/// An option with the number and the name that the engine has for it.
macro_rules! option {
    ($id:ident, $name:literal) => {
        EngineOption { id: sys::$id, name: $name, before_heaps: false }
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

/// A delay that never ends within a program's life, small enough that ten times it does not overflow the engine's
/// `long`. A negative delay would not do: then nothing is noted for purging, and a later forced purge finds nothing.
pub(crate) const NEVER: c_long = {
    let wide: i128 = 1 << 40;
    if wide < c_long::MAX as i128 / 16 { wide as c_long } else { c_long::MAX / 16 }
};

/// Options that keep the engine's own long calls out of `malloc` and `free`.
///
/// Pages are never given back inside a call of ours but noted, and given back by [`collect_forced`](super::collect_forced); the sweep over all
/// pages of a heap happens every millionth slow-path allocation (the engine's maximum) instead of every ten thousandth.
pub(crate) const LATENCY_PRESET: &[(EngineOption, c_long)] = &[
    (PURGE_DELAY, NEVER),
    (GENERIC_COLLECT, 1_000_000),
    // A `long` of KiB, far above any range.
    #[cfg(engine = "v3")]
    (PURGE_IMMEDIATE_SIZE.unwrap(), c_long::MAX / 2048),
];

pub(crate) fn get(option: EngineOption) -> c_long {
    // SAFETY: the number is an option of this engine; reading one is thread-safe.
    unsafe { sys::mi_option_get(option.id) }
}

pub(crate) fn set(option: EngineOption, value: c_long) {
    // SAFETY: as above; the callers hold the lock that orders our writes.
    unsafe { sys::mi_option_set(option.id, value) }
}
