//! What a mutator counts, and what it tells of each collection step.

use std::time::Duration;

use crate::deferred::{Budget, Progress, Tally, Trials};

use super::finalizer::Finalizers;

/// Why a collection step ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cause {
    /// An installment's worth of bytes was allocated.
    Installment,
    /// A heartbeat fell due; the step pays one installment ahead.
    Beat,
    /// A search for garbage cycles was under way, and allocation has paid for a part of it.
    Search,
    /// [`Mutator::collect`](crate::Mutator::collect) or [`release_memory`](crate::Mutator::release_memory).
    Request,
    /// Something died under [`Schedule::Eager`](crate::Schedule::Eager).
    Death,
    /// An allocation found no room: below the limit, or in the engine ([`Rung::Drain`]).
    OutOfMemory,
    /// The mutator is being detached, or an object died after it was.
    Detach,
}

impl Cause {
    /// All causes, in the order of their numbers.
    pub const ALL: [Cause; 7] = [
        Cause::Installment,
        Cause::Beat,
        Cause::Search,
        Cause::Request,
        Cause::Death,
        Cause::OutOfMemory,
        Cause::Detach,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Installment => "installment",
            Cause::Beat => "beat",
            Cause::Search => "search",
            Cause::Request => "request",
            Cause::Death => "death",
            Cause::OutOfMemory => "out_of_memory",
            Cause::Detach => "detach",
        }
    }
}

/// One collection step, as told to the observer ([`Mutator::observe_steps`](crate::Mutator::observe_steps)).
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Why it ran.
    pub cause: Cause,
    /// The limit it ran under, besides the debt it had to pay.
    pub budget: Budget,
    /// What it did.
    pub progress: Progress,
    /// How long it took by the monotonic clock.
    pub elapsed: Duration,
    /// Bytes owed after it: what the pause cap carries over.
    pub debt: u64,
    /// Bytes charged to the mutator since it was attached: the program's own time, for plots that do not vary between runs.
    pub allocated_bytes: u64,
    /// Live objects after it.
    pub live: Tally,
}

/// Steps so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    /// How many.
    pub count: u64,
    /// How many for each [`Cause`], in the order of [`Cause::ALL`].
    pub by_cause: [u64; Cause::ALL.len()],
    /// The longest one, in units.
    pub max_units: u64,
    /// All of them, in units.
    pub units: u64,
}

/// Objects that have a reference, as far as the counts know, and their peak.
///
/// What only dead objects refer to still counts as live until the drain comes to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Now.
    pub now: Tally,
    /// The most bytes at any step, beat, first death or reading of the metrics. An object that is made and dies between two
    /// such moments is not seen.
    pub peak_bytes: u64,
}

/// What is tried when an allocation finds no room, in this order, until it does: because the limit would be passed, or because the
/// engine has no memory. (Before it says so, the engine has gone through the heap's pages itself, and does so again in each new
/// try.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rung {
    /// Free blocks that are kept at hand go back to the engine, and dead objects are freed: of a limit as many bytes as it would be
    /// passed by, else all. **Not bounded** in units.
    Drain,
    /// Garbage cycles are looked for among all candidates and freed, if there are candidates. **Not bounded** in units: what they lead to
    /// is looked at, in use or not.
    Cycles,
    /// The handlers of [`Mutator::on_pressure`](crate::Mutator::on_pressure), if there are any, are called with
    /// [`PressureLevel::Full`](crate::PressureLevel::Full), and what dies of it is freed. As long as they take.
    Pressure,
}

impl Rung {
    /// All of them, in their order.
    pub const ALL: [Rung; 3] = [Rung::Drain, Rung::Cycles, Rung::Pressure];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Rung::Drain => "drain",
            Rung::Cycles => "cycles",
            Rung::Pressure => "pressure",
        }
    }
}

/// How often allocations found no room, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ladder {
    /// How often each [`Rung`] was climbed, in the order of [`Rung::ALL`].
    pub climbed: [u64; Rung::ALL.len()],
    /// How often there was room afterwards.
    pub helped: [u64; Rung::ALL.len()],
    /// Allocations that were refused: [`OutOfMemory`](crate::OutOfMemory).
    pub refused: u64,
}

