//! Allocations that are not the program's own.

use core::cell::Cell;

thread_local! {
    /// How many calls of [`aside`] are running. Without a destructor: the global allocator reads it.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f` without charging what it allocates from the global allocator ([`ChargingAlloc`](crate::ChargingAlloc)).
///
/// For what depends on other than the program (promise P4): on which thread was first to use a type, on what other threads have
/// left in a pool, on when the engine calls its hook.
pub(crate) fn aside<R>(f: impl FnOnce() -> R) -> R {
    /// Counts down also when `f` panics.
    struct Aside;
    impl Drop for Aside {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _aside = Aside;
    f()
}

#[inline(always)]
pub(crate) fn is_aside() -> bool {
    DEPTH.get() > 0
}
