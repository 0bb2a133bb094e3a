//! Runtimes, mutators and their heaps: the glue between the engine, the heartbeat and bounded freeing.

mod attachment;
mod census;
mod destroy;
#[cfg(test)]
mod engine_blocks;
mod ephemeron;
mod finalizer;
mod global;
mod graph;
mod handle;
mod heap;
#[cfg(feature = "allocator_api2")]
mod heap_ref;
mod interrupt;
mod leaks;
mod leftovers;
mod magazine;
mod mark;
mod metrics;
mod mutator;
mod pool;
mod pressure;
pub mod raw;
mod reach;
mod roster;
#[cfg(all(test, engine = "v3"))]
mod sampled_blocks;
mod seqlock;
mod setup;
mod snapshot;
mod state;
mod stress;
mod subscribers;
mod survey;
mod tail;
mod thread;
mod verify;
mod walk;
mod wall;
mod watch;
mod weak;
mod weak_set;
mod words;

pub use census::{Census, SizeCount, TypeCount};
pub use destroy::{DestroyError, Destroyed, Residues};
pub use ephemeron::EphemeronMap;
pub use finalizer::{Finalize, FinalizerError, Finalizers};
pub use global::ChargingAlloc;
pub use handle::{Ref, Untyped};
pub use heap::RemoteFree;
#[cfg(feature = "allocator_api2")]
pub use heap_ref::HeapRef;
pub use interrupt::{Interrupted, Interrupter};
pub use leaks::{HeldBy, Leaked, Leaks, Link, RetainingPath};
pub use metrics::{Cause, EngineCalls, Ladder, Live, Metrics, Rung, RuntimeMetrics, Step, Steps};
pub use mutator::{Detached, Mutator};
pub use pressure::{Pressure, PressureLevel};
pub use setup::{Attach, Builder, Latency, Runtime};
pub use snapshot::{Names, ObjectKind};
pub use stress::Stress;
pub use subscribers::{Subscription, When};
pub use survey::Survey;
pub use tail::{GrowError, Tail};
pub(crate) use thread::cell_changed;
pub use verify::{Counted, Place, Problem, Verified};
pub use wall::Walls;
pub use watch::Watch;
pub use weak::Weak;
pub use weak_set::WeakSet;
