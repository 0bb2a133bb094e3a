//! Finalizers that are set, taken off again, or find no memory; and what goes with one.

use mimalloc_runtime::{Budget, FinalizerError, Ref};

use super::{Node, attach, live, node, plain, said, say, settle};

/// An object that could be in no cycle was in one by what went with its finalizer, and was suspected.
#[test]
fn a_leaf_that_was_suspected_is_one_no_more_when_it_is_freed() {
    for steps in 0..20 {
        let mutator = attach();
        let leaf = mutator.alloc(5u64).unwrap();
        Ref::set_finalizer(&leaf, plain(&mutator, 1), |_, _, _| say(1)).unwrap();
        drop(leaf.clone());
        for _ in 0..steps {
            mutator.collect(Budget::Units(1));
        }
        assert!(Ref::clear_finalizer(&leaf));
        drop(leaf);
        // What lies in its place now was never suspected.
        let other = mutator.alloc(7u64).unwrap();
        let before = mutator.metrics().trials.members;
        mutator.collect(Budget::Unbounded);
        assert!(mutator.metrics().trials.members <= before + 1, "{steps}");
        assert_eq!(*other, 7);
        drop(other);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().trials.members, before, "{steps}: it is no candidate");
        assert_eq!((live(&mutator), mutator.detach().live.objects), (0, 0));
    }
}

/// What goes with a finalizer is a part of the object: references in it keep nothing alive that the object would not.
#[test]
fn the_payload_may_refer_to_the_object() {
    let mutator = attach();
    let object = plain(&mutator, 1);
    Ref::set_finalizer(&object, object.clone(), |object, payload, _| say(object.number + payload.number)).unwrap();
    drop(object);
    settle(&mutator);
    assert_eq!((said(), live(&mutator)), (vec![2], 0));
}

#[test]
fn one_for_each_object() {
    let mutator = attach();
    let object = node(&mutator, 1);
    let Err(FinalizerError::Exists(payload)) = Ref::set_finalizer(&object, 5u32, |_, _, _| say(0)) else {
        panic!("it has one");
    };
    assert_eq!(payload, 5);
    assert!(Ref::clear_finalizer(&object) && !Ref::clear_finalizer(&object));
    Ref::set_finalizer(&object, payload, |_, payload, _| say(payload)).unwrap();
    drop(object);
    mutator.safepoint();
    assert_eq!((said(), live(&mutator)), (vec![5], 0));
}

#[test]
fn without_memory_nothing_is_lost() {
    let mutator = attach();
    for nth in 1..3 {
        mutator.fail_allocation(nth);
        let error = mutator.alloc_finalized(Node { number: 1, ..Node::default() }).err().unwrap();
        assert_eq!(error.value.number, 1);
    }
    let object = plain(&mutator, 1);
    mutator.fail_allocation(1);
    let Err(FinalizerError::OutOfMemory(error)) = Ref::set_finalizer(&object, 5u32, |_, _, _| say(0)) else {
        panic!("there is no memory");
    };
    assert_eq!(error.value, 5);
    drop(object);
    settle(&mutator);
    assert_eq!((said(), mutator.metrics().in_use_bytes), (vec![], 0));
}
