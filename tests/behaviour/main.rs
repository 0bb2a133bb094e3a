//! The crate's behaviour, through its public API. Nothing here looks at a clock to decide: work is counted in units.

#[path = "../../fuzz/attached/mod.rs"]
mod attached;
mod attachments;
mod beats;
mod bounds;
mod census;
mod counts;
mod cycles;
mod destroy;
mod detached;
#[path = "../everything/mod.rs"]
mod everything;
mod finalizers;
mod fuzzed;
mod graph;
mod handlers;
mod handles;
mod inside;
mod interrupt;
mod leaks;
mod limits;
mod lost;
#[path = "../../fuzz/objects/mod.rs"]
mod objects;
mod orders;
mod probes;
#[path = "../../fuzz/program.rs"]
mod program;
mod sizes;
mod snapshot;
mod space;
mod stress;
mod tables;
mod tails;
mod threads;
mod trials;
mod verify;
mod watch;
mod weak;

/// By how much sizes are divided under tools that run a hundred times slower: `--cfg small_tests`.
const SCALE: usize = if cfg!(small_tests) { 100 } else { 1 };
