//! The engine's raw API: every function, type and constant that the headers of mimalloc 3 (or 2, feature `v2`) declare and
//! its library defines, under the name it has there. It is for what the safe API does not offer.
//!
//! The declarations are compared with the engine's own headers by the C compiler whenever this crate is built, and with the
//! list of what the headers declare by a test: they can be neither wrong nor incomplete. They are those of the engine in
//! use, so a program that uses what only one version has does not build with the other. A later `libmimalloc-sys3` may
//! bring a later engine: **this module is not covered by the crate's semantic versioning.**
//!
//! # Safety
//!
//! Obligations for all functions; what else one asks stands with it.
//!
//! 1. A block, where one is passed, came from this engine and has not been freed, and nobody else frees or moves it
//!    meanwhile. Null is a block to the functions that free or resize. One that is freed or moved is not used again.
//! 2. A heap, theap, arena, subprocess or profiler is one that the engine gave and that has not been given back.
//! 3. A theap, and on version 2 also a heap, is used by no thread but its own.
//! 4. An alignment is a power of two.
//! 5. Other pointers are valid for what is read or written through them; strings end with a zero. A callback may be called
//!    on any thread, as long as it is registered, and does not unwind; its argument may be used from there.
//! 6. What is a promise of the safe API is left alone: heaps and blocks of a [`Mutator`](crate::Mutator) are not touched, the
//!    deferred-free function stays registered, and so do those for text and errors once
//!    [`engine::on_message`](crate::engine::on_message) has set them. Blocks allocated here are not charged to the heartbeat.
//!
//! Unless said otherwise, a function that allocates gives null when memory has run out, and may call the deferred-free
//! function first.
//!
//! ```
//! use mimalloc_runtime::sys;
//!
//! // SAFETY: takes any size.
//! let block = unsafe { sys::mi_zalloc(100) };
//! assert!(!block.is_null());
//! // SAFETY: a live block (1).
//! assert!(unsafe { sys::mi_usable_size(block) } >= 100);
//! // SAFETY: a live block, not used again (1).
//! unsafe { sys::mi_free(block) };
//! ```
//!
//! [`Mutator::allocate`]: crate::Mutator::allocate
//! [`Mutator::allocate_zeroed`]: crate::Mutator::allocate_zeroed
//! [`Mutator::reallocate`]: crate::Mutator::reallocate
//! [`Mutator::deallocate`]: crate::Mutator::deallocate
//! [`Mutator::detach`]: crate::Mutator::detach
//! [`Mutator::release_memory`]: crate::Mutator::release_memory
//! [`Mutator::areas`]: crate::Mutator::areas
//! [`Mutator::engine_stats`]: crate::Mutator::engine_stats
//! [`ChargingAlloc`]: crate::ChargingAlloc
//! [`RemoteFree::free`]: crate::RemoteFree::free
//! [`Runtime::attach`]: crate::Runtime::attach
//! [`Attach::numa_node`]: crate::Attach::numa_node
//! [`Attach::wall`]: crate::Attach::wall
//! [`Mutator::wall`]: crate::Mutator::wall
//! [`Builder::build`]: crate::Builder::build
//! [`Builder::latency`]: crate::Builder::latency
//! [`register_deferred_free`]: crate::register_deferred_free
//! [`EngineOptions`]: crate::engine::EngineOptions
//! [`Reserve`]: crate::engine::Reserve
//! [`HugePages`]: crate::engine::HugePages
//! [`HugePages::node`]: crate::engine::HugePages::node
//! [`Profiler`]: crate::engine::Profiler
//! [`Profiler::snapshot`]: crate::engine::Profiler::snapshot
//! [`ProfilerSettings::start`]: crate::engine::ProfilerSettings::start
//! [`engine::on_message`]: crate::engine::on_message
//! [`engine::ClassStats`]: crate::engine::ClassStats
//! [`engine::purge`]: crate::engine::purge()
//! [`engine::stats`]: crate::engine::stats()
//! [`engine::version`]: crate::engine::version()
//!
#![doc = include_str!("api.md")]
// The names are the engine's.
#![allow(non_camel_case_types, non_upper_case_globals)]

// Linked for its native library; none of its declarations are used.
use libmimalloc_sys3 as _;

mod aligned;
mod arena;
// The crate's own calls, and the one place that knows how version 2 and version 3 differ in them.
pub(crate) mod engine;
mod heap;
mod heap_malloc;
mod malloc;
mod new;
mod options;
mod posix;
mod process;
#[cfg(engine = "v3")]
mod profile;
mod stats;
mod string;
mod subproc;
mod theap;
mod visit;
// Not the engine's but ours, of vendor/.
pub(crate) mod walk;

pub use aligned::*;
pub use arena::*;
pub use heap::*;
pub use heap_malloc::*;
pub use malloc::*;
pub use new::*;
pub use options::*;
pub use posix::*;
pub use process::*;
#[cfg(engine = "v3")]
pub use profile::*;
pub use stats::*;
pub use string::*;
pub use subproc::*;
pub use theap::*;
pub use visit::*;
