//! What is borrowed from a handle does not outlive it.

use mimalloc_runtime::{Mutator, Ref, Tail, Untyped};

fn value(mutator: &Mutator) -> u64 {
    let object = mutator.alloc(1u64).unwrap();
    let value: &u64 = &object;
    drop(object);
    *value
}

fn items(mutator: &Mutator) -> &[u8] {
    let text = mutator.alloc_tail_copy((), b"text").unwrap();
    text.items()
}

fn head(text: Ref<Tail<String, u8>>) -> usize {
    let head = text.head();
    drop(text);
    head.len()
}

fn typed(object: Ref<Untyped>) -> u64 {
    let number = Ref::downcast_ref::<u64>(&object).unwrap();
    drop(object);
    **number
}

fn grown(mutator: &Mutator, text: Ref<Tail<(), u8>>) -> usize {
    let items = text.items();
    let text = mutator.grow_tail(text, 10, |_| 0).unwrap();
    items.len() + text.items().len()
}

fn main() {}
