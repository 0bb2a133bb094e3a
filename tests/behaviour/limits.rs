//! Limits on the bytes in use: exact, never passed, and what is tried before an allocation is refused.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{
    Attach, Budget, Cause, ErrorKind, GrowError, Ladder, Mutator, Pacing, Pressure, PressureLevel, Ref, Rung, Runtime,
    Tail, counted_bytes,
};

use crate::graph::{Node, chain};

fn attaching(limit: u64) -> Attach {
    Runtime::new().unwrap().attaching().limit(Some(limit))
}

fn attach(limit: u64) -> Mutator {
    attaching(limit).attach().unwrap()
}

/// Bytes that the engine has in use in the mutator's heap. Builds that put something behind each block have no such figure.
fn engine_bytes(mutator: &Mutator) -> Option<u64> {
    let watched = cfg!(any(feature = "secure", feature = "debug", small_tests));
    (!watched).then(|| mutator.areas().unwrap().iter().map(|area| (area.used * area.block_bytes) as u64).sum())
}

/// What a node counts for.
const NODE: u64 = 32;

fn empty() -> Node {
    Node { left: None, right: None }
}

fn ladder(mutator: &Mutator) -> Ladder {
    mutator.metrics().ladder
}

#[test]
fn objects_fill_a_limit_to_the_last_byte() {
    for limit in [0, 16, NODE - 1, NODE, 1000, 4096, 100_000, 10 << 20] {
        let mutator = attach(limit);
        let mut kept = Vec::new();
        while let Ok(object) = mutator.alloc(empty()) {
            kept.push(object);
            assert!(mutator.in_use() <= limit);
        }
        assert_eq!(kept.len() as u64, limit / NODE, "of {limit}");
        assert_eq!(mutator.in_use(), limit / NODE * NODE);
        assert!(engine_bytes(&mutator).is_none_or(|bytes| bytes <= limit));
        let metrics = mutator.metrics();
        assert_eq!((metrics.limit, metrics.ladder.refused), (Some(limit), 1));
        assert_eq!(metrics.allocated.objects, kept.len() as u64);
        // As many again when there is room again.
        kept.clear();
        for _ in 0..limit / NODE {
            kept.push(mutator.alloc(empty()).unwrap());
        }
        assert!(mutator.alloc(empty()).is_err());
        assert!(mutator.metrics().peak_in_use_bytes <= limit);
    }
}

/// Every way to allocate ends at the limit, gives back what it was given, and leaves everything as it was.
#[test]
fn every_allocation_is_refused_beyond_the_limit() {
    const LIMIT: u64 = 1 << 20;
    let mutator = attach(LIMIT);
    let tail = mutator.alloc_tail_copy(7u32, &[1u8; 500_000]).unwrap();
    let in_use = mutator.in_use();
    let large = Layout::from_size_align(LIMIT as usize, 16).unwrap();
    assert_eq!(mutator.alloc([3u8; LIMIT as usize]).unwrap_err().value[9], 3);
    assert_eq!(mutator.alloc_tail(8u32, LIMIT as usize, |_| 0u8).unwrap_err().value, 8);
    assert!(mutator.allocate(large).is_err() && mutator.allocate_zeroed(large).is_err());
    // While it grows both sizes are in use.
    let tail = match mutator.grow_tail(tail, 600_000, |_| 2) {
        Err(GrowError::OutOfMemory(error)) => error.value,
        other => panic!("{other:?}"),
    };
    assert_eq!((tail.items().len(), tail.items()[499_999], *tail.head()), (500_000, 1, 7));
    let small = Layout::from_size_align(1000, 16).unwrap();
    let block = mutator.allocate(small).unwrap();
    // SAFETY: allocated above with this layout; it is not moved, as the size is refused.
    assert!(unsafe { mutator.reallocate(block, small, LIMIT as usize) }.is_err());
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(block, small) };
    assert_eq!(mutator.in_use(), in_use);
    assert_eq!(ladder(&mutator).refused, 6);
    drop(tail);
    assert!(mutator.alloc_tail(8u32, 900_000, |_| 0u8).is_ok(), "the dead tail makes room");
}

