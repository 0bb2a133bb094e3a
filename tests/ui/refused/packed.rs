//! Fields of packed types cannot be referred to.

use mimalloc_runtime::Trace;

#[derive(Trace)]
#[repr(C, packed(2))]
struct Packed {
    integer: u64,
}

#[derive(Trace)]
#[repr(C, align(16))]
struct Aligned {
    integer: u64,
}

fn main() {}
