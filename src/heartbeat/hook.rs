//! The one function that the engine calls, and what it may do.
//!
//! The rules, each with the fact about the engine that demands it:
//!
//! 1. It is registered once, with a null argument, and never taken back: function and argument are two separate atomics
//!    in the engine, and a call can see a new one with an old other.
//! 2. On a thread without a mutator it does nothing at all: version 3 calls it now and then on a thread that is not
//!    initialised yet, with an internal lock held, where even `malloc` deadlocks.
//! 3. It reads one thread-local that is made by a constant and has no `Drop`: calls come at thread and process exit too,
//!    when other thread-locals are gone.
//! 4. A forced call that we did not cause sets a flag and nothing else: it may be the end of the process. Handlers learn of
//!    it at the next safepoint.
//! 5. No panic leaves it. The first is kept and resumed at the next safepoint.
//! 6. It never frees or allocates an object by itself: what a failed allocation needs is done by the allocation, after the
//!    engine has returned.

use core::any::Any;
use core::cell::Cell;
use core::ffi::{c_ulonglong, c_void};
use core::panic::AssertUnwindSafe;
use core::ptr;
use std::panic::catch_unwind;
use std::sync::Once;

use crate::aside::aside;
use crate::sys;

use super::handler;

/// Why the engine called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookCall {
    /// After a number of slow-path allocations, or because somebody called `mi_collect(false)`.
    Routine,
    /// Forced, and caused by this crate on this thread: an allocation that found no memory, or a collection of the heap
    /// that was asked for.
    Forced,
    /// Forced by something else: `mi_collect(true)`, another allocation that found no memory, the end of the process. Told
    /// at the next safepoint, not from within the engine.
    ForcedElsewhere,
}

/// How often the engine has called on this thread while a mutator was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) routine: u64,
    pub(crate) forced: u64,
    pub(crate) forced_elsewhere: u64,
}

/// What the trampoline knows of its thread. Plain cells: no destructor, usable as long as the thread runs.
struct ThreadHook {
    mutators: Cell<u32>,
    causing: Cell<u32>,
    /// Set while handlers run, and while none may.
    in_handler: Cell<bool>,
    /// Forced calls that we did not cause and handlers have not been told of.
    unseen_forced: Cell<u32>,
    calls: Cell<Calls>,
    /// The payload of the first panic of a handler, boxed once more so that the pointer is thin; null for none. A raw
    /// pointer, as a `Box` would give the thread-local a destructor (rule 3).
    parked: Cell<*mut Box<dyn Any + Send>>,
}

thread_local! {
    static HOOK: ThreadHook = const {
        ThreadHook {
            mutators: Cell::new(0),
            causing: Cell::new(0),
            in_handler: Cell::new(false),
            unseen_forced: Cell::new(0),
            calls: Cell::new(Calls { routine: 0, forced: 0, forced_elsewhere: 0 }),
            parked: Cell::new(ptr::null_mut()),
        }
    };
}

/// The function that C calls. The only one in this crate.
unsafe extern "C" fn trampoline(force: bool, _count_of_the_theap: c_ulonglong, _null: *mut c_void) {
    HOOK.with(|hook| {
        if hook.mutators.get() == 0 {
            return;
        }
        let mut calls = hook.calls.get();
        let call = match (force, hook.causing.get()) {
            (false, _) => {
                calls.routine += 1;
                HookCall::Routine
            }
            (true, 0) => {
                calls.forced_elsewhere += 1;
                HookCall::ForcedElsewhere
            }
            (true, _) => {
                calls.forced += 1;
                HookCall::Forced
            }
        };
        hook.calls.set(calls);
        if call == HookCall::ForcedElsewhere {
            hook.unseen_forced.set(hook.unseen_forced.get().saturating_add(1));
        } else {
            run_handlers(hook, call);
        }
    });
}