/// What an overwritten place holds of a block that is made smaller: containers do so where they expect no failure.
#[test]
fn to_make_a_block_smaller_is_never_refused() {
    let mutator = attach(10_000);
    let layout = Layout::from_size_align(8_000, 16).unwrap();
    let block = mutator.allocate(layout).unwrap();
    mutator.set_limit(Some(0));
    // SAFETY: allocated above with this layout; the old place is not used again.
    let block = unsafe { mutator.reallocate(block, layout, 5_000) }.unwrap();
    let layout = Layout::from_size_align(5_000, 16).unwrap();
    assert_eq!(mutator.in_use(), counted_bytes(layout));
    // SAFETY: of this layout now.
    unsafe { mutator.deallocate(block, layout) };
    assert_eq!(mutator.in_use(), 0);
}

/// The ladder frees as much as is needed, and no more.
#[test]
fn what_is_dead_makes_room() {
    let pacing = Pacing::default().with_installment(1 << 30).unwrap();
    let mutator = attaching(100_000 * NODE).pacing(pacing).attach().unwrap();
    drop(chain(&mutator, 100_000));
    // The root was freed at once and is kept at hand: the first finds its memory, the second that of the next.
    let room = [mutator.alloc(empty()).unwrap(), mutator.alloc(empty()).unwrap()];
    let metrics = mutator.metrics();
    assert!(metrics.freed.objects < 1_000, "{metrics:?}");
    // For something large, all of it.
    let large = mutator.alloc_tail((), 3_000_000, |_| 0u8).unwrap();
    let metrics = mutator.metrics();
    assert!((90_000..99_990).contains(&metrics.freed.objects), "{metrics:?}");
    assert_eq!(metrics.steps.by_cause[Cause::OutOfMemory as usize], 1);
    assert!(metrics.ladder.helped[Rung::Drain as usize] > 0, "{metrics:?}");
    assert_eq!(metrics.ladder.refused, 0);
    drop((room, large));
}

/// Blocks that are kept at hand are in use for the engine: they count, and go back before anything is refused.
#[test]
fn blocks_kept_at_hand_count_and_make_room() {
    let limit = 256 << 10;
    let mutator = attach(limit);
    for size in [16, 32, 48, 64, 128, 256, 512, 1000] {
        let layout = Layout::from_size_align(size, 16).unwrap();
        let blocks: Vec<_> = (0..limit as usize / size / 2).map(|_| mutator.allocate(layout).unwrap()).collect();
        assert!(mutator.in_use() <= limit);
        for block in blocks {
            // SAFETY: allocated above with this layout.
            unsafe { mutator.deallocate(block, layout) };
        }
        assert_eq!(mutator.in_use(), 0);
    }
    let layout = Layout::from_size_align(limit as usize, 16).unwrap();
    let all = mutator.allocate(layout).unwrap();
    assert!(engine_bytes(&mutator).is_none_or(|bytes| bytes == limit));
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(all, layout) };
    assert_eq!(ladder(&mutator).refused, 0);
}

#[test]
fn a_limit_may_be_set_below_what_is_in_use_and_taken_away() {
    let mutator = attach(1 << 20);
    let list = chain(&mutator, 1000);
    mutator.set_limit(Some(500 * NODE));
    assert!(mutator.alloc(empty()).is_err());
    mutator.set_limit(None);
    assert_eq!(mutator.limit(), None);
    let more = chain(&mutator, 100_000);
    mutator.set_limit(Some(100_000 * NODE));
    assert!(mutator.alloc(empty()).is_err());
    drop(list);
    assert!(mutator.alloc(empty()).is_err(), "a thousand too many have died, and a thousand were too many");
    drop(more);
    assert!(mutator.alloc(empty()).is_ok());
}

