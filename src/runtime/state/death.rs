//! Death: what becomes of an object without references, and of the state when its mutator has gone.

use core::any::Any;
use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::{Budget, Cycles, Large, Meter, Object, Route};
use crate::heartbeat;
use crate::runtime::metrics::Cause;
use crate::runtime::mutator::{Detached, Mutator};
use crate::runtime::thread;
use crate::runtime::wall;

use super::{Outcome, State, resume_if_possible};

impl State {
    /// Takes over an object that has just died.
    ///
    /// # Safety
    /// 1. The last reference to `object`, which is this state's, was just given up by the caller.
    /// 2. `state` is alive, and the caller does not use it afterwards unless it keeps it alive otherwise.
    #[inline(always)]
    pub(in crate::runtime) unsafe fn retire(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: dead and not freed (1).
        let word = unsafe { object.as_ref() }.word();
        // A leaf is one unit: freeing it here costs less than queueing it.
        if word.is_leaf() && this.attached.get() {
            // SAFETY: dead (1), a leaf of this size, from this heap.
            unsafe { this.pending.free_dead(&this.heap, object, word.plain_bytes()) };
            return;
        }
        if word.is_quietly_plain() {
            // SAFETY: handed on (1, 2); plain.
            unsafe { State::retire_plain(state, object) }
        } else {
            // SAFETY: handed on (1, 2).
            unsafe { State::retire_loudly(state, object) }
        }
    }

    /// Takes note of an object of which a reference was given up, and others are left.
    ///
    /// # Safety
    /// 1. `object`, which is this state's, is alive and armed.
    /// 2. `state` is alive, and the caller does not use it afterwards unless it keeps it alive otherwise.
    #[inline(always)]
    pub(in crate::runtime) unsafe fn suspect(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        if this.attached.get() {
            // SAFETY: handed on (1). Last, so that this needs no frame.
            unsafe { this.pending.suspect(object) }
        } else {
            // SAFETY: handed on (1, 2).
            unsafe { State::suspect_detached(state, object) }
        }
    }

    /// The same when the mutator has gone: no collection will come to look.
    ///
    /// # Safety
    /// As for `suspect`.
    #[cold]
    #[inline(never)]
    unsafe fn suspect_detached(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: handed on (1).
        unsafe { this.pending.suspect(object) };
        // If not, it is known to be held from outside.
        if this.pending.cycles().is_worthwhile() {
            // SAFETY: handed on (2).
            unsafe { State::retired_now(state) }
        }
    }

    /// The search for garbage cycles among this state's objects.
    pub(in crate::runtime) fn cycles(&self) -> &Cycles {
        self.pending.cycles()
    }

    /// The rest of `retire`, out of line so that a leaf's death needs no frame: frees a simple object at once, which is at most 9
    /// units. What is rare is out of line again, so that this keeps little in its own frame.
    ///
    /// # Safety
    /// 1. As for `retire` (1); plain, and no candidate.
    /// 2. As for `retire` (2).
    #[inline(never)]
    unsafe fn retire_plain(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: dead and not freed (1).
        let header = unsafe { object.as_ref() };
        if this.retires_now.get() || !this.pending.is_idle() {
            // SAFETY: handed on (1, 2).
            return unsafe { State::queue(state, object) };
        }
        let had_queued = this.pending.has_queued();
        let quick = &header.info().quick;
        // SAFETY: dead (1), plain, from this heap.
        let outcome = this.caught(|| unsafe { this.pending.free_simple(&this.heap, object, quick) });
        if !this.attached.get() {
            // A referent was another mutator's, and what died of it has detached this one.
            // SAFETY: handed on (2).
            unsafe { State::retired_now(state) }
        } else if !had_queued && (this.pending.has_queued() || outcome == Outcome::Panicked) {
            this.arm_anew();
        }
    }

    /// Something was queued, or is in hand, while nothing was being worked on. Garbage that was found before is work too.
    #[inline(never)]
    fn arm_anew(&self) {
        if !self.pending.has_garbage() {
            self.arm();
        }
    }

    /// The death of an object that is a candidate, or not simple.
    ///
    /// # Safety
    /// As for `retire`.
    #[inline(never)]
    unsafe fn retire_loudly(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: dead, and ours alone (1).
        match unsafe { this.pending.cycles().strike_off_near(object) } {
            // SAFETY: handed on (1, 2); plain, and no candidate any more.
            Some(word) if word.is_plain() => unsafe { State::retire_plain(state, object) },
            // SAFETY: handed on (1, 2).
            _ => unsafe { State::retire_struck_off(state, object) },
        }
    }

    /// The rest of `retire_loudly`, out of line with what needs a frame.
    ///
    /// # Safety
    /// As for `retire`.
    #[inline(never)]
    unsafe fn retire_struck_off(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: dead, and ours alone (1).
        if unsafe { this.pending.cycles().strike_off(object) }.is_plain() {
            // SAFETY: handed on (1, 2); plain, and no candidate any more.
            unsafe { State::retire_plain(state, object) }
        } else {
            // SAFETY: handed on (1, 2).
            unsafe { State::queue(state, object) }
        }
    }

    /// The death of an object that is not simple; or that comes while something is being worked on; or of any, when what dies is worked
    /// off at once.
    ///
    /// # Safety
    /// As for `retire`.
    #[inline(never)]
    unsafe fn queue(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        if !this.pending.has_work() {
            this.arm();
        }
        // SAFETY: dead, and ours alone (1).
        unsafe { this.pending.push(object) };
        if this.retires_now.get() {
            // SAFETY: handed on (2).
            unsafe { State::retired_now(state) }
        }
    }

