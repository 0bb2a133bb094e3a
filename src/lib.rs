//! mimalloc for language runtimes: a heap for each VM thread, a heartbeat of the program's own work, and reference counting
//! whose frees never take longer than the caller allows.
//!
//! # Concepts, in order
//!
//! **A heap and its mutator.** A [`Runtime`] hands out heaps; [`Runtime::attach`] pairs one with the current thread and
//! returns a [`Mutator`], the VM thread. Objects and raw blocks are allocated through it, without locks and without looking
//! up a thread-local.
//!
//! **Objects and references.** [`Mutator::alloc`] puts a value into an object and returns a [`Ref`], a counted handle one
//! pointer wide. The value's type says which references it holds: `#[derive(Trace)]`, without `unsafe`. A string or an array
//! is a [`Tail`]. A VM that keeps references in words of its own encoding uses [`raw`].
//!
//! **Death.** When the last reference to an object goes, at most that object is freed, and what dies of it is queued: dropping
//! the root of ten million objects takes as long as dropping the root of one. The queue costs no memory, since a dead object's
//! header links to the next.
//!
//! **Collection in budgets.** [`Mutator::collect`] works the queue off for as long as a [`Budget`] admits and says in a
//! [`Progress`] what it did and what is left. A unit of work is one slot visited, one object freed, or one looked at. A budget of `B` units
//! does at most `B +` [`SLACK_UNITS`] of them, whatever died: it stops and resumes in the middle of an object.
//!
//! **Pacing.** Nobody needs to call `collect`: allocation pays for freeing, by bytes ([`Pacing`]; the theory stands there).
//! Live and pending bytes together never exceed the peak of live bytes by more than an installment and what is carried over:
//! by a pause cap, and for a large block that waits.
//!
//! **Garbage cycles.** Objects that refer to each other keep their counts up when nothing else refers to them. They are found by
//! trial deletion, in steps between which the program runs: at safepoints, paid for by allocation, and in `collect`, whose budget covers
//! both. Nothing has to be said of roots. Fields that change while others refer to the object belong into a cell of [`cell`], which tell
//! of changes; a type that is in no cycles is marked `#[trace(acyclic)]` and costs nothing.
//!
//! **Weak references and finalizers.** A [`Weak`] reference leads to an object for as long as it lives and does not keep it alive; a [`WeakSet`] is
//! a table of such for interning, and an [`EphemeronMap`] notes something of an object that lives no longer than the object does. A
//! finalizer ([`Finalize`], [`Ref::set_finalizer`]) runs once, at a safepoint, when the object has become garbage. Both cost nothing to objects without.
//!
//! **Heartbeats.** A mutator beats once for so many bytes allocated, 64 KiB by default: a clock that shows the same time on
//! every machine, in every build, with either engine. [`Mutator::on_beat`] listens to it, and a deadline in beats
//! ([`Mutator::set_deadline`]) ends a program at the same place wherever it runs.
//!
//! **Limits of memory.** The bytes that a mutator has in use can be limited ([`Attach::limit`]), and its heap be confined to memory
//! of its own, a *wall* ([`Attach::wall`]): the engine itself cannot give it more. An allocation that finds no room first frees what
//! is dead, then asks the embedder to let go of something ([`Mutator::on_pressure`]), and then is refused with
//! [`OutOfMemory`], which gives the value back; the rest of the process goes on.
//!
//! **Interruption.** The VM's loop calls [`Mutator::poll`] at backward jumps and at calls, and ends the program when that returns
//! an [`Interrupted`]: its fuel has run out or the deadline has passed, both of them at the same place in every run; a limit on
//! time has passed; or another thread has asked for it ([`Interrupter`]).
//!
//! **The engine's hook.** mimalloc calls one C function of the process now and then. [`register_deferred_free`] is what of it
//! can be had safely. It is not a clock.
//!
//! **The engine's process-wide side.** Options, memory reserved ahead, statistics, messages and the heap profiler are the
//! process's, not a mutator's: [`engine`] has them. What it lacks is in [`sys`], raw.
//!
//! **The end.** [`Mutator::detach`] frees what is dead, hands the heap to the runtime's next mutator, and reports what still
//! lives. Garbage cycles are among what it frees. [`Mutator::destroy`] frees the whole heap at once, if nothing outside refers to any object of it.
//!
//! # Example
//!
//! ```
//! use mimalloc_runtime::{Budget, Ref, Runtime, Trace};
//!
//! #[derive(Trace)]
//! struct Pair {
//!     value: f64,
//!     rest: Option<Ref<Pair>>,
//! }
//!
//! let mutator = Runtime::new()?.attach()?;
//! let mut list = None;
//! for value in 0..1_000_000 {
//!     list = Some(mutator.alloc(Pair { value: value.into(), rest: list }).expect("a million pairs"));
//! }
//! assert_eq!(list.as_ref().unwrap().value, 999_999.0);
//!
//! drop(list); // frees one object and queues one
//! let progress = mutator.collect(Budget::Units(1_000)); // frees some 500 of the million
//! assert!(progress.units <= 1_000 + mimalloc_runtime::SLACK_UNITS && !progress.is_done());
//! assert!(mutator.collect(Budget::Unbounded).is_done());
//! # Ok::<(), mimalloc_runtime::Error>(())
//! ```
//!
//! # What a handler may do
//!
//! The crate calls code of the user's at these moments:
//!
//! | code | runs | collect | detach its own mutator | a panic | shown by |
//! |---|---|---|---|---|---|
//! | beat handler, [`Mutator::on_beat`] | in an allocation, after the charge and before the memory is taken; in [`charge`](Mutator::charge), [`poll`](Mutator::poll) and [`safepoint`](Mutator::safepoint) | yes ¹ | only where that is not borrowed ² | waits ³; the handler stays | `a_beat_handler_…` |
//! | pressure handler, [`Mutator::on_pressure`] | as a beat handler; at [`PressureLevel::Full`], where an allocation finds no room | yes ¹ | only where that is not borrowed ² | waits ³; the handler stays | `a_pressure_handler_…`, `limits` |
//! | step observer, [`Mutator::observe_steps`] | after each collection step, wherever that ran | yes; these steps are not told | only where that is not borrowed ² | waits ³; the observer stays | `a_step_observer_…` |
//! | a field's `Drop` | within a collection step; under [`Schedule::Eager`], and when the mutator is gone, that is in the drop of a reference | its own mutator: [`Stop::Busy`]; others: yes | only where that is not borrowed ² | waits ³; all else is freed. With the mutator gone: comes out of the drop of the reference | `a_drop_within_…`, `lost`, `orders` |
//! | deferred-free handler, [`register_deferred_free`] | at a poll or safepoint ⁴ | yes | no: the poll borrows it | comes out of that poll or safepoint, when all handlers have been told | `a_deferred_free_handler_…`, `handlers` |
//! | finalizer, [`Finalize`] | at a poll or safepoint ⁴, so many at each; in [`run_finalizers`](Mutator::run_finalizers) and [`detach`](Mutator::detach) | yes | no: it is borrowed, or on its way out | waits ³; the object goes all the same | `finalizers` |
//! | request, [`Interrupter::run_at_safepoint`] | at a poll or safepoint ⁴ | yes | no: the poll borrows it | comes out of that poll or safepoint, when all requests have run | `a_request_…`, `interrupt` |
//! | message handler, [`engine::on_message`] | at a poll or safepoint ⁴, or in [`engine::deliver_messages`] | yes | in `deliver_messages` alone, as a safepoint borrows it | comes out of that call, when everyone has been told | `tests/engine.rs` |
//!
//! None of it runs inside the engine. All of them may allocate, from mutators of the thread and from the global allocator; drop
//! references; attach mutators, and detach *other* ones of the thread that nobody has borrowed; walk areas ([`Mutator::areas`]);
//! subscribe and unsubscribe, register and remove handlers, set an observer or a limit, also concerning themselves; poll and reach
//! safepoints, stop, ask for requests; read metrics, watches and the runtime's sums. What is dead is queued and paid for as
//! ever; a handler that allocates makes no beat of the mutator whose beat it was called on, until it has returned.
//!
//! 1. Within a step of the same mutator, which a `Drop` that allocates can bring about: [`Stop::Busy`].
//! 2. The compiler sees to that: whoever allocates, collects or reaches a safepoint borrows the mutator. Where a reference is
//!    dropped under [`Schedule::Eager`], and where a container allocates through a `HeapRef`, nobody needs to.
//! 3. For the next safepoint of the mutator: [`Mutator::poll`], [`safepoint`](Mutator::safepoint), [`collect`](Mutator::collect),
//!    [`detach`](Mutator::detach). The first is kept; [`Metrics::panics`] counts all of a mutator.
//! 4. One that is not itself within code of this table, of whichever mutator of the thread: there all of this waits, and so does a
//!    panic. A poll tells of the engine's calls and messages when a beat has passed.
//!
//! The tests are in `tests/behaviour/inside.rs`, and in the files and folders beside it that are named; `tests/heap_ref.rs` has those of a
//! `HeapRef`.
//!
//! # What is where
//!
//! | for | see |
//! |---|---|
//! | setting up | [`Runtime`], [`Builder`], [`Latency`], [`Attach`], [`Mutator`]; [`Error`], [`ErrorKind`] |
//! | the end | [`Mutator::detach`], [`Detached`]; [`Mutator::destroy`], [`Destroyed`], [`DestroyError`], [`Residues`] |
//! | objects | [`Ref`], [`Tail`], [`Untyped`], [`OutOfMemory`], [`GrowError`]; [`Trace`](trait@Trace), [`Tracer`], [`Slots`], [`Residue`] |
//! | references in your own words | [`raw`], [`Object`], [`Managed`], [`TypeKey`], [`TypeInfo`], [`CountState`], [`COUNT_STATES`] |
//! | weak references | [`Weak`], [`Ref::downgrade`], [`WeakSet`], [`EphemeronMap`]; [`raw::downgrade`], [`raw::upgrade`] |
//! | finalizers | [`Finalize`], [`Mutator::alloc_finalized`], [`Ref::set_finalizer`], [`FinalizerError`], [`Mutator::run_finalizers`]; [`Metrics::finalizers`], [`Finalizers`] |
//! | garbage cycles | [`cell`], [`Tracer::unwatched`], [`raw::changing`], [`Metrics::trials`], [`Trials`] |
//! | freeing | [`Mutator::collect`], [`Budget`], [`Progress`], [`Stop`], [`Tally`], [`Pacing`], [`Schedule`], [`SLACK_UNITS`] |
//! | time | [`Mutator::on_beat`], [`Beat`], [`When`], [`Subscription`]; [`Mutator::charge`], [`Mutator::charged`] |
//! | interruption | [`Mutator::poll`], [`Interrupted`]; [`Mutator::set_fuel`], [`Mutator::set_deadline`], [`Mutator::set_time_limit`], [`Mutator::child`] |
//! | interruption by other threads | [`Interrupter`], [`Mutator::clear_stop`] |
//! | limits of memory | [`Attach::limit`], [`Mutator::set_limit`], [`Mutator::in_use`], [`counted_bytes`]; [`Attach::wall`], [`Mutator::wall`], [`Runtime::walls`], [`Walls`] |
//! | finding mistakes | [`Attach::stress`], [`Stress`] |
//! | when memory is short | [`Mutator::on_pressure`], [`Pressure`], [`PressureLevel`], [`Attach::pressure_at`]; [`Rung`], [`Ladder`]; [`Mutator::fail_allocation`] |
//! | raw blocks | [`Mutator::allocate`], [`RemoteFree`] |
//! | Rust's own containers | [`ChargingAlloc`] for all of a program's; `Mutator::heap` and `HeapRef` for those that lie in a mutator's heap |
//! | watching | [`Mutator::metrics`], [`Metrics`], [`Live`], [`Steps`], [`EngineCalls`]; [`Mutator::observe_steps`], [`Step`], [`Cause`]; [`Mutator::areas`], [`Mutator::engine_stats`] |
//! | looking for a mistake | [`Mutator::survey`], [`Survey`]: [`Mutator::verify`], [`Verified`], [`Problem`], [`Place`], [`Counted`]; [`Survey::leaks`], [`Leaks`], [`Leaked`], [`RetainingPath`], [`HeldBy`], [`Link`]; [`Survey::write_heap_snapshot`], [`Names`], [`ObjectKind`] |
//! | watching from other threads | [`Mutator::watch`], [`Watch`]; [`Runtime::metrics`], [`RuntimeMetrics`]; `export`, for the recorders of the `metrics` crate |
//! | the engine's hook | [`register_deferred_free`], [`Registration`], [`HookCall`] |
//! | the engine's process-wide side | [`engine`]: options, memory reserved ahead, huge pages, purging, statistics, messages, the heap profiler |
//! | the engine itself | [`sys`]: its whole API, raw, and where the safe API offers it |
//!
//! # Features
//!
//! - `derive` (default): `#[derive(Trace)]`.
//! - `allocator_api2`: `Mutator::heap` and `HeapRef`, a handle of the heap that containers allocate from (`hashbrown`,
//!   `allocator-api2`'s own vectors, which implement [`Trace`](trait@Trace), and others).
//! - `metrics`: the module `export`, which tells figures of runtimes, mutators and the engine to recorders of the `metrics` crate,
//!   such as an exporter for Prometheus.
//! - `tracing`: collection steps and beats as events of the `tracing` crate, at the level *trace*; calls that may take long as spans;
//!   the engine's messages ([`engine::on_message`]) as events of their own levels.
//! - `v2`: mimalloc 2 instead of 3. The same to a user of this API, save for what that version lacks
//!   ([`ErrorKind::Unsupported`]), and [`sys`].
//! - `secure`, `debug`: the engine's builds of that name.
//! - `no_thp`: the engine asks for no transparent huge pages (Linux, Android).
//! - `local_dynamic_tls`: thread-locals that also work in a library loaded at run time (`dlopen`), somewhat slower (Unix).
//! - `override`: the engine takes the place of the C library's `malloc` and `free` in the program (not on Windows).
//!
//! A program has one copy of mimalloc: with [`ChargingAlloc`] or `mimalloc3` as its global allocator it is the same one. A program that also
//! depends on `libmimalloc-sys`, the other binding, does not resolve, as both claim to link `mimalloc`.

