//! What the code of a finalizer may do, and what becomes of its panic.

use std::cell::RefCell as StdRefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Finalize, Mutator, OutOfMemory, Ref, Runtime, Trace, Weak};

use super::{Node, attach, live, node, said, say, settle};
use crate::everything::{ALL, do_everything};

#[test]
fn nothing_is_resurrected() {
    #[derive(Trace)]
    struct Ghost {
        own: Cell<Option<Weak<Ghost>>>,
        child: Ref<Node>,
    }
    thread_local! {
        static TAKEN: StdRefCell<Option<Ref<Node>>> = const { StdRefCell::new(None) };
    }
    impl Finalize for Ghost {
        fn finalize(&self, _: &Mutator) {
            assert!(self.own.take().unwrap().upgrade().is_none());
            TAKEN.set(Some(self.child.clone()));
            say(1);
        }
    }
    let mutator = attach();
    let ghost = mutator.alloc_finalized(Ghost { own: Cell::default(), child: node(&mutator, 2) }).unwrap();
    ghost.own.set(Some(Ref::downgrade(&ghost).unwrap()));
    drop(ghost);
    settle(&mutator);
    // It has gone; what it referred to was taken, and is as it was.
    assert_eq!(said(), [1]);
    let child = TAKEN.take().unwrap();
    assert_eq!((child.number, Ref::is_unique(&child), mutator.metrics().finalizers.registered), (2, true, 1));
    drop(child);
    settle(&mutator);
    assert_eq!((said(), live(&mutator)), (vec![2], 0));
}

#[test]
fn a_finalizer_may_do_everything() {
    thread_local! {
        static ANOTHER: StdRefCell<Option<Mutator>> = const { StdRefCell::new(None) };
    }
    #[derive(Trace)]
    struct Busy;
    impl Finalize for Busy {
        fn finalize(&self, mutator: &Mutator) {
            assert_eq!(do_everything(mutator, ANOTHER.take().unwrap()), ALL);
            say(1);
        }
    }
    let mutator = attach();
    ANOTHER.set(Some(attach()));
    drop(mutator.alloc_finalized(Busy).unwrap());
    mutator.safepoint();
    assert_eq!(said(), [1]);
}

#[test]
fn a_finalizer_may_allocate_to_the_limit() {
    #[derive(Trace)]
    struct Greedy;
    impl Finalize for Greedy {
        fn finalize(&self, mutator: &Mutator) {
            let mut all = Vec::new();
            let refused = loop {
                match mutator.alloc([0u8; 1000]) {
                    Ok(object) => all.push(object),
                    Err(OutOfMemory { bytes, .. }) => break bytes,
                }
            };
            assert!(refused >= 1000 && mutator.in_use() <= 100_000);
            say(1);
        }
    }
    let mutator = Runtime::new().unwrap().attaching().limit(Some(100_000)).attach().unwrap();
    drop(mutator.alloc_finalized(Greedy).unwrap());
    mutator.safepoint();
    assert_eq!(said(), [1]);
    settle(&mutator);
    assert_eq!(mutator.in_use(), 0);
}

#[test]
fn a_panic_is_kept() {
    #[derive(Trace)]
    struct Bomb;
    impl Finalize for Bomb {
        fn finalize(&self, _: &Mutator) {
            panic!("a finalizer");
        }
    }
    let mutator = attach();
    drop((mutator.alloc_finalized(Bomb).unwrap(), node(&mutator, 1)));
    // Those that are due at the same safepoint run all the same, then it comes out.
    let payload = catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"a finalizer"));
    mutator.safepoint();
    assert_eq!((said(), live(&mutator)), (vec![1], 0));
    drop(mutator.alloc_finalized(Bomb).unwrap());
    assert_eq!(mutator.run_finalizers(1), 1);
    assert_eq!((mutator.metrics().panics, mutator.metrics().finalizers.run), (2, 3));
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.detach())).is_err());
}
