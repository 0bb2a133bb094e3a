//! A VM thread attached to a runtime.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::deferred::{Budget, Large, Meter, Progress, Search, Tally, Trace};
use crate::engine::{Area, EngineStats};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, OutOfMemory};
use crate::fallible;
use crate::heartbeat::{self, Beat};
use crate::sys::engine;
use crate::traced::in_span;

use super::handle::Ref;
use super::heap::{Half, MOST_BYTES, RemoteFree};
#[cfg(feature = "allocator_api2")]
use super::heap_ref::HeapRef;
#[cfg(doc)]
use super::interrupt::{Interrupted, Interrupter};
use super::metrics::{Cause, Metrics, Step};
use super::setup::Attach;
use super::state::{State, resume_if_possible};
use super::subscribers::{Subscription, When};
use super::thread;
use super::watch::Watch;

/// A VM thread: its heap, its heartbeat, and its queue of dead objects. Bound to the thread that attached it.
///
/// Dropping it detaches it: see [`detach`](Mutator::detach).
///
/// ```compile_fail
/// # let mutator = mimalloc_runtime::Runtime::new()?.attach()?;
/// std::thread::spawn(move || drop(mutator)); // a mutator stays on its thread
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
pub struct Mutator {
    /// Invariant ATTACHED: a state on this thread's list, attached for as long as this value lives; for one that is lent to a
    /// handler ([`Mutator::borrowed`]) alive, since the mutator that it stands for may be detached meanwhile.
    state: NonNull<State>,
    _not_send: PhantomData<*mut ()>,
}

/// What a detached mutator has left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detached {
    /// Objects that still have a reference: held by handles, or by what handles lead to, or in cycles that are not found (through objects of
    /// two mutators, or through what `trace` does not report). They stay valid on this thread and are freed when nothing holds them any more.
    pub live: Tally,
    /// Finalizers that are due and have not run, as it was within other code that the mutator was detached, or because finalizers brought
    /// about more of them. They are handed over: the thread's other mutators run them at their safepoints, and if it has none, the one
    /// that is attached next. Their objects are among those that live.
    pub finalizers: u64,
}

impl Mutator {
    pub(super) fn new(state: NonNull<State>) -> Mutator {
        Mutator { state, _not_send: PhantomData }
    }

    /// Its state, which is not detached.
    pub(super) fn into_state(self) -> NonNull<State> {
        ManuallyDrop::new(self).state
    }

    /// A mutator to be lent, which does not detach.
    ///
    /// # Safety
    /// 1. `state` stays alive for as long as it is lent.
    pub(super) unsafe fn borrowed(state: NonNull<State>) -> ManuallyDrop<Mutator> {
        ManuallyDrop::new(Mutator::new(state))
    }

    /// Whether the object is this mutator's.
    pub(super) fn owns<T: ?Sized>(&self, object: &Ref<T>) -> bool {
        // SAFETY: alive: the handle's, which is of this thread.
        unsafe { thread::owner(Ref::as_raw(object)) == self.state }
    }

    #[inline(always)]
    pub(super) fn state(&self) -> &State {
        // SAFETY: ATTACHED.
        unsafe { self.state.as_ref() }
    }

    // ---- objects ----

    /// A new object that holds `value`, and the first reference to it.
    ///
    /// # Errors
    /// [`OutOfMemory`], with the value, when the engine has no memory even after everything dead was freed: none at all, or
    /// none within the [wall](Attach::wall).
    ///
    /// # Cost
    /// An engine allocation of `size_of::<T>() + 8` bytes, two counters and one branch. When an installment is due, a
    /// collection step under the pause cap; when a beat is due, the beat handlers too.
    #[inline(always)]
    pub fn alloc<T: Trace>(&self, value: T) -> Result<Ref<T>, OutOfMemory<T>> {
        let object = self.state().make(value)?;
        // SAFETY: a new object of this type with a count of 1, which the handle takes over.
        Ok(unsafe { Ref::from_raw(object) })
    }

    // ---- collection ----

    /// Frees dead objects, and looks for garbage cycles and frees these, for as long as `budget` admits. A safepoint.
    ///
    /// First what is dead is freed. When nothing dead is left, the search that is under way goes on, and then all candidates are looked
    /// at that have come to be since that was last done. It is [done](Progress::is_done) when neither finds anything to do. What a search has
    /// given up because it did not fit into the budget ([`cell`](crate::cell)) waits for one without a budget.
    ///
    /// Promise P1: with [`Budget::Units(b)`](Budget::Units) it does at most `b +` [`SLACK_UNITS`](crate::SLACK_UNITS) units
    /// of work, whatever has died. Large blocks are left for [`release_memory`](Mutator::release_memory) unless the budget
    /// is unbounded.
    ///
    /// # Panics
    /// With the payload of a panic of user code that was kept since the last safepoint: of a `Drop`, a `trace`, a handler.
    /// The work of this call is done by then.
    pub fn collect(&self, budget: Budget) -> Progress {
        in_span!("collect", budget = ?budget);
        let large = if budget == Budget::Unbounded { Large::Free } else { Large::Keep };
        let progress = self.state().step(Cause::Request, budget, Meter::new(budget), large);
        self.state().show(0);
        self.state().report(self, Search::None);
        progress
    }