#[test]
fn a_child_inherits_the_limit() {
    let mutator = attaching(12_345).pressure_at(10, 20).unwrap().attach().unwrap();
    let child = mutator.child().attach().unwrap();
    assert_eq!(child.limit(), Some(12_345));
    let told = Rc::new(RefCell::new(Vec::new()));
    let tells = Rc::clone(&told);
    child.on_pressure(move |_, pressure| tells.borrow_mut().push((pressure.level, pressure.in_use))).unwrap();
    let kept = [1_200, 32, 1_200, 32].map(|bytes| child.alloc_tail((), bytes, |_| 0u8).unwrap());
    // From 1,234 bytes on, and from 2,469: objects of 1,280 and of 48.
    assert_eq!(*told.borrow(), [(PressureLevel::High, 1_280), (PressureLevel::Critical, 2 * 1_280 + 48)]);
    drop(kept);
}

/// Each level is told once as it is reached, and again when the bytes in use have been well below it.
#[test]
fn thresholds_are_told_as_they_are_reached() {
    let mutator = attach(1000 * NODE);
    let told = Rc::new(RefCell::new(Vec::new()));
    let tells = Rc::clone(&told);
    mutator
        .on_pressure(move |mutator, pressure| {
            assert_eq!((pressure.in_use, pressure.limit), (mutator.in_use(), mutator.limit()));
            tells.borrow_mut().push((pressure.level, pressure.in_use / NODE, pressure.needed));
        })
        .unwrap();
    let mut kept = Vec::new();
    let fill = |kept: &mut Vec<_>, to| {
        while kept.len() < to {
            kept.push(mutator.alloc(empty()).unwrap());
        }
        while kept.len() > to {
            kept.pop();
        }
        told.take()
    };
    use PressureLevel::{Critical, Full, High};
    assert_eq!(fill(&mut kept, 749), []);
    assert_eq!(fill(&mut kept, 750), [(High, 750, 0)]);
    assert_eq!(fill(&mut kept, 899), []);
    // Not when it only falls below for a moment.
    assert_eq!(fill(&mut kept, 740), []);
    assert_eq!(fill(&mut kept, 899), []);
    assert_eq!(fill(&mut kept, 1000), [(Critical, 900, 0)]);
    assert!(mutator.alloc(empty()).is_err());
    assert_eq!(fill(&mut kept, 1000), [(Full, 1001, NODE)]);
    // From well below, again.
    assert_eq!(fill(&mut kept, 600), []);
    mutator.collect(Budget::Unbounded);
    assert_eq!(fill(&mut kept, 1000), [(High, 750, 0), (Critical, 900, 0)]);
}

#[test]
fn thresholds_can_be_chosen() {
    let mutator = attaching(100 * NODE).pressure_at(10, 50).unwrap().attach().unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    let tells = Rc::clone(&told);
    mutator.on_pressure(move |_, pressure| tells.borrow_mut().push(pressure.in_use / NODE)).unwrap();
    let _kept = chain(&mutator, 100);
    assert_eq!(*told.borrow(), [10, 50]);
    let refused = Runtime::new().unwrap().attaching().pressure_at(90, 75);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidSetting);
}

/// The nearer the limit, the more each allocation pays: debts run up to it, and what waits is less.
#[test]
fn pressure_raises_what_allocation_pays() {
    let freed_at_the_end = |limit| {
        let pacing = Pacing::default().with_ratio(1.0).unwrap().with_pause_cap(Budget::Unbounded).unwrap();
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).limit(limit).attach().unwrap();
        let live = chain(&mutator, 8_000);
        drop(chain(&mutator, 1_500));
        let more = chain(&mutator, 400);
        let freed = mutator.metrics().freed.objects;
        drop((live, more));
        freed
    };
    let without = freed_at_the_end(None);
    let near = freed_at_the_end(Some(10_000 * NODE));
    // 400 nodes pay for 400 without a limit, and for up to 1,600 at the critical level.
    assert!((300..=600).contains(&without), "{without}");
    assert!(near >= 1_200, "{near}");
}

