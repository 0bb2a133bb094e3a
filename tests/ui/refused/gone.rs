//! A mutator that was detached is gone; there is one for each attachment; and what says which references a type holds without
//! the derive is `unsafe`.

use mimalloc_runtime::{Mutator, Slots, Trace, Tracer};

fn used_again(mutator: Mutator) {
    let detached = mutator.detach();
    mutator.alloc(detached.live.objects).unwrap();
}

fn two_of_one(mutator: &Mutator) -> (Mutator, Mutator) {
    (mutator.clone(), mutator.clone())
}

struct Word(u64);

impl Trace for Word {
    const SLOTS: Slots = Slots::Fixed(0);
    const RESIDUE: bool = false;
    fn trace(&self, _: &mut Tracer<'_>) {}
    unsafe fn drop_residue(&mut self) {}
}

fn main() {}