/// Runs the process-wide handlers, each whatever became of the others, and keeps the first panic.
fn run_handlers(hook: &ThreadHook, call: HookCall) {
    if hook.in_handler.replace(true) {
        return;
    }
    let call_all = || {
        handler::for_each(|handler| {
            // The handler itself is dropped in here too: it may have been removed meanwhile, and this be the last of it.
            let run = move || {
                handler(call);
                drop(handler);
            };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                if hook.parked.get().is_null() {
                    hook.parked.set(Box::into_raw(Box::new(payload)));
                } else {
                    // Dropping a payload may panic again, and this may be inside the engine.
                    core::mem::forget(payload);
                }
            }
        })
    };
    // When they are called is the engine's choice, so what they allocate is not charged.
    aside(call_all);
    hook.in_handler.set(false);
}

/// Registers the trampoline, once in the life of the process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the trampoline never unwinds, keeps to the rules above, and lives as long as the process.
        unsafe { sys::mi_register_deferred_free(Some(trampoline), ptr::null_mut()) }
    });
}

/// Calls on this thread count from now on. Nests.
pub(crate) fn attach_thread() {
    HOOK.with(|hook| hook.mutators.set(hook.mutators.get() + 1));
}

/// The opposite of [`attach_thread`].
pub(crate) fn detach_thread() {
    HOOK.with(|hook| hook.mutators.set(hook.mutators.get() - 1));
}

/// Forced calls made while `f` runs are ours.
pub(crate) fn causing<R>(f: impl FnOnce() -> R) -> R {
    /// Counts down also when `f` panics.
    struct Causing;
    impl Drop for Causing {
        fn drop(&mut self) {
            HOOK.with(|hook| hook.causing.set(hook.causing.get() - 1));
        }
    }
    HOOK.with(|hook| hook.causing.set(hook.causing.get() + 1));
    let _causing = Causing;
    f()
}

/// An allocation of ours has found no memory, so the engine's last forced call was ours: it is not told again.
pub(crate) fn claim_forced() {
    HOOK.with(|hook| {
        let unseen = hook.unseen_forced.get();
        if unseen > 0 {
            hook.unseen_forced.set(unseen - 1);
            let mut calls = hook.calls.get();
            calls.forced_elsewhere -= 1;
            calls.forced += 1;
            hook.calls.set(calls);
        }
    });
}

/// Runs `f` with the process-wide handlers off on this thread: for what holds a lock, ours or the engine's, while it
/// allocates. Calls that come meanwhile are counted and reach no handler, and what `f` allocates is nobody's charge.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) -> R {
    /// Restores also when `f` panics.
    struct Quiet(bool);
    impl Drop for Quiet {
        fn drop(&mut self) {
            HOOK.with(|hook| hook.in_handler.set(self.0));
        }
    }
    let _quiet = Quiet(HOOK.with(|hook| hook.in_handler.replace(true)));
    aside(f)
}

/// Whether a process-wide handler is running on this thread.
pub(crate) fn in_handler() -> bool {
    HOOK.with(|hook| hook.in_handler.get())
}

/// How often the engine has called on this thread.
pub(crate) fn calls() -> Calls {
    HOOK.with(|hook| hook.calls.get())
}

/// Whether there is a forced call to tell of or a panic to resume.
#[inline]
pub(crate) fn has_news() -> bool {
    HOOK.with(|hook| hook.unseen_forced.get() > 0 || !hook.parked.get().is_null())
}

/// Tells the handlers of a forced call that was not ours, if there was one since the last time.
pub(crate) fn take_unseen_forced() {
    HOOK.with(|hook| {
        if hook.unseen_forced.replace(0) > 0 {
            run_handlers(hook, HookCall::ForcedElsewhere);
        }
    });
}

/// The payload of a handler's panic, if there is one.
pub(crate) fn take_parked_panic() -> Option<Box<dyn Any + Send>> {
    let parked = HOOK.with(|hook| hook.parked.replace(ptr::null_mut()));
    if parked.is_null() {
        return None;
    }
    // SAFETY: made by Box::into_raw in run_handlers, and taken out of the cell, so taken once.
    Some(*unsafe { Box::from_raw(parked) })
}
