//! What a mutator is made of. Outlives the [`Mutator`] for as long as one of its objects or handles lives.

use core::alloc::Layout;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::panic::AssertUnwindSafe;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aside::aside;
use crate::deferred::{
    Budget, Large, Memory, Meter, Object, Pacer, Pending, Progress, Route, Schedule, Stop, Tally, addressable, counted,
};
use crate::engine::Area;
use crate::error::{Error, ErrorKind};
use crate::heartbeat::{self, Beat, Clock};
#[cfg(feature = "tracing")]
use crate::traced::event;

use super::heap::{FreedElsewhere, Heap, MOST_BYTES, counted_block};
use super::metrics::{Cause, EngineCalls, Live, Metrics, Step, Steps};
use super::mutator::Mutator;
use super::setup::{Attach, Shared};
use super::subscribers::Subscribers;
use super::thread;

type StepObserver = Box<dyn FnMut(&Step)>;

/// A mutator's heap, queue, clock and debt.
///
/// Invariant STATE: made by `Box`, on its thread's list (`thread`), and freed by `finish` alone, which needs it to be
/// detached, unpinned, without handles, without live objects and without pending ones. Never a `&mut`: user code that runs below one of its
/// methods comes back to it, so everything is a cell and holds before every call out.
pub(super) struct State {
    pub(super) heap: Heap,
    pub(super) next: Cell<*const State>,
    shared: Arc<Shared>,
    pending: Pending,
    pacer: Pacer,
    clock: Clock,
    /// Objects allocated. What the clock has charged besides their bytes was for raw blocks.
    allocated: Cell<Tally>,
    /// Bytes that earlier mutators of the heap have left in use. Nobody tells when they are freed.
    inherited: u64,
    /// Bytes of raw blocks freed by this thread; what other threads freed is in `elsewhere`.
    blocks_freed: Cell<u64>,
    elsewhere: Arc<FreedElsewhere>,
    attached: Cell<bool>,
    /// Whether what dies is freed at once: under an eager schedule, and when the mutator is gone.
    retires_now: Cell<bool>,
    /// Steps running on this state. While there are any it is not freed.
    pins: Cell<u32>,
    /// Handles of the heap: what is allocated through them is freed through this state. While there are any it is not freed.
    pub(super) handles: Cell<usize>,
    polling: Cell<bool>,
    subscribers: Subscribers,
    observer: RefCell<Option<StepObserver>>,
    parked: RefCell<Option<Box<dyn Any + Send>>>,
    /// Whether `parked` holds something.
    has_parked: Cell<bool>,
    panics: Cell<u64>,
    steps: Cell<Steps>,
    peak_live: Cell<u64>,
    peak_pending: Cell<u64>,
    peak_total: Cell<u64>,
}

impl State {
    pub(super) fn new(heap: Heap, inherited: u64, shared: Arc<Shared>, pacer: Pacer, clock: Clock) -> State {
        clock.grant(u64::MAX);
        let eager = pacer.pacing().schedule() == Schedule::Eager;
        State {
            heap,
            next: Cell::new(core::ptr::null()),
            shared,
            pending: Pending::new(),
            pacer,
            clock,
            allocated: Cell::default(),
            inherited,
            blocks_freed: Cell::default(),
            elsewhere: Arc::default(),
            attached: Cell::new(true),
            retires_now: Cell::new(eager),
            pins: Cell::new(0),
            handles: Cell::new(0),
            polling: Cell::new(false),
            subscribers: Subscribers::default(),
            observer: RefCell::new(None),
            parked: RefCell::new(None),
            has_parked: Cell::new(false),
            panics: Cell::new(0),
            steps: Cell::default(),
            peak_live: Cell::new(0),
            peak_pending: Cell::new(0),
            peak_total: Cell::new(0),
        }
    }

    // ---- allocation ----

    /// Memory for an object of this layout, charged and counted. `None` when there is none even after all that is dead was
    /// freed; then nothing is counted.
    #[inline(always)]
    pub(super) fn allocate_object(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let charge = counted(bytes);
        if self.clock.charge(charge) {
            self.poll(charge);
        }
        let block = match self.heap.malloc(bytes, align) {
            Some(block) if addressable(block) => block,
            unusable => self.allocate_slow(unusable, bytes, align)?,
        };
        self.allocated.set(self.allocated.get().plus(charge));
        Some(block)
    }

