//! Scripts that use up all the memory that they may have, each in its own way: the scripts beside this file, each at ten limits.
//!
//! The error, where it comes, what it leaves: nothing beyond the limit at any time, a machine that goes on, and in the end not a byte.

mod program;

use lox_vm::machine::HeapLimit;

use program::{Machinery, limits, programs};

/// As few as it is worth to run a script in, up to what takes a while to fill.
const LIMITS: [u64; 10] =
    [64 << 10, 100_000, 128 << 10, 256 << 10, 500_000, 1 << 20, 2_345_678, 4 << 20, 8 << 20, 16 << 20];

#[test]
fn every_script_ends_at_every_counted_limit() {
    let programs = programs();
    assert!(programs.len() >= 20);
    for bytes in limits(&LIMITS) {
        for program in &programs {
            Machinery::start(HeapLimit { bytes, walled: false }).exhaust(program);
        }
    }
}

#[test]
fn one_machine_bears_all_scripts_one_after_the_other() {
    let mut machinery = Machinery::start(HeapLimit { bytes: 300_000, walled: false });
    for program in programs() {
        machinery.exhaust(&program);
    }
}
