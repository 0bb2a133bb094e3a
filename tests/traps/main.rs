//! Facts about the engine that the crate is built around, most of them traps. Each test would fail if the fact changed, and
//! then the part of the crate that the table in ARCHITECTURE.md names can be looked at again.
//!
//! The engine is called directly here, with declarations of its own (`engine`). What the process shares, above all the
//! hook, is tried in a process for each test (`process`).

// What only the faults need is not needed where they are left out.
#![cfg_attr(small_tests, allow(dead_code))]

mod engine;
#[cfg(not(small_tests))]
mod heap_faults;
mod heaps;
mod hook;
#[cfg(not(small_tests))]
mod hook_faults;
mod limits;
mod process;
#[cfg(feature = "v2")]
mod thread_end;
