//! Runtimes, mutators and their heaps: the glue between the engine, the heartbeat and bounded freeing.

mod census;
mod destroy;
#[cfg(test)]
mod engine_blocks;
mod global;
mod handle;
mod heap;
#[cfg(feature = "allocator_api2")]
mod heap_ref;
mod interrupt;
mod leftovers;
mod magazine;
mod mark;
mod metrics;
mod mutator;
mod pool;
mod pressure;
pub mod raw;
mod roster;
mod seqlock;
mod setup;
mod state;
mod stress;
mod subscribers;
mod tail;
mod thread;
mod walk;
mod wall;
mod watch;
mod words;

pub use census::{Census, SizeCount, TypeCount};
pub use destroy::{DestroyError, Destroyed, Residues};
pub use global::ChargingAlloc;
pub use handle::{Ref, Untyped};
pub use heap::RemoteFree;
#[cfg(feature = "allocator_api2")]
pub use heap_ref::HeapRef;
pub use interrupt::{Interrupted, Interrupter};
pub use metrics::{Cause, EngineCalls, Ladder, Live, Metrics, Rung, RuntimeMetrics, Step, Steps};
pub use mutator::{Detached, Mutator};
pub use pressure::{Pressure, PressureLevel};
pub use setup::{Attach, Builder, Latency, Runtime};
pub use stress::Stress;
pub use subscribers::{Subscription, When};
pub use tail::{GrowError, Tail};
pub(crate) use thread::cell_changed;
pub use wall::Walls;
pub use watch::Watch;
