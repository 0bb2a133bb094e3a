//! The header word through the raw operations: saturation, immortality, death.

use mimalloc_runtime::{Budget, CountState, Ref, Runtime, Tally, Untyped, raw};

use crate::graph::node;

#[test]
fn an_immortal_object_is_never_counted_or_freed() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let child = node(&mutator, None, None);
    let object = Ref::as_raw(&child);
    // SAFETY: alive: the handle's.
    unsafe { raw::make_immortal(object) };
    let parent = node(&mutator, Some(child.clone()), Some(child.clone()));
    assert!(!Ref::is_unique(&child));
    drop((parent, child));
    assert!(mutator.collect(Budget::Unbounded).is_done());
    // SAFETY: immortal, so alive.
    assert_eq!(unsafe { raw::count_state(object) }, CountState::Immortal);
    assert_eq!(mutator.metrics().live.now.objects, 1);
}

/// Takes so many references that the count stops. They are really taken: 1.6 billion, which no tool that slows programs down
/// would see the end of.
#[cfg(not(small_tests))]
#[test]
fn a_count_that_saturates_sticks() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let handle = node(&mutator, None, None);
    let object = Ref::into_raw(handle);
    let mut taken = 1u64;
    // SAFETY: alive, this test owns the references it takes.
    while unsafe { raw::count_state(object) } == CountState::Local {
        for _ in 0..1 << 20 {
            // SAFETY: as above.
            unsafe { raw::retain(object) };
        }
        taken += 1 << 20;
    }
    assert!(taken > 0x6000_0000);
    for _ in 0..taken + 10 {
        // SAFETY: alive: it is sticky, and no longer counted.
        unsafe { raw::release(object) };
    }
    // SAFETY: as above.
    assert_eq!(unsafe { raw::count_state(object) }, CountState::Sticky);
    assert_eq!(mutator.metrics().live.now.objects, 1);
}

#[test]
fn a_dead_object_cannot_be_taken_up_again() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let object = Ref::into_raw(mutator.alloc(String::from("queued when it dies")).unwrap());
    // SAFETY: alive.
    assert!(unsafe { raw::try_retain(object) });
    for _ in 0..2 {
        // SAFETY: the two references taken above.
        unsafe { raw::release(object) };
    }
    // SAFETY: dead, and not freed before the collection below.
    assert!(!unsafe { raw::try_retain(object) });
    assert_eq!(mutator.metrics().pending.now.objects, 1);
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(mutator.metrics().live.now, Tally::default());
}

#[test]
fn handles_taken_apart_and_put_together_own_what_they_owned() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let handle = node(&mutator, None, None);
    let other = handle.clone();
    let object = Ref::into_raw(Ref::erase(handle));
    // SAFETY: alive, and the reference is the one that `into_raw` gave up.
    let handle: Ref<Untyped> = unsafe { Ref::from_raw(object) };
    assert!(Ref::ptr_eq(&handle, &other));
    drop(other);
    assert!(Ref::is_unique(&handle));
}
