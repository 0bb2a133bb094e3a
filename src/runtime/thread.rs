//! Which mutators this thread has.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

use crate::aside::is_aside;
use crate::deferred::{Cycles, Object, Route};

use super::state::State;

thread_local! {
    /// Invariant THREAD: the head of a list, through `State::next`, of every state on this thread that is attached, still
    /// owns a live object, or has a handle of its heap. A pointer without a destructor: objects may be let go of while thread-locals are destroyed.
    static STATES: Cell<*const State> = const { Cell::new(ptr::null()) };

    /// The state that was attached last and still is: the first such one on the list, or null. The global allocator charges
    /// it.
    static CURRENT: Cell<*const State> = const { Cell::new(ptr::null()) };

    /// Tells when the thread ends.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        let mut at = STATES.get();
        // SAFETY: by THREAD null or alive.
        while let Some(state) = unsafe { at.as_ref() } {
            state.heap.leave();
            at = state.next.get();
        }
    }
}

/// Puts `state` at the head: the state that was attached last is found first.
///
/// # Safety
/// 1. `state` is a boxed state of this thread on no list, and stays alive until it is struck off.
pub(super) unsafe fn enlist(state: NonNull<State>) {
    STATES.with(|head| {
        // SAFETY: alive (1).
        unsafe { state.as_ref() }.next.set(head.get());
        head.set(state.as_ptr());
        set_routes(head);
    });
    if END.try_with(|_| ()).is_err() {
        // SAFETY: alive (1).
        unsafe { state.as_ref() }.heap.leave();
    }
    find_current();
    if handed_over().is_some() {
        tell_of_finalizers();
    }
}

/// A state whose mutator has gone, and that has finalizers due.
pub(super) fn handed_over() -> Option<NonNull<State>> {
    let mut at = STATES.get();
    // SAFETY: by THREAD null or alive.
    while let Some(state) = unsafe { at.as_ref() } {
        if !state.is_attached() && state.has_finalizers_due() {
            return NonNull::new(at.cast_mut());
        }
        at = state.next.get();
    }
    None
}

/// Tells an object's owner that the object's finalizer is due.
///
/// # Safety
/// 1. `object`, an object of this thread, is alive.
#[cold]
pub(super) unsafe fn finalizer_due(object: NonNull<Object>) {
    // SAFETY: alive (1).
    unsafe { state_of(object) }.look_at_finalizers();
}

/// Has the current mutator, if there is one, look for finalizers at its next safepoint.
pub(super) fn tell_of_finalizers() {
    // SAFETY: null or attached, and so by THREAD alive.
    if let Some(state) = unsafe { CURRENT.get().as_ref() } {
        state.interrupts().raise_news();
    }
}

/// To be called when a state was attached or detached.
pub(super) fn find_current() {
    let mut at = STATES.get();
    // SAFETY: by THREAD null or alive.
    while let Some(state) = unsafe { at.as_ref() } {
        if state.is_attached() {
            break;
        }
        at = state.next.get();
    }
    CURRENT.set(at);
}

/// Charges the current mutator, if there is one, for memory of the global allocator. Calls nothing, allocates nothing, and
/// does not panic.
#[inline]
pub(super) fn charge(layout: Layout) {
    // SAFETY: null or attached, and so by THREAD alive.
    if let Some(state) = unsafe { CURRENT.get().as_ref() } {
        if !is_aside() {
            state.charge_elsewhere(layout);
        }
    }
}

/// With one state on the thread every object is its own; with more, each object's owner is looked up.
fn set_routes(head: &Cell<*const State>) {
    // SAFETY: by THREAD null or alive.
    let alone = unsafe { head.get().as_ref() }.is_none_or(|state| state.next.get().is_null());
    let route = (!alone).then_some(Route { retire, suspect });
    // SAFETY: as above.
    let mut at = unsafe { head.get().as_ref() };
    while let Some(state) = at {
        state.set_route(route);
        // SAFETY: as above.
        at = unsafe { state.next.get().as_ref() };
    }
}

/// Hands an object that has just died to its owner.
///
/// # Safety
/// 1. The last reference to `object`, an object of this thread, was just given up, and nobody else knows of its death.
#[inline(never)]
pub(super) unsafe fn retire(object: NonNull<Object>) {
    match only() {
        // SAFETY: the state of an object lives at least as long as the object; dead and its own (1).
        Some(state) => unsafe { State::retire(state, object) },
        // SAFETY: handed on (1).
        None => unsafe { retire_among_many(object) },
    }
}

/// Tells its owner of an object of which a reference was given up, and others are left.
///
/// # Safety
/// 1. `object`, an object of this thread, is alive and armed.
#[cold]
#[inline(never)]
pub(super) unsafe fn suspect(object: NonNull<Object>) {
    match only() {
        // SAFETY: handed on (1); the state of an object lives at least as long as the object.
        Some(state) => unsafe { State::suspect(state, object) },
        // SAFETY: handed on (1).
        None => unsafe { suspect_among_many(object) },
    }
}

/// # Safety
/// 1. As for [`suspect`].
#[cold]
#[inline(never)]
unsafe fn suspect_among_many(object: NonNull<Object>) {
    // SAFETY: alive (1).
    let state = unsafe { owner(object) };
    // SAFETY: as in `suspect`; its own.
    unsafe { State::suspect(state, object) }
}

/// The search for garbage cycles that an object is a matter of.
///
/// # Safety
/// 1. `object` is an object of this thread whose memory has not been freed, and not before the last use of the result.
unsafe fn cycles_of<'a>(object: NonNull<Object>) -> &'a Cycles {
    // SAFETY: handed on (1).
    unsafe { state_of(object) }.cycles()
}

