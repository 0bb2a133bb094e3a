//! `Ref`: size, cloning, uniqueness, equality, casting.

use std::cell::Cell;
use std::rc::Rc;

use mimalloc_runtime::{Budget, Mutator, Ref, Runtime, Tail, Trace, Untyped};

use crate::graph::{Node, Small, node};

/// Auto traits, asserted by the compiler: a type that has one of them would make `ambiguous` ambiguous.
const _: fn() = || {
    trait AmbiguousIfSend<A> {
        fn not_send() {}
    }
    impl<T: ?Sized> AmbiguousIfSend<()> for T {}
    impl<T: ?Sized + Send> AmbiguousIfSend<u8> for T {}
    trait AmbiguousIfSync<A> {
        fn not_sync() {}
    }
    impl<T: ?Sized> AmbiguousIfSync<()> for T {}
    impl<T: ?Sized + Sync> AmbiguousIfSync<u8> for T {}
    let _ = <Mutator as AmbiguousIfSend<_>>::not_send;
    let _ = <Mutator as AmbiguousIfSync<_>>::not_sync;
    let _ = <Ref<Node> as AmbiguousIfSend<_>>::not_send;
    let _ = <Ref<Node> as AmbiguousIfSync<_>>::not_sync;
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Runtime>();
    send_and_sync::<mimalloc_runtime::RemoteFree>();
};

#[test]
fn a_handle_is_one_pointer_wide_also_when_optional() {
    assert_eq!(size_of::<Ref<Node>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Ref<Node>>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Ref<Tail<u64, u8>>>>(), size_of::<usize>());
}

#[test]
fn a_value_can_be_changed_through_the_only_handle() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let mut first = mutator.alloc(1u64).unwrap();
    *Ref::get_mut(&mut first).unwrap() += 1;
    let second = first.clone();
    assert!(Ref::get_mut(&mut first).is_none());
    assert!(Ref::ptr_eq(&first, &second));
    assert_eq!((*first, *second), (2, 2));
    drop(second);
    assert!(Ref::get_mut(&mut first).is_some());
    let equal = mutator.alloc(2u64).unwrap();
    assert_eq!(first, equal);
    assert!(!Ref::ptr_eq(&first, &equal));
}

#[test]
fn types_are_found_out_at_run_time() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let handles: Vec<Ref<Untyped>> = vec![
        Ref::erase(mutator.alloc(1u64).unwrap()),
        Ref::erase(mutator.alloc(1i64).unwrap()),
        Ref::erase(node(&mutator, None, None)),
        Ref::erase(mutator.alloc_tail_copy(1u8, b"text").unwrap()),
    ];
    let kinds = |f: fn(&Ref<Untyped>) -> bool| handles.iter().map(f).collect::<Vec<_>>();
    assert_eq!(kinds(Ref::is::<u64>), [true, false, false, false]);
    assert_eq!(kinds(Ref::is::<i64>), [false, true, false, false]);
    assert_eq!(kinds(Ref::is::<Node>), [false, false, true, false]);
    assert_eq!(kinds(Ref::is::<Tail<u8, u8>>), [false, false, false, true]);
    assert_eq!(kinds(Ref::is::<Tail<u8, i8>>), [false; 4]);
    assert_eq!(Ref::downcast_ref::<Tail<u8, u8>>(&handles[3]).unwrap().items(), b"text");
    let mut handles = handles.into_iter();
    let number = Ref::downcast::<i64>(handles.next().unwrap()).unwrap_err();
    assert_eq!(*Ref::downcast::<u64>(number).unwrap(), 1);
}

/// One count for each slot: objects die when the last of many goes, not before.
#[test]
fn sharing_is_counted() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let shared = node(&mutator, None, None);
    let parents: Vec<_> = (0..100).map(|_| node(&mutator, Some(shared.clone()), Some(shared.clone()))).collect();
    for (gone, parent) in parents.into_iter().enumerate() {
        drop(parent);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().freed.objects, gone as u64 + 1);
    }
    assert!(Ref::is_unique(&shared));
    drop(shared);
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(mutator.metrics().freed.objects, 101);
}

#[derive(Trace)]
struct Named {
    name: String,
}

/// What frees at once: an object with nothing to drop and no more than 8 slots. What it alone kept alive does not.
#[test]
fn a_simple_object_is_freed_by_the_drop_itself() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let counts = || {
        let metrics = mutator.metrics();
        (metrics.freed.objects, metrics.pending.now.objects, metrics.steps.count)
    };
    drop(mutator.alloc([1u64; 8]).unwrap());
    assert_eq!(counts(), (1, 0, 0));
    drop(mutator.alloc(Small { next: None }).unwrap());
    assert_eq!(counts(), (2, 0, 0));
    let inner = mutator.alloc(Small { next: None }).unwrap();
    drop(mutator.alloc(Small { next: Some(inner) }).unwrap());
    assert_eq!(counts(), (3, 1, 0));
    drop(mutator.alloc(Named { name: "queued".into() }).unwrap());
    assert_eq!(counts(), (3, 2, 0));
    drop(mutator.alloc(std::array::from_fn::<Option<Ref<Small>>, 8, _>(|_| None)).unwrap());
    drop(mutator.alloc(std::array::from_fn::<Option<Ref<Small>>, 9, _>(|_| None)).unwrap());
    assert_eq!(counts(), (4, 3, 0));
    assert_eq!(mutator.collect(Budget::Unbounded).freed.objects, 3);
}

#[derive(Trace)]
struct Aligned {
    #[trace(skip)]
    page: Page,
    next: Option<Ref<Aligned>>,
}

#[repr(align(4096))]
struct Page([u8; 8]);

#[test]
fn alignment_is_kept_whatever_it_is() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let mut head = None;
    for index in 0..100 {
        head = Some(mutator.alloc(Aligned { page: Page([index; 8]), next: head }).unwrap());
    }
    let mut at = head.as_ref();
    let mut seen = 100;
    while let Some(object) = at {
        seen -= 1;
        assert_eq!(&raw const object.page as usize % 4096, 0);
        assert_eq!(object.page.0, [seen; 8]);
        at = object.next.as_ref();
    }
    drop(head);
    assert!(mutator.collect(Budget::Units(1_000)).is_done());
}

#[test]
fn a_value_of_no_size_is_an_object_too() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let units: Vec<_> = (0..1000).map(|_| mutator.alloc(()).unwrap()).collect();
    assert!(units.windows(2).all(|pair| !Ref::ptr_eq(&pair[0], &pair[1])));
    drop(units);
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

#[derive(Trace)]
struct Noisy {
    #[trace(skip)]
    drops: Counts,
    next: Option<Ref<Noisy>>,
}

struct Counts(Rc<Cell<u32>>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_field_is_dropped_once_when_its_object_is_freed() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let drops = Rc::new(Cell::new(0));
    let mut head = None;
    for _ in 0..10 {
        head = Some(mutator.alloc(Noisy { drops: Counts(Rc::clone(&drops)), next: head }).unwrap());
    }
    drop(head);
    assert_eq!(drops.get(), 0);
    mutator.collect(Budget::Unbounded);
    assert_eq!(drops.get(), 10);
    assert_eq!(Rc::strong_count(&drops), 1);
}
