//! Runtimes, mutators and their heaps: the glue between the engine, the heartbeat and bounded freeing.

#[cfg(test)]
mod census;
mod handle;
mod heap;
mod magazine;
mod metrics;
mod mutator;
pub mod raw;
mod setup;
mod state;
mod subscribers;
mod tail;
mod thread;

pub use handle::{Ref, Untyped};
pub use heap::RemoteFree;
pub use metrics::{Cause, EngineCalls, Live, Metrics, Step, Steps};
pub use mutator::{Detached, Mutator};
pub use setup::{Attach, Builder, Latency, Runtime};
pub use subscribers::{Subscription, When};
pub use tail::{GrowError, Tail};
