//! What a mutator is made of. Outlives the [`Mutator`] for as long as one of its objects or handles lives.

mod allocation;
mod attachments;
mod counts;
mod death;
mod destroy;
mod finalizers;
mod interrupts;
mod limit;
mod steps;
mod stress;

pub(super) use destroy::Proof;

pub(super) use attachments::Attaching;

use core::any::Any;
use core::cell::{Cell, RefCell};
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::deferred::{Cycles, Pacer, Pending, Schedule, Tally};
use crate::error::Error;
use crate::fallible::{TryArc, out_of_memory};
use crate::heartbeat::{self, Calls, Clock};
use crate::within::within;

use super::heap::{FreedElsewhere, Heap};
use super::interrupt::Interrupts;
use super::leftovers::Leftovers;
use super::metrics::{Ladder, Step, Steps};
#[cfg(doc)]
use super::mutator::Mutator;
use super::pressure::{Limits, PressureLevel, Thresholds};
use super::roster::Reservation;
use super::setup::{Attach, Shared};
use super::stress::Stress;
use super::subscribers::{BeatHandler, Due, Event, PressureHandler, Subscribers, Subscription, When};
use super::thread;
use super::wall::Wall;
use super::watch::Display;

type StepObserver = Box<dyn FnMut(&Step)>;

/// A mutator's heap, queue, clock and debt.
///
/// Invariant STATE: made by `Box`, on its thread's list (`thread`), and freed by `finish`, which needs it to be
/// detached, unpinned, without handles, without live objects and without pending ones; or by `destroy`, which frees all these with it. Never a `&mut`: user code that runs below one of its
/// methods comes back to it, so everything is a cell and holds before every call out.
pub(super) struct State {
    pub(in crate::runtime) heap: Heap,
    pub(super) next: Cell<*const State>,
    shared: Arc<Shared>,
    pending: Pending,
    pacer: Pacer,
    clock: Clock,
    /// Objects allocated. What the clock has charged besides their bytes was for raw blocks.
    allocated: Cell<Tally>,
    /// What earlier mutators of the heap have left in use.
    left: Leftovers,
    /// Bytes of raw blocks freed by this thread; what other threads freed is in `elsewhere`.
    blocks_freed: Cell<u64>,
    elsewhere: TryArc<FreedElsewhere>,
    attached: Cell<bool>,
    /// Whether what dies is freed at once: under an eager schedule, and when the mutator is gone.
    retires_now: Cell<bool>,
    /// Steps running on this state. While there are any it is not freed.
    pins: Cell<u32>,
    /// Handles of the heap: what is allocated through them is freed through this state. While there are any it is not freed.
    pub(super) handles: Cell<usize>,
    polling: Cell<bool>,
    interrupts: Interrupts,
    on_beat: Subscribers<Due, BeatHandler>,
    on_pressure: Subscribers<(), PressureHandler>,
    observer: RefCell<Option<StepObserver>>,
    parked: RefCell<Option<Box<dyn Any + Send>>>,
    panics: Cell<u64>,
    steps: Cell<Steps>,
    peak_live: Cell<u64>,
    peak_pending: Cell<u64>,
    peak_in_use: Cell<u64>,
    /// Bytes; `limit::NONE` for none.
    limit: Cell<u64>,
    thresholds: Thresholds,
    /// The level of pressure that handlers have been told of.
    pressure_told: Cell<Option<PressureLevel>>,
    /// Which allocation from now on is to fail; 0 for none.
    failing: Cell<u64>,
    ladder: Cell<Ladder>,
    finalizers_per_safepoint: Cell<u32>,
    /// How many have run.
    finalized: Cell<u64>,
    /// What the engine had called on this thread before.
    calls_before: Calls,
    /// How it is put under stress, if it is.
    stress: Option<Stress>,
    /// What other threads are shown.
    display: Display,
}

/// What a state needs memory of Rust's own for. Made first: it can fail.
pub(super) struct Parts<'a> {
    elsewhere: TryArc<FreedElsewhere>,
    interrupts: Interrupts,
    cycles: Cycles,
    reservation: Reservation<'a>,
    stress: Option<Stress>,
}

impl Parts<'_> {
    pub(super) fn new(shared: &Shared, stress: Option<Stress>) -> Result<Parts<'_>, Error> {
        Ok(Parts {
            elsewhere: TryArc::new(FreedElsewhere::new(stress.is_some()))?,
            interrupts: Interrupts::new(stress.is_some())?,
            cycles: Cycles::new().ok_or_else(out_of_memory)?,
            reservation: shared.roster.reserve()?,
            stress,
        })
    }
}

