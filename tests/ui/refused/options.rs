//! Options that do not exist, and the one that does in places where it does not belong.

use mimalloc_runtime::Trace;

#[derive(Trace)]
struct Unknown {
    #[trace(ignore)]
    a: u8,
    #[trace(skip, weak = "yes")]
    b: u8,
    #[trace]
    c: u8,
    #[trace()]
    d: u8,
    #[trace = "skip"]
    e: u8,
    #[trace(skip = true)]
    f: u8,
}

#[derive(Trace)]
struct Twice {
    #[trace(skip, skip)]
    a: u8,
    #[trace(skip)]
    #[trace(skip)]
    b: u8,
}

#[derive(Trace)]
#[trace(skip)]
struct Container(u8);

#[derive(Trace)]
enum Variants {
    #[trace(skip)]
    First(u8),
    Second,
}

fn main() {}