/// A handler that empties a cache saves the allocation.
#[test]
fn a_handler_may_make_room() {
    let mutator = attach(100 * NODE);
    let cache: Rc<RefCell<Vec<Ref<Node>>>> = Rc::default();
    let emptied = Rc::clone(&cache);
    let calls = Rc::new(Cell::new(0));
    let called = Rc::clone(&calls);
    let subscription = mutator
        .on_pressure(move |_, pressure: Pressure| {
            if pressure.level == PressureLevel::Full {
                called.set(called.get() + 1);
                emptied.borrow_mut().clear();
            }
        })
        .unwrap();
    for _ in 0..1_000 {
        let object = mutator.alloc(empty()).unwrap();
        cache.borrow_mut().push(object);
    }
    assert_eq!(calls.get(), 9);
    assert_eq!(ladder(&mutator).helped[Rung::Pressure as usize], 9);
    assert!(mutator.unsubscribe(subscription) && !mutator.unsubscribe(subscription));
    let refused = (0..1_000).filter(|_| mutator.alloc(empty()).map(|object| cache.borrow_mut().push(object)).is_err());
    assert!(refused.count() > 900);
    assert_eq!(calls.get(), 9);
}

/// What a handler does at the limit: allocates, raises the limit, subscribes, unsubscribes itself, panics.
#[test]
fn a_handler_may_do_anything_at_the_limit() {
    let mutator = attach(100 * NODE);
    let depth = Rc::new(Cell::new(0));
    let deepest = Rc::clone(&depth);
    let allocates = mutator
        .on_pressure(move |mutator, pressure| {
            if pressure.level == PressureLevel::Full {
                deepest.set(deepest.get() + 1);
                // Refused, without calling the handler anew.
                assert!(mutator.alloc(empty()).is_err());
            }
        })
        .unwrap();
    let kept = chain(&mutator, 100);
    assert!(mutator.alloc(empty()).is_err());
    assert_eq!(depth.get(), 1);
    assert_eq!(ladder(&mutator).refused, 2);
    mutator.unsubscribe(allocates);

    let subscription = Rc::new(Cell::new(None));
    let own = Rc::clone(&subscription);
    let added = mutator
        .on_pressure(move |mutator, _| {
            mutator.set_limit(Some(200 * NODE));
            assert!(mutator.unsubscribe(own.take().unwrap()));
            mutator.on_pressure(|_, _| panic!("kept for the safepoint")).unwrap();
        })
        .unwrap();
    subscription.set(Some(added));
    let more = chain(&mutator, 100);
    assert_eq!(mutator.limit(), Some(200 * NODE));
    assert!(mutator.alloc(empty()).is_err());
    let panic = catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"kept for the safepoint"));
    drop((kept, more));
}

/// Within a step nothing can be freed by another one: the allocation of a `Drop` is refused, and all goes on.
#[test]
fn a_drop_that_allocates_at_the_limit_is_refused() {
    struct Allocates(Rc<Mutator>, Rc<Cell<u32>>);
    impl Drop for Allocates {
        fn drop(&mut self) {
            if self.0.alloc_tail((), 10_000, |_| 0u8).is_err() {
                self.1.set(self.1.get() + 1);
            }
        }
    }
    #[derive(mimalloc_runtime::Trace)]
    struct Dying {
        #[trace(skip)]
        _allocates: Allocates,
    }
    let mutator = Rc::new(attach(10_000));
    let refused = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let object = Dying { _allocates: Allocates(Rc::clone(&mutator), Rc::clone(&refused)) };
        drop(mutator.alloc(object).ok());
    }
    mutator.collect(Budget::Unbounded);
    assert_eq!(refused.get(), 100);
    assert_eq!(mutator.in_use(), 0);
}

