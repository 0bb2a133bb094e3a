//! The engine's process-wide side, made safe: options, memory reserved ahead, statistics, messages, the heap profiler.
//!
//! mimalloc has one set of options, one set of arenas and one output for the whole process; what is done here is seen by
//! everyone in it. What belongs to one mutator's heap stands with [`Mutator`](crate::Mutator).
//!
//! What only one version of the engine can do is there on both, and gives
//! [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) on the other.

mod messages;
mod options;
mod profiler;
mod reserve;
mod stats;

pub use messages::{Message, MessageHandler, MessageKind, deliver_messages, on_message};
pub use options::{ArenaCommit, EngineOptions, Purge, ReclaimOnFree};
pub use profiler::{Profiler, ProfilerSettings};
pub use reserve::{HugePages, Reserve, purge};
pub use stats::{Area, ClassStats, Count, EngineStats, SizeClass, stats};

pub(crate) use messages::has_messages;
pub(crate) use options::{apply, heap_is_made};

use crate::sys::engine;

/// The engine's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// 2 or 3.
    pub major: u32,
    /// Within the major version.
    pub minor: u32,
    /// Within the minor version.
    pub patch: u32,
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The version of the engine that the program is linked with.
pub fn version() -> Version {
    let version = engine::version().unsigned_abs();
    Version { major: version / 10_000, minor: version / 100 % 100, patch: version % 100 }
}
