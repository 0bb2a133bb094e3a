//! Finalizers: what is done when an object has become garbage, before it goes.

use core::fmt;
use core::ptr::NonNull;

use crate::cell::Cell;
use crate::deferred::{Attachment, Link, Object, Slots, Trace, Tracer};
use crate::error::OutOfMemory;

use super::attachment::{Attached, Kind};
use super::handle::{self, Ref};
use super::mutator::Mutator;
use super::state::Attaching;
use super::{raw, thread};

/// The finalizer of a type: what is done when an object of it has become garbage.
///
/// Objects made by [`Mutator::alloc_finalized`] have it. An object of whatever type can be given one of its own, with something to go
/// with it, by [`Ref::set_finalizer`]. Objects without cost nothing.
///
/// | question | answer | shown by |
/// |---|---|---|
/// | how often | exactly once, if the object becomes garbage at all | `each_runs_once` |
/// | when | at a safepoint of the mutator ([`poll`](Mutator::poll), [`safepoint`](Mutator::safepoint), [`collect`](Mutator::collect)) after the object has become garbage, or in [`run_finalizers`](Mutator::run_finalizers) and [`detach`](Mutator::detach); never where a reference is dropped, never in an allocation or the engine's hook, never within another finalizer or other code that the crate calls | `only_at_safepoints`, `never_within_…` |
/// | how many | at most 16 at a safepoint ([`set_finalizers_per_safepoint`](Mutator::set_finalizers_per_safepoint)), whatever waits: the next one goes on | `so_many_at_a_safepoint`, `garbage_without_end` |
/// | in which order | in that in which their objects were found to be garbage: as last references were given up, by the program or a step; those of one garbage cycle in the order in which the search came to them. So an object's comes before those of what it alone refers to. It does not depend on addresses | `in_order` |
/// | what it sees | its object and all that it refers to, whole: nothing of a garbage cycle is taken apart before all finalizers of it have run | `a_cycle_is_whole_…` |
/// | what waits for it | its object and all that it refers to, directly or not; other garbage goes, also what refers to these | `garbage_that_no_finalizer_reaches_…`, `garbage_with_finalizers_does_not_pile_up` |
/// | resurrection | it gets no handle of its object, and weak references refer to nothing by then. What the object refers to may be kept. In a cycle that may lead back to the object: then it stays, for as long as it is referred to, and its finalizer does not run again | `nothing_is_resurrected`, `what_is_taken_out_of_a_cycle_…` |
/// | what it may do | all that a handler may ([table](crate#what-a-handler-may-do)): allocate, to the limit too, drop, collect, make garbage and objects with finalizers | `a_finalizer_may_…` |
/// | a panic | is kept for the next safepoint; the object goes all the same | `a_panic_is_kept` |
/// | at detach | those that are due run once all garbage was looked for. Those that they bring about, or if it is within other code all, are handed over: to the thread's other mutators, or the next one that is attached ([`Detached::finalizers`](crate::Detached::finalizers)) | `handed_over` |
///
/// Objects whose finalizer is due, and what they refer to, count as live until it has run: an allocation at a limit does not wait for it.
pub trait Finalize: Trace {
    /// Called once when the object has become garbage, with the mutator at whose safepoint that is: the object's own, or another one of the
    /// thread if that has gone.
    fn finalize(&self, mutator: &Mutator);
}

/// How many finalizers the objects of a mutator have ([`Metrics::finalizers`](crate::Metrics::finalizers)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Finalizers {
    /// Of objects that are not known to be garbage.
    pub registered: u64,
    /// Of objects that are, and that wait for a safepoint. (Those that a search has just found wait for its end, and are in neither.)
    pub due: u64,
    /// That have run since the mutator was attached, whatever came of it. Those of a mutator that has gone run at safepoints of another one, and
    /// count for the one that has gone.
    pub run: u64,
}

/// Why an object could not be given a finalizer. Gives back what was to go with it.
pub enum FinalizerError<P> {
    /// It has one, which stays.
    Exists(P),
    /// There is no memory, even after everything dead was freed.
    OutOfMemory(OutOfMemory<P>),
}

impl<P> fmt::Debug for FinalizerError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FinalizerError::Exists(_) => f.write_str("Exists"),
            FinalizerError::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl<P> fmt::Display for FinalizerError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FinalizerError::Exists(_) => f.write_str("the object has a finalizer: clear it first"),
            FinalizerError::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl<P> std::error::Error for FinalizerError<P> {}

struct Finalizer;

impl Kind for Finalizer {
    const KIND: Attachment = Attachment::Finalizer;
}

type Run = unsafe fn(NonNull<Object>, NonNull<Object>, &Mutator);

#[repr(C)]
struct Action<T, P> {
    /// First: found there without knowing the types.
    run: Run,
    finalize: fn(&T, P, &Mutator),
    payload: Cell<Option<P>>,
}

// SAFETY: 1-6: those of the payload; functions own nothing.
unsafe impl<T: 'static, P: Trace> Trace for Action<T, P> {
    const SLOTS: Slots = <Cell<Option<P>>>::SLOTS;
    const RESIDUE: bool = <Cell<Option<P>>>::RESIDUE;
    const ACYCLIC: bool = P::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.payload.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.payload.drop_residue() }
    }
}

impl<T: Trace, P: Trace> Action<T, P> {
    fn new(payload: P, finalize: fn(&T, P, &Mutator)) -> Attached<Finalizer, Action<T, P>> {
        Attached::new(Action { run: run_typed::<T, P>, finalize, payload: Cell::new(Some(payload)) })
    }

