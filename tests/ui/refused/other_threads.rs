//! A mutator and all handles stay on their thread, lent or given.

use mimalloc_runtime::{Mutator, Ref, Tail, Untyped};

fn give<T: Send>() {}

fn lend<T: Sync>() {}

fn main() {
    give::<Mutator>();
    lend::<Mutator>();
    give::<Ref<u64>>();
    lend::<Ref<u64>>();
    give::<Ref<Tail<u64, u8>>>();
    lend::<Ref<Tail<u64, u8>>>();
    give::<Ref<Untyped>>();
    lend::<Ref<Untyped>>();
}
