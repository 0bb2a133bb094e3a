//! The header word through the raw operations: saturation, immortality, death.

use std::ptr::NonNull;

use mimalloc_runtime::{Budget, CountState, Ref, Runtime, Slots, Tail, Tally, Trace, Tracer, TypeKey, Untyped, raw};

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

#[test]
fn the_type_and_the_only_reference_are_known_without_a_handle() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let (number, other) = (mutator.alloc(1u64).unwrap(), mutator.alloc(2u64).unwrap());
    let text = mutator.alloc_tail_copy((), b"text").unwrap();
    let [number_object, other_object] = [&number, &other].map(Ref::as_raw);
    let text_object = Ref::as_raw(&text);
    // SAFETY: alive: the handle's.
    let is_number = |object| unsafe { raw::is::<u64>(object) };
    assert_eq!([number_object, other_object, text_object].map(is_number), [true, true, false]);
    // SAFETY: as above.
    assert!(unsafe { raw::is::<Tail<(), u8>>(text_object) });
    // SAFETY: as above.
    let key = |object| unsafe { raw::key(object) };
    assert_eq!(key(number_object), key(other_object));
    assert_ne!(key(number_object), key(text_object));
    assert_eq!(key(number_object), TypeKey::of::<u64>());
    // SAFETY: as above.
    let is_unique = || unsafe { raw::is_unique(number_object) };
    assert!(is_unique());
    let clone = number.clone();
    assert!(!is_unique());
    drop(clone);
    assert!(is_unique());
}

/// A word of a VM's own: a small number with its lowest bit set, or an object of which it owns a reference.
struct Word(usize);

impl Word {
    fn number(number: usize) -> Word {
        Word(number << 1 | 1)
    }

    fn object<T: ?Sized>(handle: Ref<T>) -> Word {
        Word(Ref::into_raw(handle).as_ptr().expose_provenance())
    }
}

// SAFETY: 1, 2: one slot, the object's or an empty one. 3, 4: nothing else to drop. 5: does nothing else.
unsafe impl Trace for Word {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        match NonNull::new(std::ptr::with_exposed_provenance_mut(self.0)) {
            // SAFETY: owned by this word, as `object` made it.
            Some(object) if self.0 & 1 == 0 => unsafe { tracer.reference(object) },
            _ => tracer.empty(1),
        }
    }
    unsafe fn drop_residue(&mut self) {}
}

#[test]
fn a_value_of_words_reports_its_references_once_in_whatever_pieces() {
    for budget in [Budget::Units(1), Budget::Units(3), Budget::Units(100), Budget::Unbounded] {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let shared = node(&mutator, None, None);
        let word = |index: usize| match index % 3 {
            0 => Word::number(index),
            1 => Word::object(shared.clone()),
            _ => Word::object(node(&mutator, Some(shared.clone()), None)),
        };
        let wide = mutator.alloc(std::array::from_fn::<Word, 30, _>(word)).unwrap();
        let tail = mutator.alloc_tail(Word::object(wide), 100, word).unwrap();
        assert!(!Ref::is_unique(&shared));
        drop(tail);
        while !mutator.collect(budget).is_done() {}
        assert!(Ref::is_unique(&shared), "{budget:?}");
        drop(shared);
        let metrics = mutator.metrics();
        assert_eq!((metrics.live.now, metrics.freed), (Tally::default(), metrics.allocated));
    }
}
