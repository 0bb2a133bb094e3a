//! Finalizers: a test for each row of the table in the documentation of `Finalize`.

mod code;
mod cycles;
mod end;
mod moments;
mod setting;

use std::cell::RefCell as StdRefCell;

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Budget, Finalize, Mutator, Ref, Runtime, Trace};

thread_local! {
    /// What finalizers have said.
    static SAID: StdRefCell<Vec<u32>> = const { StdRefCell::new(Vec::new()) };
}

fn say(number: u32) {
    SAID.with_borrow_mut(|said| said.push(number));
}

fn said() -> Vec<u32> {
    SAID.take()
}

/// Says its number.
#[derive(Trace, Default)]
struct Node {
    number: u32,
    next: Cell<Option<Ref<Node>>>,
    other: Cell<Option<Ref<Node>>>,
}

impl Finalize for Node {
    fn finalize(&self, _: &Mutator) {
        say(self.number);
    }
}

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

fn node(mutator: &Mutator, number: u32) -> Ref<Node> {
    mutator.alloc_finalized(Node { number, ..Node::default() }).unwrap()
}

fn plain(mutator: &Mutator, number: u32) -> Ref<Node> {
    mutator.alloc(Node { number, ..Node::default() }).unwrap()
}

fn ring(mutator: &Mutator, numbers: core::ops::Range<u32>) -> Ref<Node> {
    let nodes: Vec<_> = numbers.map(|number| node(mutator, number)).collect();
    for (index, node) in nodes.iter().enumerate() {
        node.next.set(Some(nodes[(index + 1) % nodes.len()].clone()));
    }
    nodes[0].clone()
}

fn live(mutator: &Mutator) -> u64 {
    mutator.metrics().live.now.objects
}

/// Collects and lets finalizers run until nothing is left to do.
fn settle(mutator: &Mutator) {
    loop {
        mutator.collect(Budget::Unbounded);
        if mutator.run_finalizers(u64::MAX) == 0 && mutator.collect(Budget::Unbounded).is_done() {
            break;
        }
    }
}