    /// # Safety
    /// 1. As for `retire` (2).
    #[cold]
    #[inline(never)]
    unsafe fn retired_now(state: NonNull<State>) {
        // SAFETY: alive (1).
        let this = unsafe { state.as_ref() };
        let cause = if this.attached.get() { Cause::Death } else { Cause::Detach };
        this.step(cause, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        this.arm_what_is_left();
        // SAFETY: handed on (1).
        unsafe { State::end_if_over(state) }
    }

    /// After a step. Each release of what it could not look at is to be told if the mutator has gone: no other step may come.
    pub(super) fn arm_what_is_left(&self) {
        if !self.attached.get() && self.pending.cycles().candidates() > 0 && !self.pending.is_draining() {
            // SAFETY: all objects are from there.
            unsafe { self.pending.cycles().arm_candidates(&self.heap) }
        }
    }

    /// Something of the state has gone: an object, or a handle of the heap. Ends it if the mutator has gone too.
    ///
    /// # Safety
    /// 1. As for `retire` (2).
    pub(in crate::runtime) unsafe fn end_if_over(state: NonNull<State>) {
        // SAFETY: alive (1).
        let this = unsafe { state.as_ref() };
        if this.attached.get() || this.pins.get() > 0 {
            return;
        }
        // No safepoint will come to resume a panic at, so it comes out of the drop that caused it.
        let panic = this.take_parked_panic();
        // SAFETY: not used after this (1).
        unsafe { State::finish(state) }
        resume_if_possible(panic);
    }

    /// The queue was empty, and is not any more or is about to be filled: from here on allocation pays in installments. What
    /// was allocated before is paid for, as nothing was pending (the pacer's theory), unless large blocks were.
    fn arm(&self) {
        let bytes = self.clock.settle();
        if self.pending.large().objects > 0 {
            self.pacer.charge(bytes);
        }
        self.pay_for_search(bytes);
        self.sample(0);
        self.grant(true);
    }

    pub(in crate::runtime) fn set_route(&self, route: Option<Route>) {
        self.pending.set_route(route);
    }

    /// The mutator is gone: drains, and frees the state unless objects or handles of it live on. Returns what is left, and the
    /// payload of a panic that nobody has been told of.
    ///
    /// # Safety
    /// 1. `state` is on this thread's list, and the caller does not use it afterwards.
    pub(in crate::runtime) unsafe fn detach(state: NonNull<State>) -> (Detached, Option<Box<dyn Any + Send>>) {
        // SAFETY: alive (1).
        let this = unsafe { state.as_ref() };
        // What handlers hold may be objects of this state: they go first, and what dies of it is drained too.
        this.drop_handlers();
        this.close_requests();
        this.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        // Those that are due now: what they bring about is handed over, or this need not end.
        // SAFETY: alive, and attached still (1).
        let mutator = unsafe { Mutator::borrowed(state) };
        this.run_finalizers(&mutator, this.pending.attachments().due());
        // Theirs too.
        this.drop_handlers();
        this.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        this.guarded(|| drop(this.observer.take()));
        this.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        this.attached.set(false);
        this.retires_now.set(true);
        this.pending.cycles().mutator_gone();
        // SAFETY: all objects are from there.
        unsafe { this.pending.cycles().arm_candidates(&this.heap) };
        thread::find_current();
        heartbeat::detach_thread();
        this.show(0);
        this.look_at_finalizers();
        let left = Detached { live: this.live(), finalizers: this.pending.attachments().due() };
        let panic = this.take_parked_panic();
        // SAFETY: not used afterwards (1).
        unsafe { State::finish(state) };
        (left, panic)
    }

    /// Takes the state off its thread's list.
    ///
    /// # Safety
    /// 1. It is on the list, and nobody uses it afterwards but through the box.
    pub(super) unsafe fn unlist(this: &State) -> Box<State> {
        // The pointer from the list is the box's own; `this` may come from a mutator that was lent to a handler.
        let boxed = thread::strike(this);
        // SAFETY: STATE: made by Box, and now off the list, so that nobody finds it again.
        unsafe { Box::from_raw(boxed.as_ptr()) }
    }

    /// Frees the state if nothing of it is left.
    ///
    /// # Safety
    /// 1. As for `detach`.
    unsafe fn finish(state: NonNull<State>) {
        // SAFETY: alive (1).
        let this = unsafe { state.as_ref() };
        let alive = this.live().objects + this.pending.tally().objects;
        if this.attached.get() || this.pins.get() > 0 || this.handles.get() > 0 || alive > 0 {
            return;
        }
        this.show(0);
        // SAFETY: not used afterwards (1).
        let this = unsafe { State::unlist(this) };
        // Objects that were given up are in use for good.
        let all = (this.pending.abandoned().objects == 0).then(|| this.blocks_not_freed_here());
        let State { heap, shared, mut left, elsewhere, display, .. } = *this;
        shared.roster.leave(display);
        let is_walled = heap.wall().is_some();
        aside(|| {
            left.add(elsewhere, all);
            // SAFETY: no objects are left, and `left` tells of the rest.
            let Some(idle) = (unsafe { heap.release(left.look()) }) else {
                if !is_walled {
                    shared.pool.forgo();
                }
                return;
            };
            if is_walled {
                // SAFETY: as above.
                unsafe { wall::give_up(idle, left) }
            } else {
                // SAFETY: as above.
                unsafe { shared.pool.give_back(idle, left) }
            }
        });
    }
}