/// Calls of the engine's deferred-free hook on this thread since the mutator was attached: for several mutators of a thread they are the
/// same calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineCalls {
    /// See [`HookCall::Routine`](crate::HookCall::Routine).
    pub routine: u64,
    /// See [`HookCall::Forced`](crate::HookCall::Forced).
    pub forced: u64,
    /// See [`HookCall::ForcedElsewhere`](crate::HookCall::ForcedElsewhere). They count when they are told.
    pub forced_elsewhere: u64,
}

/// What a mutator has counted since it was attached.
///
/// `allocated == freed + live + pending + abandoned`, in objects and in bytes. A block counts for what the engine has for such a
/// request ([`counted_bytes`](crate::counted_bytes)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    /// Heartbeats.
    pub beats: u64,
    /// Objects allocated.
    pub allocated: Tally,
    /// Objects freed.
    pub freed: Tally,
    /// Objects that have a reference.
    pub live: Live,
    /// Objects known to be dead and not yet freed.
    pub pending: Live,
    /// Of these, large blocks that wait for [`release_memory`](crate::Mutator::release_memory).
    pub large: Tally,
    /// Objects given up because their `trace` panicked twice at the same slot: their memory is never freed.
    pub abandoned: Tally,
    /// Bytes of raw blocks in use. Read from within a beat handler, it includes the allocation that is
    /// being made.
    pub block_bytes: u64,
    /// Bytes of all blocks in use: objects live, pending and given up, and raw blocks. What a limit is a limit of.
    pub in_use_bytes: u64,
    /// The most of them, read at the same moments as [`Live::peak_bytes`].
    pub peak_in_use_bytes: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// Allocations that found no room.
    pub ladder: Ladder,
    /// Bytes owed: what the pause cap carries over.
    pub debt: u64,
    /// Collection steps.
    pub steps: Steps,
    /// The search for garbage cycles: trials, and objects. The units that it takes are among those of [`steps`](Metrics::steps).
    pub trials: Trials,
    /// Finalizers of the mutator's objects: how many.
    pub finalizers: Finalizers,
    /// Panics of user code that were caught. The payload of the first between two safepoints is resumed, those of the others
    /// are forgotten: to drop one could panic again.
    pub panics: u64,
    /// Calls of the engine's hook.
    pub engine_calls: EngineCalls,
}

/// What the mutators of a runtime have counted, in sum ([`Runtime::metrics`](crate::Runtime::metrics)): of those that are there, as
/// each has shown it last ([`Watch::metrics`](crate::Watch::metrics)), and of those that have ended. Counts are since the runtime was
/// made. What a mutator that has ended left in use is in none of them.
///
/// `allocated == freed + live + pending + abandoned`, in objects and in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuntimeMetrics {
    /// Mutators that are attached. One that was forgotten ([`core::mem::forget`]) stays attached.
    pub attached: u64,
    /// Mutators that were detached and of which objects, or handles of the heap, live on.
    pub lingering: u64,
    /// Mutators of which nothing is left.
    pub ended: u64,
    /// Heaps that wait for a mutator.
    pub idle_heaps: u64,
    /// Heartbeats.
    pub beats: u64,
    /// Objects allocated.
    pub allocated: Tally,
    /// Objects freed.
    pub freed: Tally,
    /// Objects that have a reference.
    pub live: Tally,
    /// Objects known to be dead and not yet freed.
    pub pending: Tally,
    /// Of these, large blocks that wait for [`release_memory`](crate::Mutator::release_memory).
    pub large: Tally,
    /// Objects given up.
    pub abandoned: Tally,
    /// Bytes of raw blocks in use.
    pub block_bytes: u64,
    /// Bytes of all blocks in use.
    pub in_use_bytes: u64,
    /// Allocations that found no room.
    pub ladder: Ladder,
    /// Bytes owed: what the pause caps carry over.
    pub debt: u64,
    /// Collection steps; the longest one is the longest of any mutator.
    pub steps: Steps,
    /// The search for garbage cycles.
    pub trials: Trials,
    /// Finalizers. Of a mutator that has ended those that have run.
    pub finalizers: Finalizers,
    /// Panics of user code that were caught.
    pub panics: u64,
}