/// Charges without memory do not fill a limit.
#[test]
fn charges_are_not_bytes_in_use() {
    let mutator = attach(1000 * NODE);
    for _ in 0..1_000 {
        mutator.charge(1 << 40);
    }
    // Until the sum of charges has passed the largest number.
    for _ in 0..1 << 18 {
        mutator.charge(1 << 47);
    }
    assert_eq!(mutator.in_use(), 0);
    let kept = chain(&mutator, 1000);
    assert!(mutator.alloc(empty()).is_err());
    drop(kept);
    assert!(mutator.alloc(empty()).is_ok());
}

/// Another thread that frees blocks makes room.
#[test]
fn blocks_freed_elsewhere_make_room() {
    let mutator = attach(10_000);
    let layout = Layout::from_size_align(1_000, 16).unwrap();
    let blocks: Vec<usize> = (0..9).map(|_| mutator.allocate(layout).unwrap().as_ptr().expose_provenance()).collect();
    assert!(mutator.allocate(layout).is_err());
    let remote = mutator.remote_free();
    let thread = std::thread::spawn(move || {
        for block in blocks {
            let block = std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(block)).unwrap();
            // SAFETY: allocated above with this layout; freed once.
            unsafe { remote.free(block, layout) };
        }
    });
    thread.join().unwrap();
    assert_eq!(mutator.in_use(), 0);
    let block = mutator.allocate(layout).unwrap();
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(block, layout) };
}

/// A program whose every allocation fails once, in all pacings: clean errors, nothing lost.
#[test]
fn any_allocation_may_fail() {
    fn program(mutator: &Mutator) -> Option<u64> {
        let list = (0..20).try_fold(None, |next, _| mutator.alloc(Node { left: next, right: None }).ok().map(Some))?;
        let mut tail = mutator.alloc_tail(list.clone(), 3, |_| list.clone()).ok()?;
        for len in [10, 100, 1_000] {
            tail = mutator.grow_tail(tail, len, |_| list.clone()).ok()?;
        }
        let text: Ref<Tail<(), u8>> = mutator.alloc_tail_copy((), b"lox").ok()?;
        let layout = Layout::from_size_align(100, 64).ok()?;
        let block = mutator.allocate_zeroed(layout).ok()?;
        // SAFETY: allocated above with this layout.
        let grown = unsafe { mutator.reallocate(block, layout, 3_000) };
        let (block, layout) = match grown {
            Ok(block) => (block, Layout::from_size_align(3_000, 64).ok()?),
            Err(_) => (block, layout),
        };
        // SAFETY: of this layout now.
        unsafe { mutator.deallocate(block, layout) };
        grown.ok()?;
        Some(tail.items().len() as u64 + text.items().len() as u64)
    }
    for pacing in [Pacing::default(), Pacing::stress(), Pacing::eager()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mut failures = 0;
        for nth in 1.. {
            assert_eq!(mutator.fail_allocation(nth), 0);
            let result = program(&mutator);
            mutator.collect(Budget::Unbounded);
            assert_eq!((mutator.in_use(), mutator.metrics().live.now.objects), (0, 0), "after failure {nth}");
            if mutator.fail_allocation(0) > 0 {
                assert_eq!(result, Some(1_003));
                break;
            }
            assert_eq!(result, None);
            failures += 1;
            assert_eq!(ladder(&mutator).refused, failures);
            // Whether there were candidates for garbage cycles is up to where it failed.
            let [drained, searched, told] = ladder(&mutator).climbed;
            assert!(drained == failures && searched <= failures && told == 0);
        }
        assert_eq!(failures, 20 + 1 + 3 + 1 + 2, "each allocation once, under {pacing:?}");
        assert_eq!(program(&mutator), Some(1_003));
    }
}
