//! Objects with a tail: making, growing, and what happens when that goes wrong.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{Budget, GrowError, Mutator, Ref, Runtime, Tail, Tally, Trace};

use crate::graph::{Node, node};

#[test]
fn a_tail_has_its_head_and_items() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for len in [0, 1, 7, 8, 9, 100, 1000, 100_000] {
        let items: Vec<u16> = (0..len).collect::<Vec<u32>>().into_iter().map(|n| n as u16).collect();
        let copied = mutator.alloc_tail_copy(u64::from(len), &items).unwrap();
        let made = mutator.alloc_tail(u64::from(len), items.len(), |index| index as u16).unwrap();
        assert_eq!((copied.head(), copied.items()), (&u64::from(len), &items[..]));
        assert_eq!((made.head(), made.items()), (copied.head(), copied.items()));
    }
}

/// Heads and items of every size and alignment, of which some leave padding before or behind them.
#[test]
fn heads_of_any_layout_leave_the_items_alone() {
    fn check<H: Trace + Clone + PartialEq + std::fmt::Debug>(mutator: &Mutator, head: H) {
        for len in 0..70 {
            let bytes: Vec<u8> = (1..=len).collect();
            let tail = mutator.alloc_tail_copy(head.clone(), &bytes).unwrap();
            let words = mutator.alloc_tail(head.clone(), bytes.len(), |index| u32::MAX - index as u32).unwrap();
            assert_eq!((tail.head(), tail.items()), (&head, &bytes[..]));
            assert!(words.items().iter().enumerate().all(|(index, word)| *word == u32::MAX - index as u32));
            assert_eq!((words.head(), words.items().as_ptr() as usize % 4), (&head, 0));
        }
    }
    let mutator = Runtime::new().unwrap().attach().unwrap();
    check(&mutator, ());
    check(&mutator, 7u8);
    check(&mutator, 7u16);
    check(&mutator, 7u32);
    check(&mutator, 7u64);
    check(&mutator, (7u64, 7u8));
    check(&mutator, [7u8; 23]);
    check(&mutator, u128::MAX);
}

#[test]
fn a_size_beyond_the_address_space_is_out_of_memory_and_gives_the_head_back() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8, isize::MAX as usize / 8 - 100] {
        let head = String::from("head");
        let error = mutator.alloc_tail(head, len, |index| index as u64).unwrap_err();
        assert_eq!(error.value, "head");
    }
    let metrics = mutator.metrics();
    assert_eq!((metrics.allocated, metrics.live.now), (Tally::default(), Tally::default()));
}

#[test]
fn growing_moves_the_items_and_keeps_the_counts() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let shared = node(&mutator, None, None);
    let mut tail: Ref<Tail<u32, Option<Ref<Node>>>> = mutator.alloc_tail(5, 1, |_| Some(shared.clone())).unwrap();
    for len in [2, 3, 10, 100, 120, 130, 1_000, 200_000] {
        let old = tail.items().len();
        tail = mutator
            .grow_tail(tail, len, |index| {
                assert!((old..len).contains(&index));
                Some(shared.clone())
            })
            .unwrap();
        assert_eq!((*tail.head(), tail.items().len()), (5, len));
        assert!(tail.items().iter().all(|item| Ref::ptr_eq(item.as_ref().unwrap(), &shared)));
        assert_eq!(mutator.metrics().live.now.objects, 2, "the old block is not an object any more");
    }
    assert_eq!(mutator.grow_tail(tail, 3, |_| None).unwrap().items().len(), 200_000);
    assert!(!Ref::is_unique(&shared));
    mutator.release_memory();
    assert!(Ref::is_unique(&shared));
    drop(shared);
    mutator.collect(Budget::Unbounded);
    let metrics = mutator.metrics();
    assert_eq!(metrics.live.now, Tally::default());
    assert_eq!(metrics.allocated.bytes, metrics.freed.bytes);
}

#[test]
fn a_shared_tail_does_not_grow() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let tail = mutator.alloc_tail_copy((), b"abc").unwrap();
    let other = tail.clone();
    match mutator.grow_tail(tail, 10, |_| 0) {
        Err(GrowError::Shared(tail)) => assert!(Ref::ptr_eq(&tail, &other)),
        other => panic!("{other:?}"),
    }
    match mutator.grow_tail(other, usize::MAX, |_| 0) {
        Err(GrowError::OutOfMemory(error)) => assert_eq!(error.value.items(), b"abc"),
        other => panic!("{other:?}"),
    }
}

/// Counts how many of it there are.
struct Counted(Rc<Cell<i64>>);

impl Counted {
    fn new(count: &Rc<Cell<i64>>) -> Counted {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[derive(mimalloc_runtime::Trace)]
struct Item(#[trace(skip)] Counted);

#[test]
fn a_panic_while_filling_loses_nothing() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let count = Rc::new(Cell::new(0));
    let item = |index| {
        assert!(index < 50, "the item that is not to be had");
        Item(Counted::new(&count))
    };
    let made = catch_unwind(AssertUnwindSafe(|| mutator.alloc_tail(Item(Counted::new(&count)), 100, item)));
    assert!(made.is_err());
    assert_eq!(count.get(), 0);
    let tail = mutator.alloc_tail(Item(Counted::new(&count)), 10, item).unwrap();
    assert_eq!(count.get(), 11);
    let grown = catch_unwind(AssertUnwindSafe(|| mutator.grow_tail(tail, 100_000, item)));
    assert!(grown.is_err());
    assert_eq!(count.get(), 0);
    let metrics = mutator.metrics();
    assert_eq!((metrics.live.now, metrics.pending.now), (Tally::default(), Tally::default()));
    assert_eq!((metrics.allocated.objects, metrics.freed), (2, metrics.allocated));
}

/// Grown by another mutator it would change heaps, and be counted by the wrong one.
#[test]
fn a_tail_of_another_mutator_does_not_grow() {
    let runtime = Runtime::new().unwrap();
    let (first, second) = (runtime.attach().unwrap(), runtime.attach().unwrap());
    let tail = first.alloc_tail_copy((), b"abc").unwrap();
    let tail = match second.grow_tail(tail, 1_000, |_| 0) {
        Err(GrowError::Foreign(tail)) => tail,
        other => panic!("{other:?}"),
    };
    assert_eq!(first.grow_tail(tail, 1_000, |_| 0).unwrap().items().len(), 1_000);
    for mutator in [&first, &second] {
        mutator.collect(Budget::Unbounded);
        let metrics = mutator.metrics();
        assert_eq!((metrics.live.now, metrics.freed), (Tally::default(), metrics.allocated));
    }
}
