//! The heartbeat and the pacer's steps on the allocation path.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{
    Beat, Budget, Cause, ErrorKind, Interrupted, Mutator, Pacing, Runtime, Step, When, counted_bytes,
};

use crate::graph::{self, node};

/// P4: a function of the sizes asked for. The same figures must come from every engine and build.
#[test]
fn beats_count_the_bytes_that_were_asked_for() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let beats = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&beats);
    mutator.on_beat(When::Every(1), move |_, beat| seen.borrow_mut().push(beat)).unwrap();
    for _ in 0..64 {
        node(&mutator, None, None); // 24 bytes, charged as 32: a beat every 32nd
    }
    let layout = Layout::from_size_align(10_000, 16).unwrap();
    let block = mutator.allocate(layout).unwrap(); // 10,240 bytes: 10 beats in one
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(block, layout) };
    let beat = |number, passed| Beat { number, passed };
    assert_eq!(*beats.borrow(), [beat(1, 1), beat(2, 1), beat(12, 10)]);
    assert_eq!(mutator.metrics().beats, 12);
}

/// P4 once more, for a program of every kind of allocation under every pacing: what its beats must be is added up from the sizes
/// it asks for and nothing else, so every engine and build in which this runs has the same.
#[test]
fn a_program_has_the_beats_of_its_sizes_and_no_others() {
    /// What is charged for an object whose value or parts take so many bytes: a header of 8 more.
    fn object(bytes: usize) -> u64 {
        counted_bytes(Layout::from_size_align(8 + bytes, 16).unwrap())
    }
    let no_cap = Pacing::default().with_pause_cap(Budget::Unbounded).unwrap();
    let mut figures = Vec::new();
    for pacing in [Pacing::default(), no_cap, Pacing::eager(), Pacing::stress()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).beat_bytes(1_000).unwrap().attach().unwrap();
        let seen = Rc::new(Cell::new(0));
        let passed = Rc::clone(&seen);
        mutator.on_beat(When::Every(1), move |_, beat| passed.set(passed.get() + beat.passed)).unwrap();
        let (mut charged, mut random) = (0u64, 1u32);
        let mut kept = Vec::new();
        for step in 0..5_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = (random >> 16) as usize % if step % 100 == 0 { 50_000 } else { 500 };
            match random >> 29 {
                0 | 1 => {
                    kept.push(node(&mutator, kept.last().cloned(), None));
                    charged += object(2 * 8);
                }
                2 => {
                    drop(mutator.alloc([step as u64; 5]).unwrap());
                    charged += object(5 * 8);
                }
                3 => {
                    let tail = mutator.alloc_tail(1u64, size, |_| 2u16).unwrap();
                    drop(mutator.grow_tail(tail, 2 * size + 1, |_| 3).unwrap());
                    // The length, the head, and the items; then the whole of the larger one.
                    charged += object(8 + 8 + 2 * size) + object(8 + 8 + 2 * (2 * size + 1));
                }
                4 | 5 => {
                    let layout = Layout::from_size_align(size, 1 << (size % 7)).unwrap();
                    let made = mutator.allocate(layout).unwrap();
                    // SAFETY: allocated above with this layout; the old place is not used again.
                    let made = unsafe { mutator.reallocate(made, layout, size / 2) }.unwrap();
                    let smaller = Layout::from_size_align(size / 2, layout.align()).unwrap();
                    // SAFETY: of this layout now.
                    unsafe { mutator.deallocate(made, smaller) };
                    charged += counted_bytes(layout) + counted_bytes(smaller);
                }
                6 => {
                    kept.truncate(kept.len() / 2);
                    mutator.collect(Budget::Units(size as u64));
                }
                _ => {
                    assert!(mutator.alloc_tail((), usize::MAX - size, |_| 0u8).is_err());
                    mutator.safepoint();
                }
            }
        }
        assert!(charged > 1_000_000, "{charged}");
        assert_eq!((mutator.metrics().beats, seen.get()), (charged / 1_000, charged / 1_000), "{pacing:?}");
        figures.push(charged);
    }
    figures.dedup();
    assert_eq!(figures.len(), 1, "and under every pacing the same");
}

#[test]
fn a_beat_of_an_impossible_length_is_refused() {
    let runtime = Runtime::new().unwrap();
    for bytes in [0, 15, (1 << 40) + 1, u64::MAX] {
        assert_eq!(runtime.attaching().beat_bytes(bytes).unwrap_err().kind(), ErrorKind::InvalidSetting);
    }
}