    /// The allocation path's rare end: no memory, or memory that a header cannot link to.
    #[cold]
    #[inline(never)]
    fn allocate_slow(&self, unusable: Option<NonNull<u8>>, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let mut block = unusable.or_else(|| self.rescue(|| self.heap.malloc(bytes, align)));
        if let Some(far) = block.filter(|block| !addressable(*block)) {
            // Above 2^48: no engine that this crate knows maps there. It goes back, and the caller sees no memory.
            // SAFETY: fresh from the heap with this layout.
            unsafe { self.heap.free(far, bytes, align) };
            block = None;
        }
        if block.is_none() {
            self.forget_bytes(bytes);
        }
        block
    }

    /// Frees everything that is dead and tries once more.
    fn rescue(&self, retry: impl Fn() -> Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        if self.pending.is_draining() {
            return None;
        }
        self.step(Cause::OutOfMemory, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        self.heap.free_kept();
        // The forced call that the engine made before it gave up was ours, and so is the one that it makes now.
        heartbeat::claim_forced();
        heartbeat::causing(retry)
    }

    /// Gives back an allocation whose object was not finished.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_object` or `resize_object`, is of this layout and holds no object any more.
    pub(super) unsafe fn discard_object(&self, block: NonNull<u8>, bytes: usize, align: usize) {
        self.pending.count_freed(Tally { objects: 1, bytes: counted(bytes) });
        // SAFETY: from this heap, with this layout (1).
        unsafe { self.heap.free(block, bytes, align) }
    }

    /// An object's block in another size. `None` leaves it as it was.
    ///
    /// # Safety
    /// 1. `block` is an object's, of `old` bytes and this alignment; nobody else refers to it, and if a block is returned it
    ///    is not used again.
    pub(super) unsafe fn resize_object(
        &self,
        block: NonNull<u8>,
        old: usize,
        align: usize,
        new: usize,
    ) -> Option<NonNull<u8>> {
        let charge = counted(new);
        if self.clock.charge(charge) {
            self.poll(charge);
        }
        // SAFETY: handed on (1).
        let resize = || unsafe { self.heap.realloc(block, old, align, new) };
        // A block beyond the reach of a header could not be given back without losing the object: none is known (see
        // `allocate_slow`), and going on would corrupt the queue.
        let moved = resize().or_else(|| self.rescue(resize));
        if moved.is_some_and(|block| !addressable(block)) {
            std::process::abort();
        }
        match moved {
            Some(_) => {
                self.allocated.set(self.allocated.get().and(Tally { objects: 0, bytes: charge }));
                self.pending.count_freed(Tally { objects: 0, bytes: counted(old) });
            }
            None => self.forget_bytes(new),
        }
        moved
    }

    /// Bytes were charged to the clock for an object that does not exist. The clock keeps them: it measures what was asked
    /// for. So they count as those of a block that has been freed.
    fn forget_bytes(&self, bytes: usize) {
        self.note_freed(counted(bytes));
    }

    /// A raw block. `take` asks the heap for it. Sizes that the engine has no block of are refused and not charged.
    #[inline(always)]
    pub(super) fn allocate_block(
        &self,
        bytes: usize,
        take: impl Fn(&Heap) -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        if bytes > MOST_BYTES {
            return None;
        }
        let charge = counted_block(bytes);
        if self.clock.charge(charge) {
            self.poll(charge);
        }
        match take(&self.heap) {
            Some(block) => Some(block),
            None => self.allocate_block_slow(bytes, take),
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_block_slow(&self, bytes: usize, take: impl Fn(&Heap) -> Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        let block = self.rescue(|| take(&self.heap));
        if block.is_none() {
            self.block_freed(bytes);
        }
        block
    }

    /// A raw block in another size, with the alignment that it has. `None` leaves it as it was.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_block` of this state, or from here, with this layout; if a block is returned, it is not
    ///    used again.
    pub(super) unsafe fn resize_block(&self, block: NonNull<u8>, layout: Layout, new: usize) -> Option<NonNull<u8>> {
        // SAFETY: of this heap, with this layout (1).
        let resize = |heap: &Heap| unsafe { heap.realloc(block, layout.size(), layout.align(), new) };
        let moved = self.allocate_block(new, resize)?;
        self.block_freed(layout.size());
        Some(moved)
    }

    /// Frees a raw block.
    ///
    /// # Safety
    /// 1. `block` came from `allocate_block` or `resize_block` of this state with this layout, and is not used again.
    #[inline(always)]
    pub(super) unsafe fn free_block(&self, block: NonNull<u8>, layout: Layout) {
        self.block_freed(layout.size());
        // SAFETY: of this heap, with this layout (1).
        unsafe { self.heap.free(block, layout.size(), layout.align()) }
    }

    #[inline(always)]
    fn block_freed(&self, bytes: usize) {
        self.note_freed(counted_block(bytes));
    }

    /// So many bytes of what the clock was charged are those of blocks that are no more.
    #[inline(always)]
    fn note_freed(&self, bytes: u64) {
        // Wrapping: the sum of what was ever allocated fits, but charges without an allocation can be made for ever.
        self.blocks_freed.set(self.blocks_freed.get().wrapping_add(bytes));
    }

    /// Charges for memory that is not of this heap. Whatever becomes due waits for the next allocation or safepoint.
    #[inline]
    pub(super) fn charge_elsewhere(&self, bytes: usize) {
        if bytes <= MOST_BYTES {
            // Not a block of this heap: for these counts it is as if it had been freed.
            let charged = self.clock.charge_only(counted_block(bytes));
            self.note_freed(charged);
        }
    }

    /// Looks at what has become due without an allocation of this heap.
    #[inline(always)]
    pub(super) fn settle(&self) {
        if self.clock.is_overdrawn() {
            self.poll(0);
        }
    }

    /// Charges the clock for work that was not done here, as if a block had been allocated and freed.
    pub(super) fn charge(&self, bytes: u64) {
        let due = self.clock.charge(bytes);
        self.note_freed(bytes);
        if due {
            self.poll(0);
        }
    }

    pub(super) fn elsewhere(&self) -> &Arc<FreedElsewhere> {
        &self.elsewhere
    }

    // ---- death ----

    /// Takes over an object that has just died.
    ///
    /// # Safety
    /// 1. The last reference to `object`, which is this state's, was just given up by the caller.
    /// 2. `state` is alive, and the caller does not use it afterwards unless it keeps it alive otherwise.
    #[inline(always)]
    pub(super) unsafe fn retire(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: dead and not freed (1).
        let word = unsafe { object.as_ref() }.word();
        // A leaf is one unit: freeing it here costs less than queueing it.
        if word.is_leaf() && this.attached.get() {
            // SAFETY: dead (1), a leaf of this size, from this heap.
            unsafe { this.pending.free_dead(&this.heap, object, word.simple_bytes()) };
            return;
        }
        // SAFETY: handed on (1, 2).
        unsafe { State::retire_with_slots(state, object) }
    }

    /// The rest of `retire`, out of line so that a leaf's death needs no frame.
    ///
    /// # Safety
    /// As for `retire`.
    #[inline(never)]
    unsafe fn retire_with_slots(state: NonNull<State>, object: NonNull<Object>) {
        // SAFETY: alive (2).
        let this = unsafe { state.as_ref() };
        // SAFETY: dead and not freed (1).
        let quick = &unsafe { object.as_ref() }.info().quick;
        let was_empty = !this.pending.has_work();
        if quick.units > 1 && !this.retires_now.get() && this.pending.is_idle() {
            // SAFETY: dead (1), simple with slots, from this heap.
            this.guarded(|| unsafe { this.pending.free_simple(&this.heap, object, quick) });
            if !this.attached.get() {
                // A referent was another mutator's, and what died of it has detached this one.
                // SAFETY: handed on (2).
                unsafe { State::retired_now(state) }
            } else if was_empty && this.pending.has_work() {
                this.arm();
            }
            return;
        }
        if was_empty {
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
        // SAFETY: handed on (1).
        unsafe { State::end_if_over(state) }
    }

    /// Something of the state has gone: an object, or a handle of the heap. Ends it if the mutator has gone too.
    ///
    /// # Safety
    /// 1. As for `retire` (2).
    pub(super) unsafe fn end_if_over(state: NonNull<State>) {
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
        self.sample(0);
        self.clock.grant(self.pacer.pacing().installment() as u64);
    }

    pub(super) fn set_route(&self, route: Option<Route>) {
        self.pending.set_route(route);
    }

    // ---- collection ----

    /// What is due on the allocation path: payment, beats, and the next grant. `coming` bytes have been charged and are
    /// about to be allocated.
    #[cold]
    #[inline(never)]
    fn poll(&self, coming: u64) {
        if self.polling.replace(true) {
            // An allocation by a handler or a drop that this poll has called: it is charged, and pays later.
            self.pacer.charge(self.clock.settle());
            return;
        }
        let bytes = self.clock.settle();
        self.sample(coming);
        self.pacer.charge(bytes);
        let beat = self.clock.beat();
        let cause = match beat {
            None => Cause::Installment,
            Some(_) => {
                self.pacer.charge(self.pacer.pacing().installment() as u64);
                self.heap.free_some_kept();
                Cause::Beat
            }
        };
        if self.pending.has_work_for(self.pacer.debt()) {
            self.step(cause, self.pacer.pacing().pause_cap(), self.pacer.step(), Large::WhenOwed);
        } else {
            self.pacer.credit(0, self.pending.tally().bytes);
        }
        if let Some(beat) = beat {
            #[cfg(feature = "tracing")]
            self.guarded(|| event!(TRACE, "beat", number = beat.number, passed = beat.passed));
            self.run_beat_handlers(beat);
        }
        // With nothing pending there is nothing to pay for until something dies (`arm`).
        let pending = self.pending.tally().bytes > 0;
        self.clock.grant(if pending { self.pacer.pacing().installment() as u64 } else { u64::MAX });
        self.polling.set(false);
        if !self.attached.get() {
            self.detached_within();
        }
    }

    /// The mutator was detached by what a poll has called. That can only be where the allocation came through a handle of the
    /// heap, which keeps the state alive. What `detach` found in use is given up now.
    #[cold]
    fn detached_within(&self) {
        self.guarded(|| self.subscribers.clear());
        self.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
    }

    /// Calls the handlers that are due. Those added meanwhile wait for the next beat, those removed meanwhile are not called.
    fn run_beat_handlers(&self, beat: Beat) {
        // SAFETY: this state, which a poll is running on and so is alive.
        let mutator = unsafe { Mutator::borrowed(NonNull::from(self)) };
        let mut ids = self.subscribers.ids();
        while let Some((id, mut handler)) = self.subscribers.take_due(ids.clone(), beat.number) {
            ids.start = id + 1;
            self.guarded(|| handler(&mutator, beat));
            if let Some(unwanted) = self.subscribers.put_back(id, handler) {
                self.guarded(|| drop(unwanted));
            }
        }
    }

    /// Drains, and takes note of it. Returns at once when a drain is already running.
    pub(super) fn step(&self, cause: Cause, budget: Budget, mut meter: Meter, large: Large) -> Progress {
        if self.pending.is_draining() {
            return self.progress(Stop::Busy, &meter);
        }
        self.pins.set(self.pins.get() + 1);
        let watched = self.observer.borrow().is_some();
        let start = watched.then(Instant::now);
        // A drop that panics ends the drain, not the step.
        while self.guarded(|| {
            // SAFETY: whatever this state queues came from its heap.
            unsafe { self.pending.drain(&self.heap, &mut meter, large) }
        }) == Outcome::Panicked
        {}
        self.pacer.credit(meter.freed.bytes, self.pending.tally().bytes);
        let stop = if self.pending.has_work() { Stop::Budget } else { Stop::Done };
        let progress = self.progress(stop, &meter);
        let mut steps = self.steps.get();
        steps.count += 1;
        steps.by_cause[cause as usize] += 1;
        steps.max_units = steps.max_units.max(meter.units);
        steps.units += meter.units;
        self.steps.set(steps);
        if let Some(start) = start {
            self.tell_observer(cause, budget, progress, start.elapsed());
        }
        #[cfg(feature = "tracing")]
        self.guarded(|| {
            let Progress { units, freed, pending, .. } = progress;
            event!(
                TRACE,
                "step",
                cause = ?cause,
                units,
                freed_objects = freed.objects,
                freed_bytes = freed.bytes,
                pending_objects = pending.objects,
                pending_bytes = pending.bytes,
                debt = self.pacer.debt()
            );
        });
        self.pins.set(self.pins.get() - 1);
        progress
    }

    fn progress(&self, stop: Stop, meter: &Meter) -> Progress {
        Progress {
            stop,
            units: meter.units,
            freed: meter.freed,
            large_freed: meter.large_freed,
            pending: self.pending.tally(),
            large: self.pending.large(),
        }
    }

    #[cold]
    fn tell_observer(&self, cause: Cause, budget: Budget, progress: Progress, elapsed: Duration) {
        let Some(mut observer) = self.observer.take() else { return };
        let step = Step {
            cause,
            budget,
            progress,
            elapsed,
            debt: self.pacer.debt(),
            allocated_bytes: self.clock.charged(),
            live: self.live(),
        };
        self.guarded(|| observer(&step));
        // Back to its place, unless it set another one or detached the mutator: then it goes, by code of the user's.
        if self.attached.get() && self.observer.borrow().is_none() {
            self.observer.replace(Some(observer));
        } else {
            self.guarded(|| drop(observer));
        }
    }

    /// Runs code of the user's. The first panic is kept for the next safepoint.
    fn guarded(&self, f: impl FnOnce()) -> Outcome {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(()) => Outcome::Returned,
            Err(payload) => {
                self.panics.set(self.panics.get() + 1);
                let mut parked = self.parked.borrow_mut();
                if parked.is_none() {
                    *parked = Some(payload);
                    self.has_parked.set(true);
                } else {
                    // Dropping it could panic once more, without end.
                    core::mem::forget(payload);
                }
                Outcome::Panicked
            }
        }
    }

    #[inline(always)]
    pub(super) fn has_parked_panic(&self) -> bool {
        self.has_parked.get()
    }

    pub(super) fn take_parked_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.has_parked.set(false);
        self.parked.take()
    }

    pub(super) fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    pub(super) fn child(&self) -> Attach {
        Attach::like(&self.shared, *self.pacer.pacing(), &self.clock)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn set_observer(&self, observer: StepObserver) {
        // The old one is dropped after the borrow has ended: it may hold anything.
        let _old = self.observer.replace(Some(observer));
    }

    pub(super) fn is_draining(&self) -> bool {
        self.pending.is_draining()
    }

    pub(super) fn is_attached(&self) -> bool {
        self.attached.get()
    }

    // ---- counts ----

    fn live(&self) -> Tally {
        let gone = [self.pending.freed(), self.pending.tally(), self.pending.abandoned()];
        let allocated = self.allocated.get();
        Tally {
            objects: allocated.objects - gone.iter().map(|tally| tally.objects).sum::<u64>(),
            bytes: allocated.bytes - gone.iter().map(|tally| tally.bytes).sum::<u64>(),
        }
    }

    /// Bytes of raw blocks in use.
    fn blocks(&self) -> u64 {
        // Acquire: pairs with the Release in `RemoteFree::free`.
        let elsewhere = self.elsewhere.bytes.load(Ordering::Acquire);
        let charged = self.clock.charged();
        if charged == u64::MAX {
            // So much was charged without an allocation that the clock stands still: the sums say nothing any more.
            return 0;
        }
        charged - self.allocated.get().bytes - self.blocks_freed.get() - elsewhere
    }

    /// The areas of the heap.
    pub(super) fn areas(&self) -> Result<Vec<Area>, Error> {
        if heartbeat::in_handler() {
            return Err(Error::new(
                ErrorKind::InHandler,
                "a heap cannot be walked from within a deferred-free handler, as the engine is at work on it: do it later",
            ));
        }
        // Acquire: whoever gave its share up has done with freeing. Shares are only made by this thread, or from other shares.
        if Arc::strong_count(&self.elsewhere) > 1 || self.inherited > 0 {
            return Err(Error::new(
                ErrorKind::NotAlone,
                "the heap cannot be walked while other threads may free into it: drop all RemoteFree handles of the mutator \
                 first, and free the blocks that earlier mutators have left",
            ));
        }
        fence(Ordering::Acquire);
        // SAFETY: nobody else has, or can come by, something to free into it with.
        Ok(unsafe { self.heap.areas() })
    }

    /// Looks at the peaks. `coming` bytes are charged and not yet allocated.
    fn sample(&self, coming: u64) {
        let (live, pending) = (self.live().bytes, self.pending.tally().bytes);
        let total = (live + pending + self.blocks()).saturating_sub(coming);
        self.peak_live.set(self.peak_live.get().max(live));
        self.peak_pending.set(self.peak_pending.get().max(pending));
        self.peak_total.set(self.peak_total.get().max(total));
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.sample(0);
        let calls = heartbeat::calls();
        Metrics {
            beats: self.clock.beats(),
            allocated: self.allocated.get(),
            freed: self.pending.freed(),
            live: Live { now: self.live(), peak_bytes: self.peak_live.get() },
            pending: Live { now: self.pending.tally(), peak_bytes: self.peak_pending.get() },
            large: self.pending.large(),
            abandoned: self.pending.abandoned(),
            block_bytes: self.blocks(),
            peak_total_bytes: self.peak_total.get(),
            debt: self.pacer.debt(),
            steps: self.steps.get(),
            panics: self.panics.get(),
            engine_calls: EngineCalls {
                routine: calls.routine,
                forced: calls.forced,
                forced_elsewhere: calls.forced_elsewhere,
            },
        }
    }

    // ---- the end ----

    /// The mutator is gone: drains, and frees the state unless objects or handles of it live on. Returns what lives on, and the
    /// payload of a panic that nobody has been told of.
    ///
    /// # Safety
    /// 1. `state` is on this thread's list, and the caller does not use it afterwards.
    pub(super) unsafe fn detach(state: NonNull<State>) -> (Tally, Option<Box<dyn Any + Send>>) {
        // SAFETY: alive (1).
        let this = unsafe { state.as_ref() };
        // What handlers hold may be objects of this state: they go first, and what dies of it is drained too.
        this.guarded(|| this.subscribers.clear());
        this.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        this.guarded(|| drop(this.observer.take()));
        this.step(Cause::Detach, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        this.attached.set(false);
        this.retires_now.set(true);
        thread::find_current();
        heartbeat::detach_thread();
        let left = (this.live(), this.take_parked_panic().or_else(heartbeat::take_parked_panic));
        // SAFETY: not used afterwards (1).
        unsafe { State::finish(state) };
        left
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
        // The pointer from the list is the box's own; `state` may come from a mutator that was lent to a handler.
        let boxed = thread::strike(this);
        // SAFETY: STATE: made by Box, and now off the list, so that nobody finds it again.
        let this = unsafe { Box::from_raw(boxed.as_ptr()) };
        let in_use = this.blocks() + this.pending.abandoned().bytes + this.inherited;
        let State { heap, shared, .. } = *this;
        // SAFETY: no objects are left, and `in_use` counts the rest.
        if let Some(idle) = unsafe { heap.release(in_use) } {
            aside(|| shared.give_back(idle, in_use));
        }
    }
}

/// Resumes a panic unless one is on its way already: a second would abort the process.
pub(super) fn resume_if_possible(panic: Option<Box<dyn Any + Send>>) {
    match panic {
        Some(payload) if std::thread::panicking() => core::mem::forget(payload),
        Some(payload) => resume_unwind(payload),
        None => {}
    }
}

/// How a call into user code ended.
#[derive(PartialEq, Eq)]
enum Outcome {
    Returned,
    Panicked,
}
