//! The one function that the engine calls, and what it may do.
//!
//! The rules, each with the fact about the engine that demands it:
//!
//! 1. It is registered once, with a null argument, and never taken back: function and argument are two separate atomics
//!    in the engine, and a call can see a new one with an old other.
//! 2. On a thread without a mutator it does nothing at all, and on others it counts and does nothing else: version 3 calls it on threads
//!    that are not initialised yet, and with locks held, also one of the very heap that is being used. Whoever allocated there could
//!    wait for himself. Handlers learn of calls at the next safepoint.
//! 3. It reads one thread-local that is made by a constant and has no `Drop`: calls come at thread and process exit too,
//!    when other thread-locals are gone.
//! 4. Nothing is freed in it: what a failed allocation needs is done by the allocation, after the engine has returned.

use core::cell::Cell;
use core::ffi::{c_ulonglong, c_void};
use core::ptr;
use std::sync::Once;

use crate::sys;

/// Why the engine called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookCall {
    /// After a number of slow-path allocations, or because somebody called `mi_collect(false)`.
    Routine,
    /// Forced, and caused by this crate on this thread: an allocation that found no memory, or a collection of the heap
    /// that was asked for.
    Forced,
    /// Forced by something else: `mi_collect(true)`, another allocation that found no memory.
    ForcedElsewhere,
}

/// Calls of the engine on this thread while a mutator was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Calls {
    pub(crate) routine: u64,
    pub(crate) forced: u64,
    pub(crate) forced_elsewhere: u64,
}

impl Calls {
    const NONE: Calls = Calls { routine: 0, forced: 0, forced_elsewhere: 0 };

    /// Those kinds of which there are any.
    pub(super) fn kinds(self) -> impl Iterator<Item = HookCall> {
        let kinds = [
            (self.routine, HookCall::Routine),
            (self.forced, HookCall::Forced),
            (self.forced_elsewhere, HookCall::ForcedElsewhere),
        ];
        kinds.into_iter().filter_map(|(calls, kind)| (calls > 0).then_some(kind))
    }
}

/// What the trampoline knows of its thread. Plain cells: no destructor, usable as long as the thread runs.
struct ThreadHook {
    mutators: Cell<u32>,
    causing: Cell<u32>,
    /// All of which handlers have been told.
    told: Cell<Calls>,
    /// Those that they have not been told of.
    untold: Cell<Calls>,
}

thread_local! {
    static HOOK: ThreadHook = const {
        ThreadHook {
            mutators: Cell::new(0),
            causing: Cell::new(0),
            told: Cell::new(Calls::NONE),
            untold: Cell::new(Calls::NONE),
        }
    };
}

/// The function that C calls. The only one in this crate.
unsafe extern "C" fn trampoline(force: bool, _count_of_the_theap: c_ulonglong, _null: *mut c_void) {
    HOOK.with(|hook| {
        if hook.mutators.get() == 0 {
            return;
        }
        let mut untold = hook.untold.get();
        match (force, hook.causing.get()) {
            (false, _) => untold.routine += 1,
            (true, 0) => untold.forced_elsewhere += 1,
            (true, _) => untold.forced += 1,
        }
        hook.untold.set(untold);
    });
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

/// An allocation of ours has found no memory, so the engine's last forced call was ours.
pub(crate) fn claim_forced() {
    HOOK.with(|hook| {
        let mut untold = hook.untold.get();
        if untold.forced_elsewhere > 0 {
            untold.forced_elsewhere -= 1;
            untold.forced += 1;
            hook.untold.set(untold);
        }
    });
}

/// How often the engine has called on this thread. Forced calls of others count when they are told: until then one may turn out
/// to be ours.
pub(crate) fn calls() -> Calls {
    HOOK.with(|hook| {
        let (told, untold) = (hook.told.get(), hook.untold.get());
        Calls { routine: told.routine + untold.routine, forced: told.forced + untold.forced, ..told }
    })
}

/// Whether there are calls to tell of.
#[inline]
pub(crate) fn has_untold_calls() -> bool {
    HOOK.with(|hook| hook.untold.get() != Calls::NONE)
}

/// The calls that there were since this was last asked. They count as told.
pub(super) fn take_untold() -> Calls {
    HOOK.with(|hook| {
        let calls = calls();
        let untold = hook.untold.replace(Calls::NONE);
        hook.told.set(Calls { forced_elsewhere: calls.forced_elsewhere + untold.forced_elsewhere, ..calls });
        untold
    })
}
