//! Code of the user's that the crate has called.

use core::cell::Cell;

thread_local! {
    /// How many calls of [`within`] are running.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f`, which is the user's: a handler, an observer, a request, a `Drop`. What it polls is not where the program itself stands,
/// with whichever mutator of the thread.
pub(crate) fn within<R>(f: impl FnOnce() -> R) -> R {
    /// Counts down also when `f` panics.
    struct Within;
    impl Drop for Within {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _within = Within;
    f()
}

/// Whether such code is running on this thread.
pub(crate) fn is_within() -> bool {
    DEPTH.get() > 0
}