// The derive names this crate by its path, also when it is used in here.
extern crate self as mimalloc_runtime;

mod aside;
pub mod cell;
mod deferred;
pub mod engine;
mod error;
#[cfg(feature = "metrics")]
pub mod export;
mod fallible;
mod heartbeat;
mod linear;
mod lock;
mod registry;
mod runtime;
pub mod sys;
mod traced;
mod within;

pub use deferred::{
    Budget, COUNT_STATES, CountState, Managed, Object, Pacing, Progress, Residue, SLACK_UNITS, Schedule, Slots, Stop,
    Tally, Trace, Tracer, Trials, TypeInfo, TypeKey, counted_bytes,
};
pub use error::{Error, ErrorKind, OutOfMemory};
pub use heartbeat::{Beat, HookCall, Registration, register_deferred_free};
#[cfg(feature = "allocator_api2")]
pub use runtime::HeapRef;
pub use runtime::{
    Attach, Builder, Cause, Census, ChargingAlloc, Counted, DestroyError, Destroyed, Detached, EngineCalls,
    EphemeronMap, Finalize, FinalizerError, Finalizers, GrowError, HeldBy, Interrupted, Interrupter, Ladder, Latency,
    Leaked, Leaks, Link, Live, Metrics, Mutator, Names, ObjectKind, Place, Pressure, PressureLevel, Problem, Ref,
    RemoteFree, Residues, RetainingPath, Rung, Runtime, RuntimeMetrics, SizeCount, Step, Steps, Stress, Subscription,
    Survey, Tail, TypeCount, Untyped, Verified, Walls, Watch, Weak, WeakSet, When, raw,
};

#[cfg(feature = "derive")]
pub use mimalloc_runtime_derive::Trace;

/// The README's examples, compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
