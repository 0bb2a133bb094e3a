//! Garbage cycles are found and freed, and nothing else is.

mod large;
mod random;

use std::ptr::NonNull;

use mimalloc_runtime::cell::{Cell, RefCell};
use mimalloc_runtime::{Budget, Cause, Mutator, Object, Ref, Runtime, SLACK_UNITS, Slots, Stop, Trace, Tracer, raw};

use crate::SCALE;

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

/// An object with any number of slots, which can be changed.
#[derive(Trace)]
struct Knot {
    slots: RefCell<Vec<Option<Ref<Knot>>>>,
    /// Borrowed by some, while `slots` can be looked at.
    more: RefCell<Vec<Ref<Knot>>>,
}

fn knot(mutator: &Mutator) -> Ref<Knot> {
    mutator.alloc(Knot { slots: RefCell::default(), more: RefCell::default() }).unwrap()
}

fn tie(from: &Ref<Knot>, to: &Ref<Knot>) {
    from.slots.borrow_mut().push(Some(to.clone()));
}

fn live(mutator: &Mutator) -> u64 {
    mutator.metrics().live.now.objects
}

/// Collects in steps of so many units until nothing is left, and returns the sum of the units.
fn collect(mutator: &Mutator, units: u64) -> u64 {
    let mut sum = 0;
    loop {
        let progress = mutator.collect(Budget::Units(units));
        assert!(progress.units <= units + SLACK_UNITS, "{progress:?}");
        sum += progress.units;
        if progress.stop == Stop::Done {
            return sum;
        }
    }
}

fn ring(mutator: &Mutator, length: usize) -> Vec<Ref<Knot>> {
    let knots: Vec<_> = (0..length).map(|_| knot(mutator)).collect();
    for (index, from) in knots.iter().enumerate() {
        tie(from, &knots[(index + 1) % length]);
    }
    knots
}

#[test]
fn an_object_that_refers_to_itself_is_freed() {
    let mutator = attach();
    let one = knot(&mutator);
    tie(&one, &one);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 1);
    drop(one);
    assert_eq!(live(&mutator), 1);
    let progress = mutator.collect(Budget::Unbounded);
    assert_eq!((live(&mutator), progress.freed.objects, progress.is_done()), (0, 1, true));
}

#[test]
fn a_ring_is_freed_when_its_last_reference_from_outside_goes() {
    let mutator = attach();
    let mut knots = ring(&mutator, 100);
    let last = knots.swap_remove(17);
    drop(knots);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 100);
    drop(last);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 0);
}

#[test]
fn what_garbage_leads_to_is_freed_with_it_unless_it_is_in_use() {
    let mutator = attach();
    let knots = ring(&mutator, 10);
    let (used, unused) = (knot(&mutator), ring(&mutator, 5));
    tie(&knots[3], &used);
    tie(&knots[4], &unused[0]);
    drop((knots, unused));
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 1);
    assert!(used.slots.borrow().is_empty());
    assert!(Ref::is_unique(&used));
}

#[test]
fn nothing_is_left_when_the_mutator_goes() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    drop(ring(&mutator, 1000));
    let left = mutator.detach();
    assert_eq!(left.live.objects, 0);
    assert_eq!(runtime.metrics().ended, 1);
}

#[test]
fn a_clique_has_more_references_than_a_header_can_count() {
    let mutator = attach();
    let size = 300;
    let knots: Vec<_> = (0..size).map(|_| knot(&mutator)).collect();
    for from in &knots {
        for to in &knots {
            tie(from, to);
        }
    }
    let outside = knots[7].clone();
    drop(knots);
    collect(&mutator, 1000);
    assert_eq!(live(&mutator), size);
    drop(outside);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 0);
}

/// An object of two slots.
#[derive(Trace, Default)]
struct Link {
    next: Cell<Option<Ref<Link>>>,
    previous: Cell<Option<Ref<Link>>>,
}

fn link(mutator: &Mutator) -> Ref<Link> {
    mutator.alloc(Link::default()).unwrap()
}

/// A chain, in both directions or in one, between two ends.
fn chain(mutator: &Mutator, length: usize, both_ways: bool) -> (Ref<Link>, Ref<Link>) {
    let first = link(mutator);
    let mut last = first.clone();
    for _ in 1..length {
        let next = link(mutator);
        if both_ways {
            next.previous.set(Some(last.clone()));
        }
        last.next.set(Some(next.clone()));
        last = next;
    }
    (first, last)
}