#[test]
fn a_handler_may_allocate_drop_collect_and_add_handlers() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let calls = Rc::new(Cell::new(0));
    let seen = Rc::clone(&calls);
    let busy = mutator.on_beat(When::Every(1), move |mutator, _| {
        seen.set(seen.get() + 1);
        drop(graph::chain(mutator, 100).root);
        mutator.collect(Budget::Units(10));
        if seen.get() < 3 {
            let seen = Rc::clone(&seen);
            mutator.on_beat(When::Every(1), move |_, _| seen.set(seen.get() + 1000)).unwrap();
        }
    });
    busy.unwrap();
    for _ in 0..1000 {
        node(&mutator, None, None);
    }
    assert!(calls.get() > 2000, "{}", calls.get());
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

/// What is pending is freed by allocation alone, in steps that the observer sees.
#[test]
fn allocation_pays_for_freeing() {
    let pacing = Pacing::default().with_installment(1024).unwrap().with_ratio(2.0).unwrap();
    let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
    let steps: Rc<RefCell<Vec<Step>>> = Rc::default();
    let seen = Rc::clone(&steps);
    mutator.observe_steps(move |step| seen.borrow_mut().push(*step)).unwrap();
    drop(graph::chain(&mutator, 10_000).root);
    let kept: Vec<_> = (0..5_000).map(|_| node(&mutator, None, None)).collect();
    let metrics = mutator.metrics();
    let freed: u64 = steps.borrow().iter().map(|step| step.progress.freed.objects).sum();
    assert_eq!(metrics.freed.objects, freed + 1, "by steps, save the head of the chain");
    assert_eq!(steps.borrow().len() as u64, metrics.steps.count);
    // A ratio of 2: 5,000 objects pay for 10,000 of the same size, less what the last installment has not paid.
    assert!((9_900..10_000).contains(&freed), "{freed}");
    assert!(steps.borrow().iter().all(|step| matches!(step.cause, Cause::Installment | Cause::Beat)));
    assert!(steps.borrow().iter().any(|step| step.cause == Cause::Beat));
    drop(kept);
}

#[test]
fn stress_takes_a_step_at_every_allocation() {
    let mutator = Runtime::new().unwrap().attaching().pacing(Pacing::stress()).attach().unwrap();
    drop(graph::chain(&mutator, 1_000).root);
    let before = mutator.metrics().steps.count;
    for _ in 0..100 {
        std::mem::forget(node(&mutator, None, None));
    }
    assert_eq!(mutator.metrics().steps.count - before, 100);
}

/// Large blocks are freed by a step only when as many bytes are owed.
#[test]
fn a_large_block_waits_until_its_bytes_are_owed() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    drop(mutator.alloc_tail((), 16 << 20, |_| 0u8).unwrap());
    let (mut steps, mut kept) = (0, Vec::new());
    loop {
        let large = mutator.metrics().large.objects;
        kept.push(node(&mutator, None, None));
        match large {
            1 => steps += 1,
            _ if steps > 0 => break,
            _ => {}
        }
        assert!(steps < 1 << 20, "never freed");
    }
    // Nodes are charged as 32 bytes at 1.5, and each beat of 64 KiB pays an installment of 4 KiB ahead: 16 MiB are owed
    // after some 330,000 nodes.
    assert!((300_000..350_000).contains(&steps), "{steps}");
    assert_eq!(mutator.metrics().pending.now.objects, 0);
}

/// Requests that no engine can serve are refused before anything is charged for them, also from within a handler.
#[test]
fn absurd_requests_leave_the_clock_alone() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let calls = Rc::new(Cell::new(0u64));
    let seen = Rc::clone(&calls);
    let asks = mutator.on_beat(When::Every(1), move |mutator, _| {
        for _ in 0..4 {
            assert!(mutator.alloc_tail((), 1 << 62, |_| 0u8).is_err());
            assert!(mutator.allocate(Layout::from_size_align(isize::MAX as usize, 1).unwrap()).is_err());
        }
        seen.set(seen.get() + 1);
    });
    asks.unwrap();
    for _ in 0..320 {
        node(&mutator, None, None);
    }
    mutator.safepoint();
    assert_eq!((calls.get(), mutator.metrics().beats), (10, 10));
}

