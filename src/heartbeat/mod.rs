//! The engine's hook made safe, and the heartbeat clock.
//!
//! The two have little to do with each other. mimalloc's deferred-free hook is not a clock: it is called after a number
//! of *slow-path* allocations that differs by version and by the sizes asked for, counts per heap, and is silent on a
//! thread that only frees. So the clock counts bytes by itself ([`clock`]), and the hook's calls are told to handlers, and relied on for
//! nothing ([`hook`]): what a failed allocation needs is done when the engine has returned.

mod clock;
mod handler;
mod hook;

pub use clock::Beat;
pub use handler::{Registration, register_deferred_free};
pub use hook::HookCall;

pub(crate) use clock::Clock;
pub(crate) use handler::tell_calls;
pub(crate) use hook::{Calls, attach_thread, calls, causing, claim_forced, detach_thread, has_untold_calls, install};
