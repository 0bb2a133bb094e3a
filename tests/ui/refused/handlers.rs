//! Handlers own what they hold, and those of the process share it between threads.

use std::cell::Cell;
use std::rc::Rc;

use mimalloc_runtime::{Mutator, Ref, Registration, register_deferred_free};

fn borrows(mutator: &Mutator) {
    let beats = Cell::new(0);
    mutator.on_beat(mimalloc_runtime::When::Every(1), |_, _| beats.set(beats.get() + 1));
}

fn keeps_its_mutator(mutator: &Mutator) {
    mutator.observe_steps(move |_| drop(mutator.metrics()));
}

fn not_shared(count: Rc<Cell<u64>>) -> Registration {
    register_deferred_free(move |_| count.set(count.get() + 1)).unwrap()
}

fn holds_a_handle(object: Ref<u64>) -> Registration {
    register_deferred_free(move |_| assert_eq!(*object, 1)).unwrap()
}

fn changes(mut calls: u64) -> Registration {
    register_deferred_free(move |_| calls += 1).unwrap()
}

fn main() {}
