//! Programs with weak references, finalizers, keys and values; see `attached/mod.rs`.
#![no_main]

#[path = "../attached/mod.rs"]
mod attached;
#[path = "../program.rs"]
mod program;

libfuzzer_sys::fuzz_target!(|program: &[u8]| attached::run(program));