impl State {
    pub(super) fn new(
        parts: Parts<'_>,
        heap: Heap,
        left: Leftovers,
        shared: Arc<Shared>,
        pacer: Pacer,
        clock: Clock,
        limits: Limits,
    ) -> State {
        let eager = pacer.pacing().schedule() == Schedule::Eager;
        let state = State {
            heap,
            next: Cell::new(core::ptr::null()),
            shared,
            pending: Pending::new(parts.cycles, thread::finalizer_due),
            pacer,
            clock,
            allocated: Cell::default(),
            left,
            blocks_freed: Cell::default(),
            elsewhere: parts.elsewhere,
            attached: Cell::new(true),
            retires_now: Cell::new(eager),
            pins: Cell::new(0),
            handles: Cell::new(0),
            polling: Cell::new(false),
            interrupts: parts.interrupts,
            on_beat: Subscribers::default(),
            on_pressure: Subscribers::default(),
            observer: RefCell::new(None),
            parked: RefCell::new(None),
            panics: Cell::new(0),
            steps: Cell::default(),
            peak_live: Cell::new(0),
            peak_pending: Cell::new(0),
            peak_in_use: Cell::new(0),
            limit: Cell::new(limits.bytes.unwrap_or(limit::NONE)),
            thresholds: limits.thresholds,
            pressure_told: Cell::new(None),
            failing: Cell::new(0),
            ladder: Cell::default(),
            finalizers_per_safepoint: Cell::new(finalizers::PER_SAFEPOINT),
            finalized: Cell::new(0),
            calls_before: heartbeat::calls(),
            stress: parts.stress,
            display: parts.reservation.enter(),
        };
        if state.is_stressed() {
            state.heap.poison_what_is_freed();
        }
        state.suit_search();
        state.grant(false);
        state.show(0);
        state
    }

    /// Runs code of the user's. The first panic is kept for the next safepoint.
    fn guarded(&self, f: impl FnOnce()) -> Outcome {
        within(|| self.caught(f))
    }

    /// The half of it for what calls nothing of the user's but a `trace`.
    #[inline(always)]
    fn caught(&self, f: impl FnOnce()) -> Outcome {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(()) => Outcome::Returned,
            Err(payload) => {
                self.keep_panic(payload);
                Outcome::Panicked
            }
        }
    }

    /// Calls a `trace`, which looks. False if it has panicked: that is kept as the others are.
    pub(super) fn looked(&self, trace: impl FnOnce()) -> bool {
        self.caught(trace) == Outcome::Returned
    }

    /// The queue of the dead.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Drops something of the user's.
    fn drop_guarded<T>(&self, value: T) {
        self.guarded(|| drop(value));
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

    pub(super) fn subscribe_to_beats(&self, when: When, handler: Box<BeatHandler>) -> Result<Subscription, Error> {
        let due = Due::new(when, self.clock.beats())?;
        Ok(Subscription { to: Event::Beat, id: self.on_beat.add(due, handler)? })
    }

    pub(super) fn subscribe_to_pressure(&self, handler: Box<PressureHandler>) -> Result<Subscription, Error> {
        Ok(Subscription { to: Event::Pressure, id: self.on_pressure.add((), handler)? })
    }

    pub(super) fn unsubscribe(&self, Subscription { to, id }: Subscription) -> bool {
        match to {
            Event::Beat => self.on_beat.remove(id),
            Event::Pressure => self.on_pressure.remove(id),
        }
    }

    /// Drops all handlers. They are the user's, and their captures may do anything when dropped.
    fn drop_handlers(&self) {
        // Each by itself: a second panic while the first is on its way would end the process.
        self.on_beat.clear(|handler| self.drop_guarded(handler));
        self.on_pressure.clear(|handler| self.drop_guarded(handler));
    }

    pub(super) fn child(&self) -> Attach {
        let wall = self.heap.wall().map(Wall::asked);
        let limits = Limits { bytes: self.limit(), wall, thresholds: self.thresholds };
        Attach::like(&self.shared, *self.pacer.pacing(), &self.clock, self.interrupts.fuel(), limits)
            .stress(self.stress())
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn set_observer(&self, observer: StepObserver) {
        // The old one is dropped after the borrow has ended: it may hold anything.
        let _old = self.observer.replace(Some(observer));
    }

    /// Whether a collection is running, further up the call stack.
    pub(super) fn is_collecting(&self) -> bool {
        self.pending.is_draining()
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
