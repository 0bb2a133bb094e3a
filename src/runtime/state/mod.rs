//! What a mutator is made of. Outlives the [`Mutator`] for as long as one of its objects or handles lives.

mod allocation;
mod counts;
mod death;
mod interrupts;
mod steps;

use core::any::Any;
use core::cell::{Cell, RefCell};
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::deferred::{Pacer, Pending, Schedule, Tally};
use crate::heartbeat::Clock;

use super::heap::{FreedElsewhere, Heap};
use super::interrupt::Interrupts;
use super::metrics::{Step, Steps};
#[cfg(doc)]
use super::mutator::Mutator;
use super::setup::{Attach, Shared};
use super::subscribers::Subscribers;

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
    interrupts: Interrupts,
    subscribers: Subscribers,
    observer: RefCell<Option<StepObserver>>,
    parked: RefCell<Option<Box<dyn Any + Send>>>,
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
            interrupts: Interrupts::new(),
            subscribers: Subscribers::default(),
            observer: RefCell::new(None),
            parked: RefCell::new(None),
            panics: Cell::new(0),
            steps: Cell::default(),
            peak_live: Cell::new(0),
            peak_pending: Cell::new(0),
            peak_total: Cell::new(0),
        }
    }

    /// Runs code of the user's. The first panic is kept for the next safepoint.
    fn guarded(&self, f: impl FnOnce()) -> Outcome {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(()) => Outcome::Returned,
            Err(payload) => {
                self.keep_panic(payload);
                Outcome::Panicked
            }
        }
    }

    #[cold]
    fn keep_panic(&self, payload: Box<dyn Any + Send>) {
        self.panics.set(self.panics.get() + 1);
        let mut parked = self.parked.borrow_mut();
        if parked.is_none() {
            *parked = Some(payload);
            self.interrupts.raise_news();
        } else {
            // Dropping it could panic once more, without end.
            core::mem::forget(payload);
        }
    }

    pub(super) fn take_parked_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.parked.take()
    }

    pub(super) fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    pub(super) fn child(&self) -> Attach {
        Attach::like(&self.shared, *self.pacer.pacing(), &self.clock, self.interrupts.fuel())
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn set_observer(&self, observer: StepObserver) {
        // The old one is dropped after the borrow has ended: it may hold anything.
        let _old = self.observer.replace(Some(observer));
    }

    pub(super) fn is_attached(&self) -> bool {
        self.attached.get()
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