#[test]
fn an_observer_may_replace_itself_and_what_it_held_goes_in_peace() {
    let mutator = Rc::new(Runtime::new().unwrap().attaching().pacing(Pacing::eager()).attach().unwrap());
    let (inner, held) = (Rc::downgrade(&mutator), node(&mutator, None, None));
    let steps = Rc::new(Cell::new(0));
    let seen = Rc::clone(&steps);
    mutator
        .observe_steps(move |_| {
            let _held = &held;
            let seen = Rc::clone(&seen);
            inner.upgrade().unwrap().observe_steps(move |_| seen.set(seen.get() + 1)).unwrap();
        })
        .unwrap();
    for _ in 0..3 {
        node(&mutator, None, None);
    }
    mutator.safepoint();
    assert_eq!(mutator.metrics().live.now.objects, 0);
    assert!(steps.get() >= 2, "{}", steps.get());
}

// ---- subscriptions ----

/// A mutator of which so many objects make a beat.
fn beating(objects: u64) -> Mutator {
    Runtime::new().unwrap().attaching().beat_bytes(32 * objects).unwrap().attach().unwrap()
}

/// Lets so many beats of `beating(4)` pass, one at a time.
fn beat(mutator: &Mutator, beats: u64) {
    for _ in 0..4 * beats {
        drop(node(mutator, None, None));
    }
}

#[test]
fn subscriptions_are_called_on_the_beats_that_they_asked_for() {
    let mutator = beating(4);
    beat(&mutator, 2);
    let calls: Rc<RefCell<Vec<(&str, Beat)>>> = Rc::default();
    let subscribe = |name, when| {
        let seen = Rc::clone(&calls);
        mutator.on_beat(when, move |_, beat| seen.borrow_mut().push((name, beat))).unwrap()
    };
    let third = subscribe("third", When::Every(3));
    subscribe("at 4", When::At(4));
    subscribe("far", When::At(u64::MAX));
    subscribe("rare", When::Every(u64::MAX));
    let one = |number| Beat { number, passed: 1 };
    beat(&mutator, 6);
    assert_eq!(calls.take(), [("at 4", one(4)), ("third", one(5)), ("third", one(8))]);
    // Ten beats in one allocation: one call, and the next one keeps to the rhythm.
    mutator.charge(10 * 128);
    assert_eq!(calls.take(), [("third", Beat { number: 18, passed: 10 })]);
    beat(&mutator, 3);
    assert_eq!(calls.take(), [("third", one(20))]);
    assert!(mutator.unsubscribe(third));
    assert!(!mutator.unsubscribe(third));
    beat(&mutator, 10);
    assert_eq!(calls.take(), []);
}

#[test]
fn subscriptions_to_nothing_or_to_the_past_are_refused() {
    let mutator = beating(4);
    beat(&mutator, 7);
    for when in [When::Every(0), When::At(0), When::At(7)] {
        let error = mutator.on_beat(when, |_, _| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSetting, "{when:?}");
    }
    assert!(mutator.on_beat(When::At(8), |_, _| ()).is_ok());
}

/// Each handler takes itself, the one before, and the one behind off the list, in turn.
#[test]
fn handlers_may_unsubscribe_anyone_from_inside() {
    for victim in 0..3 {
        let mutator = beating(4);
        let ids = Rc::new(RefCell::new(Vec::new()));
        let calls = Rc::new(RefCell::new(Vec::new()));
        let alive = Rc::new(());
        for name in 0..3usize {
            let (known, seen, held) = (Rc::clone(&ids), Rc::clone(&calls), Rc::clone(&alive));
            let id = mutator.on_beat(When::Every(1), move |mutator, _| {
                let _held = &held;
                seen.borrow_mut().push(name);
                if name == 1 {
                    let known: &RefCell<Vec<_>> = &known;
                    assert!(mutator.unsubscribe(known.borrow()[victim]));
                    assert!(!mutator.unsubscribe(known.borrow()[victim]));
                }
            });
            ids.borrow_mut().push(id.unwrap());
        }
        beat(&mutator, 1);
        // The one behind is not called any more, the two others have been.
        assert_eq!(calls.take(), if victim == 2 { vec![0, 1] } else { vec![0, 1, 2] });
        assert_eq!(Rc::strong_count(&alive), 3, "the handler is dropped when it has returned");
        if victim == 1 {
            beat(&mutator, 2);
            assert_eq!(calls.take(), [0, 2, 0, 2]);
        }
        drop(mutator);
        assert_eq!(Rc::strong_count(&alive), 1);
    }
}