/// The state that owns an object.
///
/// # Safety
/// 1. `object` is an object of this thread whose memory has not been freed, and not before the last use of the result.
pub(super) unsafe fn state_of<'a>(object: NonNull<Object>) -> &'a State {
    // SAFETY: handed on (1).
    let state = unsafe { owner(object) };
    // SAFETY: the state of an object lives at least as long as the object (1).
    unsafe { state.as_ref() }
}

/// A cell of some object of this thread is being changed that was to tell of it to a look of this number.
pub(crate) fn cell_changed(look: u32) {
    // Whose, it does not know.
    let mut at = STATES.get();
    // SAFETY: by THREAD null or alive.
    while let Some(state) = unsafe { at.as_ref() } {
        state.cycles().disturb(look);
        at = state.next.get();
    }
}

/// Whether an object may be borrowed mutably: there is one reference to it, and no weak one. Its owner is told if that matters.
///
/// # Safety
/// 1. `object`, an object of this thread, is alive; the reference is borrowed for as long as the object will be.
#[inline(always)]
pub(super) unsafe fn borrow(object: NonNull<Object>) -> bool {
    // SAFETY: alive (1).
    let word = unsafe { object.as_ref() }.word();
    // SAFETY: alive (1).
    word.is_quietly_unique() || word.count() == 1 && unsafe { borrow_loudly(object) }
}

/// As [`borrow`], for a `&mut` that the program is given, which may be there when the mutator is asked to go.
///
/// # Safety
/// 1. As for `borrow`.
#[inline(always)]
pub(super) unsafe fn lend(object: NonNull<Object>) -> bool {
    // SAFETY: handed on (1).
    let is_lent = unsafe { borrow(object) };
    if is_lent {
        // SAFETY: alive (1).
        unsafe { object.as_ref() }.word().key().lend();
    }
    is_lent
}

/// Takes a reference to an object that is a member of a trial, unless it has been found to be garbage.
///
/// # Safety
/// 1. `object`, an object of this thread, has not died.
#[cold]
#[inline(never)]
pub(super) unsafe fn revive(object: NonNull<Object>) -> bool {
    // SAFETY: not freed (1).
    let cycles = unsafe { cycles_of(object) };
    // SAFETY: handed on (1); its own.
    unsafe { cycles.revive(object) }
}

/// Tells an object's owner that a slot of it is about to be changed.
///
/// # Safety
/// 1. `object`, an object of this thread, is alive.
#[cold]
#[inline(never)]
pub(super) unsafe fn change(object: NonNull<Object>) {
    // SAFETY: alive (1).
    let cycles = unsafe { cycles_of(object) };
    // SAFETY: handed on (1); its own.
    unsafe { cycles.change(object) }
}

/// # Safety
/// 1. As for [`borrow`].
#[cold]
#[inline(never)]
unsafe fn borrow_loudly(object: NonNull<Object>) -> bool {
    // SAFETY: alive (1).
    let state = unsafe { state_of(object) };
    // SAFETY: alive (1); its own.
    if !unsafe { state.forget_weak_cell(object) } {
        return false;
    }
    // SAFETY: handed on (1); its own.
    unsafe { state.cycles().borrow(object) };
    true
}

/// # Safety
/// 1. As for [`retire`].
#[cold]
#[inline(never)]
unsafe fn retire_among_many(object: NonNull<Object>) {
    // SAFETY: dead, not freed, of this thread (1).
    let state = unsafe { owner(object) };
    // SAFETY: as in `retire`.
    unsafe { State::retire(state, object) }
}

/// Takes `state` off the list. Returns the pointer with which it was enlisted.
pub(super) fn strike(state: &State) -> NonNull<State> {
    STATES.with(|head| {
        let mut link = head;
        let struck = loop {
            let at = link.get();
            // SAFETY: by THREAD the list holds live states, this one among them.
            let here = unsafe { &*at };
            if ptr::eq(at, state) {
                link.set(here.next.get());
                break at;
            }
            link = &here.next;
        };
        set_routes(head);
        // SAFETY: a live state was there.
        unsafe { NonNull::new_unchecked(struck.cast_mut()) }
    })
}

/// This thread's state, if it is the only one.
#[inline(always)]
fn only() -> Option<NonNull<State>> {
    let head = NonNull::new(STATES.with(Cell::get).cast_mut());
    debug_assert!(head.is_some(), "an object without a mutator");
    // SAFETY: an object is on this thread, and by THREAD its owner is on the list.
    let head = unsafe { head.unwrap_unchecked() };
    // SAFETY: by THREAD alive.
    unsafe { head.as_ref() }.next.get().is_null().then_some(head)
}

/// Calls `visit` with the other states of the thread, which has `state`. It must not end any.
pub(super) fn each_other(state: &State, mut visit: impl FnMut(&State)) {
    let mut at = STATES.get();
    // SAFETY: by THREAD null or alive.
    while let Some(other) = unsafe { at.as_ref() } {
        if !ptr::eq(other, state) {
            visit(other);
        }
        at = other.next.get();
    }
}

/// The state that owns `object`: of several isolates on one thread, the engine knows which heap a block is of.
///
/// # Safety
/// 1. `object` is an object of this thread whose memory has not been freed.
pub(super) unsafe fn owner(object: NonNull<Object>) -> NonNull<State> {
    if let Some(state) = only() {
        return state;
    }
    let mut at = NonNull::new(STATES.with(Cell::get).cast_mut());
    while let Some(found) = at {
        // SAFETY: by THREAD alive.
        let state = unsafe { found.as_ref() };
        // SAFETY: not freed, and of this thread (1).
        if unsafe { state.heap.owns(object.cast()) } {
            return found;
        }
        at = NonNull::new(state.next.get().cast_mut());
    }
    unreachable!("an object's owner is on its thread's list")
}