    fn into_payload(self) -> P {
        self.payload.into_inner().expect("the payload is taken when it runs")
    }
}

/// A finalizer, whatever its types.
#[repr(C)]
struct Front {
    header: Object,
    link: Link,
    run: Run,
}

/// Calls a finalizer.
///
/// # Safety
/// 1. `finalizer` is an attachment of this kind, taken off `host`; both are alive.
pub(super) unsafe fn run(finalizer: NonNull<Object>, host: NonNull<Object>, mutator: &Mutator) {
    let front = finalizer.cast::<Front>().as_ptr();
    // SAFETY: so it lies in memory (1).
    let run = unsafe { (*front).run };
    // SAFETY: handed on (1), with the function that was made for these types.
    unsafe { run(finalizer, host, mutator) }
}

/// # Safety
/// 1. As for [`run`], of these types.
unsafe fn run_typed<T: Trace, P: Trace>(finalizer: NonNull<Object>, host: NonNull<Object>, mutator: &Mutator) {
    // SAFETY: alive, of this type (1).
    let action = unsafe { Attached::<Finalizer, Action<T, P>>::value(finalizer) };
    // SAFETY: alive, of this type (1).
    let value = unsafe { handle::value::<T>(host) };
    // SAFETY: alive until after this; nobody can have borrowed it mutably, as whoever refers to it is not the only one (1).
    let value = unsafe { value.as_ref() };
    if let Some(payload) = action.payload.take() {
        (action.finalize)(value, payload, mutator);
    }
}

impl<T: Trace> Ref<T> {
    /// Has `finalize` called when the object has become garbage, with `payload`: see [`Finalize`] for when and how.
    ///
    /// The payload is kept by the object as one of its slots would be: references in it to the object itself, or to what leads to it, are part of
    /// a garbage cycle and do not keep it alive. So what a closure would capture goes there.
    ///
    /// # Errors
    /// [`FinalizerError::Exists`], [`FinalizerError::OutOfMemory`]; both give the payload back.
    ///
    /// # Cost
    /// An allocation of 48 bytes and what the payload takes, and a place in a hash table.
    ///
    /// ```
    /// use mimalloc_runtime::{Budget, Ref, Runtime, Tail};
    /// let mutator = Runtime::new()?.attach()?;
    /// let object = mutator.alloc(5u32).unwrap();
    /// let name: Ref<Tail<(), u8>> = mutator.alloc_tail_copy((), b"five").unwrap();
    /// Ref::set_finalizer(&object, name, |value, name, _| println!("{value} has gone, called {:?}", name.items()))?;
    /// drop(object);
    /// assert_eq!(mutator.metrics().finalizers.due, 1);
    /// mutator.safepoint(); // here it prints
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_finalizer<P: Trace>(
        this: &Ref<T>,
        payload: P,
        finalize: fn(&T, P, &Mutator),
    ) -> Result<(), FinalizerError<P>> {
        let object = Ref::as_raw(this);
        // SAFETY: alive: the handle's.
        let state = unsafe { thread::state_of(object) };
        // SAFETY: alive, its own.
        if unsafe { state.attachment(object, Attachment::Finalizer) }.is_some() {
            return Err(FinalizerError::Exists(payload));
        }
        // SAFETY: alive, its own; no attachment, as none is handed out as a `Ref`.
        match unsafe { state.attach(object, Action::new(payload, finalize)) } {
            Ok(Attaching::Done(_)) => Ok(()),
            Ok(Attaching::Exists(_, finalizer)) => Err(FinalizerError::Exists(finalizer.into_value().into_payload())),
            Err(error) => {
                Err(FinalizerError::OutOfMemory(error.map(|finalizer| finalizer.into_value().into_payload())))
            }
        }
    }

    /// Takes the object's finalizer away; what goes with it is dropped. False if it has none.
    pub fn clear_finalizer(this: &Ref<T>) -> bool {
        let object = Ref::as_raw(this);
        // SAFETY: alive: the handle's.
        let state = unsafe { thread::state_of(object) };
        // SAFETY: alive, its own.
        unsafe { state.detach_from(object, Attachment::Finalizer) }
    }
}

impl Mutator {
    /// As [`alloc`](Mutator::alloc), an object with the finalizer of its type.
    ///
    /// # Errors
    /// As [`alloc`](Mutator::alloc).
    ///
    /// # Cost
    /// Two allocations, and a place in a hash table.
    pub fn alloc_finalized<T: Finalize>(&self, value: T) -> Result<Ref<T>, OutOfMemory<T>> {
        let state = self.state();
        let finalizer = Action::<T, ()>::new((), |value, (), mutator| value.finalize(mutator));
        let finalizer = match state.make_attachment(finalizer) {
            Ok(finalizer) => finalizer,
            Err(error) => return Err(error.map(|_| value)),
        };
        match state.make(value) {
            Ok(object) => {
                // SAFETY: both are new, with one reference each, and of this state; the finalizer's is given up.
                unsafe { state.attach_made(object, finalizer) };
                // SAFETY: a new object of this type with a count of 1, which the handle takes over.
                Ok(unsafe { Ref::from_raw(object) })
            }
            Err(error) => {
                // SAFETY: new, and its reference is ours.
                unsafe { raw::release(finalizer) };
                Err(error)
            }
        }
    }
}