#[test]
fn a_handler_whose_drop_panics_is_off_the_list() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a handler's drop");
        }
    }
    let mutator = beating(4);
    let calls = Rc::new(Cell::new(0));
    for when in [When::At(1), When::At(2)] {
        let (bomb, seen) = (Bomb, Rc::clone(&calls));
        let subscribed = mutator.on_beat(when, move |_, _| {
            let _bomb = &bomb;
            seen.set(seen.get() + 1);
        });
        subscribed.unwrap();
    }
    beat(&mutator, 5);
    assert_eq!(calls.get(), 2);
    assert_eq!(mutator.metrics().panics, 2);
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
}

// ---- deadlines ----

#[test]
fn a_deadline_passes_in_the_allocation_that_completes_the_beat() {
    let mutator = beating(4);
    mutator.set_deadline(Some(3));
    for _ in 0..11 {
        drop(node(&mutator, None, None));
        assert_eq!(mutator.poll(0), Ok(()));
    }
    drop(node(&mutator, None, None));
    assert_eq!(mutator.poll(0), Err(Interrupted::Deadline { deadline: 3, beats: 3 }));
    // Nothing else is done about it.
    beat(&mutator, 2);
    assert_eq!(mutator.poll(0), Err(Interrupted::Deadline { deadline: 3, beats: 5 }));
    mutator.set_deadline(Some(6));
    assert_eq!((mutator.poll(0), mutator.deadline()), (Ok(()), Some(6)));
    mutator.set_deadline(None);
    beat(&mutator, 5);
    assert_eq!((mutator.poll(0), mutator.deadline(), mutator.beats()), (Ok(()), None, 10));
}

/// A result from a cache costs what computing it did, so the deadline comes at the same place.
#[test]
fn cached_work_is_charged_again() {
    let compute = |mutator: &Mutator| drop(graph::chain(mutator, 100).root);
    let mut ends = Vec::new();
    for cached in [false, true] {
        let mutator = beating(4);
        mutator.set_deadline(Some(100));
        let before = mutator.charged();
        compute(&mutator);
        let cost = mutator.charged() - before;
        assert_eq!(cost, 3200);
        let mut rounds = 0;
        while mutator.poll(0).is_ok() {
            if cached {
                mutator.charge(cost)
            } else {
                compute(&mutator)
            }
            rounds += 1;
        }
        ends.push((rounds, mutator.beats(), mutator.charged()));
        assert_eq!(mutator.metrics().block_bytes, 0, "charged, not allocated");
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().live.now.objects, 0);
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn charging_pays_for_freeing_and_beats_as_allocating_does() {
    let mutator = beating(4);
    let beats = Rc::new(Cell::new(0));
    let seen = Rc::clone(&beats);
    mutator.on_beat(When::Every(1), move |_, beat| seen.set(seen.get() + beat.passed)).unwrap();
    drop(graph::chain(&mutator, 10_000).root);
    while mutator.metrics().pending.now.objects > 0 {
        mutator.charge(1000);
    }
    assert_eq!(beats.get(), mutator.beats());
    mutator.charge(0);
    mutator.charge(u64::MAX);
    assert_eq!(beats.get(), mutator.beats());
    assert_eq!(mutator.charged() / 128, mutator.beats());
    // Beyond what any program can allocate the clock stands still, and nothing else breaks.
    for _ in 0..300_000 / crate::SCALE {
        mutator.charge(u64::MAX);
    }
    let metrics = mutator.metrics();
    assert_eq!((metrics.block_bytes, metrics.live.now.objects), (0, 0));
    drop(node(&mutator, None, None));
}

#[test]
fn a_child_inherits_the_beats_that_are_left() {
    let mutator = beating(4);
    mutator.set_deadline(Some(10));
    beat(&mutator, 7);
    let settings = mutator.child();
    let child = std::thread::spawn(move || {
        let child = settings.attach().unwrap();
        assert_eq!(child.deadline(), Some(3));
        beat(&child, 2);
        let before = child.poll(0);
        beat(&child, 1);
        (before, child.poll(0))
    });
    assert_eq!(child.join().unwrap(), (Ok(()), Err(Interrupted::Deadline { deadline: 3, beats: 3 })));
    assert_eq!(mutator.poll(0), Ok(()), "the child's work is its own");
    // On the same thread too, and of a parent whose deadline has passed or that has none.
    beat(&mutator, 4);
    assert!(mutator.child().attach().unwrap().poll(0).is_err());
    mutator.set_deadline(None);
    assert_eq!(mutator.child().attach().unwrap().deadline(), None);
}
