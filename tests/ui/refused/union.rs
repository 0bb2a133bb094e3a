//! Nothing says which field of a union is in use.

use mimalloc_runtime::Trace;

#[derive(Trace)]
union Word {
    integer: u64,
    float: f64,
}

fn main() {}