/// The program goes on between steps, with other objects and with those that are looked at.
#[test]
fn a_live_structure_is_left_alone_while_it_is_used() {
    let mutator = attach();
    let (first, last) = chain(&mutator, 10_000 / SCALE, true);
    drop(last);
    let (mut at, mut steps) = (first.clone(), 0);
    loop {
        let garbage = link(&mutator);
        garbage.next.set(Some(garbage.clone()));
        // Each link is taken out of its place and put back.
        let next = at.next.take();
        let done = mutator.collect(Budget::Units(7)).is_done();
        at.next.set(next.clone());
        at = next.unwrap_or_else(|| first.clone());
        steps += 1;
        if done || steps > 1_000_000 / SCALE {
            break;
        }
    }
    drop(at);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 10_000 / SCALE as u64);
    drop(first);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 0);
}

/// Nobody collects: allocation pays for the search, and the safepoints of the program's loop do it.
#[test]
fn a_program_that_polls_has_its_cycles_freed() {
    let mutator = attach();
    let (mut most, rounds) = (0, (200_000 / SCALE as u64).max(20_000));
    for _ in 0..rounds {
        let (first, last) = chain(&mutator, 10, true);
        last.next.set(Some(first));
        drop(last);
        mutator.poll(1).unwrap();
        most = most.max(mutator.metrics().live.now.bytes);
    }
    let metrics = mutator.metrics();
    assert!(metrics.steps.by_cause[Cause::Search as usize] > 0);
    // What is allocated between two trials, and less than that while one goes on.
    assert!(most < 512 << 10, "{most} of {}", metrics.allocated.bytes);
    let trials = mutator.metrics().trials;
    assert!(trials.begun > 10 && trials.garbage > 0 && trials.garbage <= trials.members, "{trials:?}");
    assert!(metrics.steps.max_units <= 10_000 + SLACK_UNITS);
}

/// A structure that lives costs less and less, however often it is suspected.
#[test]
fn what_lives_is_tried_less_and_less_often() {
    let mutator = attach();
    let (first, last) = chain(&mutator, 10_000 / SCALE, true);
    let mut searched = Vec::new();
    let mut at = first.clone();
    for _ in 0..4 {
        let before = mutator.metrics().steps.units;
        let allocated = mutator.metrics().allocated.bytes;
        while mutator.metrics().allocated.bytes < allocated + (64 << 20) / SCALE as u64 {
            drop(mutator.alloc([0u64; 8]).unwrap());
            let next = at.next.take();
            at.next.set(next.clone());
            at = next.unwrap_or_else(|| first.clone());
            mutator.poll(1).unwrap();
        }
        searched.push(mutator.metrics().steps.units - before);
    }
    drop((at, last));
    assert!(searched[3] * 40 < (64 << 20) / SCALE as u64, "{searched:?}");
}

/// There is room for 8,192 candidates, and the others wait to be members of the next trial. Had that been one that stops at what
/// is old, it would have found each in use by the one that it is garbage with.
#[test]
fn more_pairs_than_there_can_be_candidates_are_freed_in_one_trial_though_they_are_old() {
    let mutator = attach();
    let mut pairs = Vec::new();
    for _ in 0..20_000 {
        let (a, b) = (link(&mutator), link(&mutator));
        a.next.set(Some(b.clone()));
        b.next.set(Some(a.clone()));
        pairs.push(a);
    }
    for _ in 0..4 {
        // Each is looked at once more, and older.
        pairs.iter().for_each(|pair| drop(pair.clone()));
        mutator.collect(Budget::Unbounded);
    }
    let begun = mutator.metrics().trials.begun;
    drop(pairs);
    while live(&mutator) > 0 {
        drop(mutator.alloc([0u64; 15]).unwrap());
        mutator.safepoint();
        assert!(mutator.metrics().trials.begun <= begun + 1, "{:?}", mutator.metrics().trials);
    }
}

/// Objects whose cells do not tell of changes are freed when the garbage fits into a step.
#[test]
fn cells_of_the_standard_library_limit_what_is_found() {
    #[derive(Trace, Default)]
    struct Plain {
        next: std::cell::RefCell<Option<Ref<Plain>>>,
    }
    let mutator = attach();
    let ring = |length: usize| {
        let first = mutator.alloc(Plain::default()).unwrap();
        let mut last = first.clone();
        for _ in 1..length {
            let next = mutator.alloc(Plain::default()).unwrap();
            *last.next.borrow_mut() = Some(next.clone());
            last = next;
        }
        *last.next.borrow_mut() = Some(first);
    };
    ring(10);
    collect(&mutator, 100);
    assert_eq!(live(&mutator), 0);
    ring(1000);
    collect(&mutator, 100);
    assert_eq!(live(&mutator), 1000);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 0);
}

