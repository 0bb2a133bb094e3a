//! The heartbeat and the pacer's steps on the allocation path.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mimalloc_runtime::{Beat, Budget, Cause, ErrorKind, Pacing, Runtime, Step};

use crate::graph::{self, node};

/// P4: a function of the sizes asked for. The same figures must come from every engine and build.
#[test]
fn beats_count_the_bytes_that_were_asked_for() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let beats = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&beats);
    mutator.on_beat(move |beat| seen.borrow_mut().push(beat));
    for _ in 0..64 {
        node(&mutator, None, None); // 24 bytes, charged as 32: a beat every 32nd
    }
    let layout = Layout::from_size_align(10_000, 16).unwrap();
    let block = mutator.allocate(layout).unwrap(); // 9 beats in one
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(block, layout) };
    let beat = |number, passed| Beat { number, passed };
    assert_eq!(*beats.borrow(), [beat(1, 1), beat(2, 1), beat(11, 9)]);
    assert_eq!(mutator.metrics().beats, 11);
}

/// P4 once more, for a program of every kind of allocation under every pacing: what its beats must be is added up from the sizes
/// it asks for and nothing else, so every engine and build in which this runs has the same.
#[test]
fn a_program_has_the_beats_of_its_sizes_and_no_others() {
    /// What is charged for an object whose value or parts take so many bytes: a header of 8 more, in steps of 16.
    fn object(bytes: usize) -> u64 {
        block(8 + bytes)
    }
    fn block(bytes: usize) -> u64 {
        bytes.max(1).next_multiple_of(16) as u64
    }
    let no_cap = Pacing::default().with_pause_cap(Budget::Unbounded).unwrap();
    let mut figures = Vec::new();
    for pacing in [Pacing::default(), no_cap, Pacing::eager(), Pacing::stress()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).beat_bytes(1_000).unwrap().attach().unwrap();
        let seen = Rc::new(Cell::new(0));
        let passed = Rc::clone(&seen);
        mutator.on_beat(move |beat| passed.set(passed.get() + beat.passed));
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
                    // SAFETY: of this layout now.
                    unsafe { mutator.deallocate(made, Layout::from_size_align(size / 2, layout.align()).unwrap()) };
                    charged += block(size) + block(size / 2);
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
    let mutator = Rc::new(Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap());
    let calls = Rc::new(Cell::new(0));
    let (inner, seen) = (Rc::downgrade(&mutator), Rc::clone(&calls));
    mutator.on_beat(move |_| {
        let mutator = inner.upgrade().unwrap();
        seen.set(seen.get() + 1);
        drop(graph::chain(&mutator, 100).root);
        mutator.collect(Budget::Units(10));
        if seen.get() < 3 {
            let seen = Rc::clone(&seen);
            mutator.on_beat(move |_| seen.set(seen.get() + 1000));
        }
    });
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
    mutator.observe_steps(move |step| seen.borrow_mut().push(*step));
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
    let mutator = Rc::new(Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap());
    let calls = Rc::new(Cell::new(0u64));
    let (inner, seen) = (Rc::downgrade(&mutator), Rc::clone(&calls));
    mutator.on_beat(move |_| {
        let mutator = inner.upgrade().unwrap();
        for _ in 0..4 {
            assert!(mutator.alloc_tail((), 1 << 62, |_| 0u8).is_err());
            assert!(mutator.allocate(Layout::from_size_align(isize::MAX as usize, 1).unwrap()).is_err());
        }
        seen.set(seen.get() + 1);
    });
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
    mutator.observe_steps(move |_| {
        let _held = &held;
        let seen = Rc::clone(&seen);
        inner.upgrade().unwrap().observe_steps(move |_| seen.set(seen.get() + 1));
    });
    for _ in 0..3 {
        node(&mutator, None, None);
    }
    mutator.safepoint();
    assert_eq!(mutator.metrics().live.now.objects, 0);
    assert!(steps.get() >= 2, "{}", steps.get());
}
