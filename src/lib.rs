//! mimalloc for language runtimes.
#![doc = ""]

extern crate self as mimalloc_runtime;

mod deferred;
mod error;
mod heartbeat;
mod runtime;
mod sys;

pub use deferred::{
    Budget, COUNT_STATES, CountState, Managed, Object, Pacing, Progress, Residue, SLACK_UNITS, Schedule, Slots, Stop,
    Tally, Trace, Tracer, TypeInfo, TypeKey,
};
pub use error::{Error, ErrorKind, OutOfMemory};
pub use heartbeat::{Beat, HookCall, Registration, register_deferred_free};
pub use runtime::{
    Attach, Builder, Cause, Detached, EngineCalls, GrowError, Latency, Live, Metrics, Mutator, Ref, RemoteFree,
    Runtime, Step, Steps, Tail, Untyped, raw,
};

#[cfg(feature = "derive")]
pub use mimalloc_runtime_derive::Trace;
