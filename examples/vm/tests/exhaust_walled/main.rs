//! Scripts that use up all the memory that they may have, as in `exhaust`, on heaps that lie in walls. Alone in their process, whose
//! size is looked at.

#[path = "../exhaust/program.rs"]
mod program;

use lox_vm::machine::HeapLimit;
use mimalloc_runtime::Runtime;

use program::{Machinery, limits, programs};

/// The first are limits within a wall, which is a multiple of 32 MiB; with 32 MiB the wall itself is full first.
const LIMITS: [u64; 10] =
    [64 << 10, 100_000, 256 << 10, 500_000, 1 << 20, 2 << 20, 5_000_000, 8 << 20, 32 << 20, 33 << 20];

/// What a process may grow by besides its walls: the engine's records, the machine's own memory, the texts of this test.
const REST: u64 = 4 << 20;

/// The most memory of the process that was resident at any time, in bytes.
#[cfg(target_os = "linux")]
fn most_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the figure is there");
    line.trim().strip_suffix(" kB").expect("in KiB").parse::<u64>().expect("a number") << 10
}

#[cfg(not(target_os = "linux"))]
fn most_resident() -> u64 {
    0
}

#[test]
fn every_script_ends_at_every_wall() {
    let programs = programs();
    drop(Machinery::start(HeapLimit { bytes: 1 << 20, walled: false }));
    let before = most_resident();
    for bytes in limits(&LIMITS) {
        for program in &programs {
            let mut machinery = Machinery::start(HeapLimit { bytes, walled: true });
            machinery.exhaust(program);
            // The programs fill the smaller wall: what they use besides, and does not count, shows. That is above all what the search
            // for garbage cycles lists where there is no more room: 16 bytes an object, none of which is smaller than 48.
            let (grown, walls) = (most_resident() - before, Runtime::walls());
            let listed = walls.reserved_bytes / 3;
            assert!(grown <= walls.reserved_bytes + listed + REST, "{}: {grown} in {walls:?}", program.name);
            drop(machinery);
            let walls = Runtime::walls();
            assert_eq!(walls.free, walls.reserved, "nothing is left in them");
        }
    }
    // One for each size that was asked for.
    let sizes = if limits(&LIMITS).len() == 10 { 2 } else { 1 };
    assert_eq!(Runtime::walls().reserved, sizes);
}
