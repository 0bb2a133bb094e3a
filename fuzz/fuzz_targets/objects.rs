//! Operations on a graph of objects against a model; see `objects/mod.rs`.
#![no_main]

#[path = "../objects/mod.rs"]
mod objects;
#[path = "../program.rs"]
mod program;

libfuzzer_sys::fuzz_target!(|program: &[u8]| objects::run(program));