    /// A place where the embedder's own state is in order: takes the step and tells the beats that Rust's own allocations have
    /// made due ([`ChargingAlloc`](crate::ChargingAlloc)), runs requests of other threads
    /// ([`Interrupter::run_at_safepoint`]), tells handlers of the engine's calls
    /// ([`register_deferred_free`](crate::register_deferred_free)) and of its messages, and resumes a panic of user code that was kept.
    ///
    /// For a place at which the program cannot be interrupted: a VM's loop calls [`poll`](Mutator::poll), which does the same.
    /// So does [`collect`](Mutator::collect), save for the first. Within code that the crate has called, such as a handler or a `Drop`,
    /// of whichever mutator of the thread, all but the first waits.
    ///
    /// # Panics
    /// With the payload of the first panic of user code since the last safepoint, and with that of a handler that is told something
    /// here. What was still to be told then comes at the next.
    ///
    /// # Cost
    /// Six loads when there is nothing to tell.
    #[inline]
    pub fn safepoint(&self) {
        self.state().settle();
        self.state().report(self, Search::Current);
    }

    /// Gives memory back: frees everything dead, large blocks included, and returns unused pages to the operating system.
    /// For a place that may wait, such as an idle VM: **not bounded**.
    ///
    /// # Panics
    /// As [`collect`](Mutator::collect).
    pub fn release_memory(&self) -> Progress {
        in_span!("release_memory");
        let progress = self.state().step(Cause::Request, Budget::Unbounded, Meter::new(Budget::Unbounded), Large::Free);
        heartbeat::causing(|| {
            self.state().heap.collect();
            engine::collect_forced();
        });
        self.state().show(0);
        self.state().report(self, Search::None);
        progress
    }

    // ---- finalizers ----

    /// Runs finalizers that are due, at most so many. Returns how many ran. Others may be due then, also such as these have brought about.
    ///
    /// Nothing, within code that the crate has called: a finalizer, a handler, a `Drop`.
    ///
    /// # Panics
    /// Not with the panic of a finalizer, which is kept for the next safepoint.
    pub fn run_finalizers(&self, most: u64) -> u64 {
        self.state().run_finalizers(self, most)
    }

    /// Sets how many finalizers run at a safepoint at most: 16 unless set, 0 for none but those of
    /// [`run_finalizers`](Mutator::run_finalizers).
    pub fn set_finalizers_per_safepoint(&self, most: u32) {
        self.state().set_finalizers_per_safepoint(most);
    }

    // ---- raw blocks ----

    /// A block of raw memory, for a VM's own buffers. Charged to the heartbeat like an object. It is there until it is freed, also when the mutator has been detached, or until
    /// the mutator is [destroyed](Mutator::destroy).
    ///
    /// # Errors
    /// [`OutOfMemory`] as for [`alloc`](Mutator::alloc).
    #[inline]
    pub fn allocate(&self, layout: Layout) -> Result<NonNull<u8>, OutOfMemory> {
        self.block(layout, |blocks| blocks.malloc(layout.size(), layout.align()))
    }

    /// As [`allocate`](Mutator::allocate), filled with zeros.
    ///
    /// # Errors
    /// As [`allocate`](Mutator::allocate).
    #[inline]
    pub fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<u8>, OutOfMemory> {
        self.block(layout, |blocks| blocks.malloc_zeroed(layout.size(), layout.align()))
    }

    #[inline(always)]
    fn block(&self, layout: Layout, take: impl Fn(&Half) -> Option<NonNull<u8>>) -> Result<NonNull<u8>, OutOfMemory> {
        self.state().allocate_block(layout, take).ok_or(OutOfMemory { value: (), bytes: layout.size() })
    }