/// A VM that keeps references in words of its own tells of changes itself.
#[test]
fn a_vm_with_slots_of_its_own_tells_of_changes() {
    struct Words {
        slots: [std::cell::Cell<Option<NonNull<Object>>>; 2],
    }
    // SAFETY: 1, 2: two slots, each of which owns its reference. 3, 4: nothing else to drop. 5: reads cells. 6: `set` tells.
    unsafe impl Trace for Words {
        const SLOTS: Slots = Slots::Fixed(2);
        const RESIDUE: bool = false;
        fn trace(&self, tracer: &mut Tracer<'_>) {
            for slot in &self.slots {
                match slot.get() {
                    // SAFETY: 1: owned.
                    Some(object) => unsafe { tracer.reference(object) },
                    None => tracer.empty(1),
                }
            }
        }
        unsafe fn drop_residue(&mut self) {}
    }
    fn set(words: &Ref<Words>, slot: usize, to: Option<Ref<Words>>) -> Option<Ref<Words>> {
        // SAFETY: 1: alive, the handle's.
        unsafe { raw::changing(Ref::as_raw(words)) };
        let old = words.slots[slot].replace(to.map(Ref::into_raw));
        // SAFETY: 1, 2: alive, a `Words`, with the reference that the slot owned.
        old.map(|object| unsafe { Ref::from_raw(object) })
    }
    let mutator = attach();
    let make = || mutator.alloc(Words { slots: Default::default() }).unwrap();
    let root = make();
    set(&root, 0, Some(root.clone()));
    for round in 0..2_000u64 {
        let garbage = make();
        set(&garbage, 0, Some(garbage.clone()));
        set(&garbage, 1, Some(root.clone()));
        // What the root refers to moves from slot to slot while it is looked at.
        let moved = set(&root, (round % 2) as usize, None);
        mutator.collect(Budget::Units(round % 13 + 1));
        set(&root, 1 - (round % 2) as usize, moved);
    }
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 1);
    drop(root);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 0);
}

/// A table that knows objects without keeping them alive: what it takes up at any moment of a search lives, or is not to be had any more.
#[test]
fn garbage_that_has_been_found_cannot_be_taken_up() {
    for steps in 0.. {
        let mutator = attach();
        let (first, last) = chain(&mutator, 3, true);
        last.next.set(Some(first.clone()));
        let known = Ref::as_raw(&first);
        drop((first, last));
        let mut freed = 0;
        for _ in 0..steps {
            freed += mutator.collect(Budget::Units(1)).freed.objects;
        }
        if freed > 0 {
            assert!(steps > 20);
            break;
        }
        // SAFETY: 1: none was freed, as was just seen, and a `Link` has nothing to drop but references.
        let taken = unsafe { raw::try_retain(known) };
        // SAFETY: 1, 2: alive, with the reference just taken.
        let link = taken.then(|| unsafe { Ref::<Link>::from_raw(known) });
        mutator.collect(Budget::Unbounded);
        assert_eq!(live(&mutator), if link.is_some() { 3 } else { 0 });
        if let Some(link) = link {
            // It is whole.
            let next = link.next.take().unwrap();
            assert!(Ref::ptr_eq(&next.previous.take().unwrap(), &link));
        }
        mutator.collect(Budget::Unbounded);
        assert_eq!(live(&mutator), 0);
    }
}

#[test]
fn a_type_that_says_so_is_never_looked_into() {
    #[derive(Trace, Default)]
    #[trace(acyclic)]
    struct Token {
        next: RefCell<Option<Ref<Token>>>,
    }
    const { assert!(Token::ACYCLIC && <(u8, Vec<String>)>::ACYCLIC && !Knot::ACYCLIC) };
    let mutator = attach();
    let token = mutator.alloc(Token::default()).unwrap();
    drop(token.clone());
    assert_eq!(mutator.collect(Budget::Unbounded).search_units, 0);
    token.next.replace(Some(token.clone()));
    drop(token);
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 1);
}

#[test]
fn a_tail_that_a_trial_has_listed_can_grow() {
    let mutator = attach();
    let mut tail = mutator.alloc_tail::<_, Option<Ref<Knot>>>((), 3, |_| None).unwrap();
    // A candidate.
    drop(tail.clone());
    for units in 0..200 {
        mutator.collect(Budget::Units(1));
        let length = tail.items().len() + units % 3;
        tail = mutator.grow_tail(tail, length, |_| Some(knot(&mutator))).unwrap();
        drop(tail.clone());
        let allocated = mutator.metrics().allocated.objects;
        assert_eq!(allocated, 1 + tail.items().iter().flatten().count() as u64);
    }
    let knots = tail.items().iter().flatten().count() as u64;
    mutator.collect(Budget::Unbounded);
    let metrics = mutator.metrics();
    assert_eq!((metrics.live.now.objects, metrics.pending.now.bytes), (1 + knots, 0));
    drop(tail);
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}

#[test]
fn cycles_are_freed_after_the_mutator_has_gone() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let knots = ring(&mutator, 10);
    assert_eq!(mutator.detach().live.objects, 10);
    assert_eq!(runtime.metrics().lingering, 1);
    drop(knots);
    assert_eq!((runtime.metrics().lingering, runtime.metrics().ended), (0, 1));
}
