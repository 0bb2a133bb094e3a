//! A field of a type that does not say which references it holds.

use mimalloc_runtime::Trace;

struct Foreign;

#[derive(Trace)]
struct Holds {
    number: u8,
    foreign: Foreign,
}

#[derive(Trace)]
enum MayHold<T> {
    Nothing,
    Foreign(T, Option<Foreign>),
}

fn main() {}