    /// The block in another size; contents up to the smaller of the two sizes are kept. On failure the old block stays.
    ///
    /// # Errors
    /// [`OutOfMemory`] as for [`allocate`](Mutator::allocate), also when `new_size`, rounded up to the alignment, is more
    /// than `isize::MAX`. A smaller size is never refused by a limit, but it takes a block of that size, for which the engine may have
    /// no memory.
    ///
    /// # Safety
    /// 1. `block` was allocated by this mutator with this `layout`.
    /// 2. If a block is returned, `block` is not used again; the new layout is `layout` with `new_size`.
    pub unsafe fn reallocate(
        &self,
        block: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Result<NonNull<u8>, OutOfMemory> {
        let failed = OutOfMemory { value: (), bytes: new_size };
        let new = Layout::from_size_align(new_size, layout.align()).map_err(|_| failed)?;
        // SAFETY: of this mutator, with this layout, and not used again if it was moved (1, 2).
        unsafe { self.state().resize_block(block, layout, new) }.ok_or(failed)
    }

    /// Frees a block.
    ///
    /// # Safety
    /// 1. `block` was allocated by this mutator with this `layout`, and is not used again.
    #[inline]
    pub unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: of this mutator, with this layout, not used again (1).
        unsafe { self.state().free_block(block, layout) }
    }

    /// A handle of this mutator's heap, for containers to allocate from.
    #[cfg(feature = "allocator_api2")]
    pub fn heap(&self) -> HeapRef {
        // SAFETY: ATTACHED.
        unsafe { HeapRef::new(self.state) }
    }

    /// Something with which other threads can free this mutator's raw blocks.
    pub fn remote_free(&self) -> RemoteFree {
        RemoteFree { freed: self.state().elsewhere().clone() }
    }

    // ---- beats and reports ----

    /// Calls `handler` on heartbeats, for as long as the mutator is attached or until [`unsubscribe`](Mutator::unsubscribe).
    ///
    /// It runs on the allocation path, after the allocation was charged and before the memory is taken; an allocation of
    /// several beats calls it once ([`Beat::passed`]). It may do anything that code on this thread may do: allocate (which
    /// makes no beat of its own until it returns), drop references, collect, subscribe and unsubscribe, itself included (the
    /// crate has a [table](crate#what-a-handler-may-do)). A handler that is added meanwhile is not called on the same beat. If it
    /// panics, the panic is kept for the next safepoint and the handler stays.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for `When::Every(0)`, and for a beat that has passed; [`ErrorKind::OutOfMemory`].
    ///
    /// # Cost
    /// Nothing on the allocation path; at each beat, a look at each subscription.
    ///
    /// ```
    /// use mimalloc_runtime::{Budget, Runtime, When};
    /// let mutator = Runtime::new()?.attach()?;
    /// // A little collecting every fourth beat, which is every 256 KiB.
    /// let regular = mutator.on_beat(When::Every(4), |mutator, _| {
    ///     mutator.collect(Budget::Units(100));
    /// })?;
    /// mutator.on_beat(When::At(1_000), move |mutator, _| {
    ///     mutator.unsubscribe(regular);
    /// })?;
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    pub fn on_beat(&self, when: When, handler: impl FnMut(&Mutator, Beat) + 'static) -> Result<Subscription, Error> {
        self.state().subscribe_to_beats(when, fallible::boxed(handler)?)
    }

    /// Ends a subscription of this mutator. False if it has ended already.
    ///
    /// # Panics
    /// If dropping the handler does; it is off the list all the same.
    pub fn unsubscribe(&self, subscription: Subscription) -> bool {
        self.state().unsubscribe(subscription)
    }

    /// Beats since the mutator was attached.
    #[inline]
    pub fn beats(&self) -> u64 {
        self.state().clock().beats()
    }

    /// Bytes charged to the heartbeat since the mutator was attached: what beats are counted from.
    pub fn charged(&self) -> u64 {
        self.state().clock().charged()
    }

    /// Charges the heartbeat as if so many bytes, at most 2^47, had been allocated and freed.
    ///
    /// For work that is done without allocating, and for results that are taken from a cache: note what
    /// [`charged`](Mutator::charged) rises by when a result is computed, and charge it again whenever the cached one is used.
    /// Then a deadline comes at the same place whether the cache was warm or not, which is what Lean does with its heartbeats.
    ///
    /// ```
    /// # use mimalloc_runtime::Runtime;
    /// # let mutator = Runtime::new()?.attach()?;
    /// # let compute = || drop(mutator.alloc([0u8; 1000]));
    /// let before = mutator.charged();
    /// compute();
    /// let cost = mutator.charged() - before;
    /// // Later, instead of computing:
    /// mutator.charge(cost);
    /// assert_eq!(mutator.charged(), before + 2 * cost);
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    ///
    /// # Cost
    /// As an allocation's: a step and handlers when they are due.
    pub fn charge(&self, bytes: u64) {
        self.state().charge(bytes.min(MOST_BYTES as u64));
    }

    /// Sets the deadline: the number of the beat on which it passes, counted from the attaching; `None` for no deadline.
    /// [`poll`](Mutator::poll) returns [`Interrupted::Deadline`] from the allocation on that completes the beat, until the deadline
    /// is set anew. Nothing else is done about it. It replaces the one before, which an inner limit should respect:
    ///
    /// ```
    /// # use mimalloc_runtime::Runtime;
    /// # let mutator = Runtime::new()?.attach()?;
    /// let outer = mutator.deadline();
    /// let inner = mutator.beats() + 100;
    /// mutator.set_deadline(Some(outer.map_or(inner, |outer| outer.min(inner))));
    /// // ... run until poll returns an error ...
    /// mutator.set_deadline(outer);
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    pub fn set_deadline(&self, deadline: Option<u64>) {
        self.state().set_deadline(deadline);
    }

    /// The deadline, as it was set.
    pub fn deadline(&self) -> Option<u64> {
        self.state().clock().deadline()
    }

    /// Settings for a child: a mutator of the same runtime with the same pacing and beat, whose deadline is as many beats away
    /// as this one's is now, with as much fuel as this one has now and the same limit, in a [wall](Attach::wall) of its own if this one
    /// has one, as large as was asked for here. `Send`: the child may be attached to another thread.
    pub fn child(&self) -> Attach {
        self.state().child()
    }

    /// Calls `observer` after each collection step, in place of the observer set before.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`]; the one before stays.
    ///
    /// # Cost
    /// Two readings of the clock a step.
    pub fn observe_steps(&self, observer: impl FnMut(&Step) + 'static) -> Result<(), Error> {
        self.state().set_observer(fallible::boxed(observer)?);
        Ok(())
    }

    /// What has been counted so far.
    pub fn metrics(&self) -> Metrics {
        self.state().metrics()
    }

    /// Something with which other threads can read what has been counted, up to the last beat.
    pub fn watch(&self) -> Watch {
        self.state().watch()
    }

    /// What the engine has counted of this mutator's heap.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2, which counts for the process alone.
    ///
    /// # Cost
    /// The engine copies some kilobytes.
    pub fn engine_stats(&self) -> Result<EngineStats, Error> {
        self.state().heap.stats()
    }

    /// The areas of this mutator's heap: how the engine has laid out its blocks, by size, and how full they are.
    /// [`SizeClass::of`](crate::engine::SizeClass::of) adds them up.
    ///
    /// # Errors
    /// - [`ErrorKind::NotAlone`] while a [`RemoteFree`] of the mutator exists, or blocks that an earlier mutator of the heap has left:
    ///   the engine's walk must have the heap to itself.
    /// - [`ErrorKind::OutOfMemory`], as the list is Rust's own.
    ///
    /// # Cost
    /// Two walks over all areas: **not bounded**.
    pub fn areas(&self) -> Result<Vec<Area>, Error> {
        self.state().areas()
    }

    // ---- the end ----

    /// Detaches the mutator: frees everything dead, gives its heap to the runtime's pool, and says what lives on.
    ///
    /// To free a heap that nothing outside refers to, whatever lies in it, there is [`destroy`](Mutator::destroy).
    ///
    /// **Not bounded.** Call [`collect`](Mutator::collect) until it is done first if it should be; what remains then takes
    /// constant time, the engine's part apart. While objects of it live on, or handles of its heap, that is not handed to
    /// another mutator, and
    /// an object that dies is freed at once together with all that dies of it, without recursion.
    ///
    /// After this call garbage cycles are freed with the release that makes them garbage, as no later moment is certain to come. The first
    /// release of an object to which there are other references looks at all that it leads to; what that comes to is kept (some 20 to 50 bytes of Rust's own
    /// memory for each object), so that *n* handles into a structure of *n* objects and references are let go of in some *n* units, in whatever order.
    /// It is looked at anew, and so each release may cost as much as the structure is large,
    /// - after what was looked at has been changed, where it is changed between releases;
    /// - if it leads to a cell of the standard library, or to one that is being borrowed to be changed: use [`cell`](crate::cell)s, which tell of changes;
    /// - where handles are moved through it, each cloned from the last and no other held: references that are taken are not told of.
    ///
    /// The fields of a structure are dropped in their order: with the mutator last, handles cost nothing of that.
    ///
    /// # Panics
    /// With the payload of a panic of user code that was kept, after everything else is done.
    pub fn detach(self) -> Detached {
        in_span!("detach");
        let state = self.into_state();
        // SAFETY: ATTACHED; the mutator is gone.
        let (left, panic) = unsafe { State::detach(state) };
        resume_if_possible(panic);
        left
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        // SAFETY: ATTACHED; the mutator is gone.
        let (_, panic) = unsafe { State::detach(self.state) };
        resume_if_possible(panic);
    }
}

impl fmt::Debug for Mutator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutator").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}
