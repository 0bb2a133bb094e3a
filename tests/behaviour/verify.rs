//! The check of the whole heap: it finds each kind of fault that is planted, and nothing in what is in order.

use std::any::Any;
use std::cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{
    Budget, ErrorKind, Mutator, Object, Pacing, Problem, Ref, Runtime, Slots, Tail, Trace, Tracer, Untyped, Verified,
    raw,
};

use crate::SCALE;

/// An object with one reference is not looked into if its type was ever borrowed mutably, as this one was.
fn attach() -> Mutator {
    let lending = Runtime::new().unwrap().attach().unwrap();
    assert!(Ref::get_mut(&mut knot(&lending)).is_some());
    Runtime::new().unwrap().attach().unwrap()
}

/// An object with any number of slots, which can be changed, and something besides.
#[derive(Trace)]
struct Knot {
    slots: RefCell<Vec<Option<Ref<Untyped>>>>,
    #[trace(skip)]
    text: String,
}

fn knot(mutator: &Mutator) -> Ref<Knot> {
    mutator.alloc(Knot { slots: RefCell::default(), text: "knot".to_owned() }).unwrap()
}

fn tie<T: ?Sized>(from: &Ref<Knot>, to: &Ref<T>) {
    // SAFETY: alive.
    unsafe { raw::retain(Ref::as_raw(to)) };
    // SAFETY: with the reference just taken.
    let to = unsafe { Ref::from_raw(Ref::as_raw(to)) };
    from.slots.borrow_mut().push(Some(to));
}

/// Two slots that do not change.
#[derive(Trace)]
struct Pair(Option<Ref<Untyped>>, Option<Ref<Untyped>>);

fn pair(mutator: &Mutator, left: Option<Ref<Untyped>>, right: Option<Ref<Untyped>>) -> Ref<Untyped> {
    Ref::erase(mutator.alloc(Pair(left, right)).unwrap())
}

/// Verifies with these roots, which are all there are.
#[track_caller]
fn verify<'a>(mutator: &Mutator, roots: impl IntoIterator<Item = &'a Ref<Untyped>>) -> Verified {
    let mut survey = mutator.survey().complete();
    for root in roots {
        survey = survey.root(root);
    }
    survey.verify().unwrap()
}

#[track_caller]
fn in_order<'a>(mutator: &Mutator, roots: impl IntoIterator<Item = &'a Ref<Untyped>>) {
    let found = verify(mutator, roots);
    assert_eq!((&found.problems[..], found.more, found.busy, found.closed), (&[][..], 0, 0, 0));
    assert_eq!(found.objects, mutator.metrics().live.now.objects);
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

fn address<T: ?Sized>(object: &Ref<T>) -> usize {
    Ref::as_raw(object).as_ptr() as usize
}

/// Rings, shared structures, chains, tails; what is dead is freed a few units at a time, and trials stand at every point that there is.
#[test]
fn nothing_is_found_in_a_heap_in_order_wherever_a_collection_stands() {
    let (mut in_a_drain, mut in_a_trial) = (0, 0);
    let mut garbage = 0;
    for (pacing, seed) in [(Pacing::default(), 7), (Pacing::stress(), 8), (Pacing::eager(), 9), (Pacing::default(), 10)]
    {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mut random = Random(seed);
        let mut roots: Vec<Ref<Untyped>> = Vec::new();
        for round in 0..1_500 / SCALE {
            let some = |random: &mut Random, roots: &[Ref<Untyped>]| {
                (!roots.is_empty()).then(|| roots[random.below(roots.len())].clone())
            };
            match random.below(8) {
                0 | 1 => roots.push(Ref::erase(knot(&mutator))),
                2 => {
                    let left = some(&mut random, &roots);
                    let right = some(&mut random, &roots);
                    roots.push(pair(&mutator, left, right));
                }
                3 => {
                    let items: Vec<_> = (0..random.below(40)).map(|_| some(&mut random, &roots)).collect();
                    let tail: Ref<Tail<u8, Option<Ref<Untyped>>>> =
                        mutator.alloc_tail(1, items.len(), |index| items[index].clone()).unwrap();
                    roots.push(Ref::erase(tail));
                }
                4 | 5 => {
                    let (Some(from), Some(to)) = (some(&mut random, &roots), some(&mut random, &roots)) else {
                        continue;
                    };
                    if let Some(from) = Ref::downcast_ref::<Knot>(&from) {
                        if random.below(5) == 0 {
                            from.slots.borrow_mut().pop();
                        } else {
                            tie(from, &to);
                        }
                    }
                }
                6 => _ = (random.below(3) > 0).then(|| mutator.collect(Budget::Units(1 + round as u64 % 9))),
                _ if !roots.is_empty() => drop(roots.swap_remove(random.below(roots.len()))),
                _ => {}
            }
            if round % 7 == 0 {
                in_order(&mutator, &roots);
            }
        }
        in_order(&mutator, &roots);
        // What is left goes step by step.
        while !roots.is_empty() {
            roots.truncate(roots.len() * 3 / 4);
            for _ in 0..100 {
                let done = mutator.collect(Budget::Units(3)).is_done();
                in_order(&mutator, &roots);
                let is_draining = mutator.metrics().pending.now.objects > 0;
                in_a_drain += u32::from(is_draining);
                in_a_trial += u32::from(!done && !is_draining);
            }
        }
        while !mutator.collect(Budget::Units(11)).is_done() {
            in_order(&mutator, &roots);
        }
        garbage += mutator.metrics().trials.garbage;
        assert_eq!(mutator.metrics().live.now.objects, 0);
    }
    assert!(garbage > 0);
    assert!(in_a_drain > 100 / SCALE as u32 && in_a_trial > 100 / SCALE as u32, "{in_a_drain}, {in_a_trial}");
}

/// A garbage ring that nothing has looked for yet is looked into without being told of, as it is a candidate.
#[test]
fn a_garbage_ring_is_looked_into_at_each_point_of_its_search() {
    let mutator = attach();
    let kept = knot(&mutator);
    let knots: Vec<_> = (0..30).map(|_| knot(&mutator)).collect();
    for (index, from) in knots.iter().enumerate() {
        tie(from, &knots[(index + 1) % knots.len()]);
        tie(from, &kept);
    }
    drop(knots);
    let kept = [Ref::erase(kept)];
    let mut lives = Vec::new();
    loop {
        in_order(&mutator, &kept);
        let done = mutator.collect(Budget::Units(1)).is_done();
        lives.push(mutator.metrics().live.now.objects);
        if done {
            break;
        }
    }
    assert_eq!((lives[0], lives.last()), (31, Some(&1)));
    assert!(lives.len() > 100, "{}", lives.len());
    in_order(&mutator, &kept);
}

#[test]
fn a_count_that_leaked_is_found() {
    let mutator = attach();
    let leaf = knot(&mutator);
    let root = knot(&mutator);
    tie(&root, &leaf);
    let roots = [Ref::erase(root)];
    // SAFETY: alive.
    unsafe { raw::retain(Ref::as_raw(&leaf)) };
    let leaked = Ref::as_raw(&leaf);
    let address = address(&leaf);
    drop(leaf);
    // The root holds it, so it is looked into, and one reference is nobody's.
    let found = verify(&mutator, &roots);
    assert!(
        matches!(found.problems[..], [Problem::CountTooHigh { object, count: 2, found: 1, told: 0 }]
            if object.address == address && object.name.ends_with("Knot")),
        "{:?}",
        found.problems
    );
    // Nothing says so if other references may be held outside.
    assert_eq!(mutator.survey().root(&roots[0]).verify().unwrap().problems, []);
    let [root] = &roots;
    Ref::downcast_ref::<Knot>(root).unwrap().slots.borrow_mut().clear();
    // SAFETY: the reference that was leaked.
    unsafe { raw::release(leaked) };
    // Its only reference: then it is not looked into, and that is what is told.
    let leaked = Ref::into_raw(knot(&mutator));
    let address = leaked.as_ptr() as usize;
    let found = verify(&mutator, &roots);
    assert!(
        matches!(found.problems[..], [Problem::NotTold { object }] if object.address == address),
        "{:?}",
        found.problems
    );
    assert_eq!(found.closed, 1);
    // SAFETY: nobody has borrowed anything.
    let found = unsafe { mutator.survey().root(root).complete().unborrowed() }.verify().unwrap();
    assert!(matches!(found.problems[..], [Problem::CountTooHigh { count: 1, found: 0, told: 0, .. }]));
    assert!(found.problems[0].to_string().contains("has a count of 1, and only 0 references within and 0 outside"));
    // SAFETY: the reference that was leaked.
    unsafe { raw::release(leaked) };
    in_order(&mutator, &roots);
}

#[test]
fn a_count_that_is_too_low_is_found() {
    let mutator = attach();
    let leaf = Ref::erase(knot(&mutator));
    let root = knot(&mutator);
    tie(&root, &leaf);
    tie(&root, &leaf);
    // SAFETY: alive, and below one is taken again. Until then nobody gives one up.
    unsafe { raw::release(Ref::as_raw(&leaf)) };
    let roots = [Ref::erase(root), leaf];
    let is_told = |found: &Verified| {
        matches!(found.problems[..], [Problem::CountTooLow { object, count: 2, found: 2, told: 1 }]
            if object.address == address(&roots[1]))
    };
    let found = verify(&mutator, &roots);
    assert!(is_told(&found), "{:?}", found.problems);
    assert!(is_told(&mutator.survey().root(&roots[0]).root(&roots[1]).verify().unwrap()));
    // SAFETY: alive: three references lead to it.
    unsafe { raw::retain(Ref::as_raw(&roots[1])) };
    in_order(&mutator, &roots);
    // References from within alone.
    // SAFETY: as above.
    unsafe { raw::release(Ref::as_raw(&roots[1])) };
    // SAFETY: as above.
    unsafe { raw::release(Ref::as_raw(&roots[1])) };
    let found = mutator.survey().root(&roots[0]).verify().unwrap();
    assert!(
        matches!(found.problems[..], [Problem::CountTooLow { count: 1, found: 2, told: 0, .. }]),
        "{:?}",
        found.problems
    );
    for _ in 0..2 {
        // SAFETY: as above.
        unsafe { raw::retain(Ref::as_raw(&roots[1])) };
    }
    in_order(&mutator, &roots);
}

#[test]
fn a_reference_to_what_is_dead_or_freed_is_found() {
    for is_freed in [false, true] {
        let mutator = attach();
        let root = knot(&mutator);
        let leaf = knot(&mutator);
        let leaf_address = address(&leaf);
        tie(&root, &root);
        // SAFETY: the slot has a reference without a count, which is forgotten below.
        let stolen: Ref<Untyped> = unsafe { Ref::from_raw(Ref::as_raw(&leaf)) };
        root.slots.borrow_mut().push(Some(stolen));
        drop(leaf);
        if is_freed {
            mutator.collect(Budget::Unbounded);
            assert_eq!(mutator.metrics().pending.now.objects, 0);
        }
        let roots = [Ref::erase(root)];
        let found = verify(&mutator, &roots);
        assert!(
            matches!(found.problems[..], [Problem::Dangling { object, slot: 1, to }]
                if object.address == address(&roots[0]) && to == leaf_address),
            "{:?}",
            found.problems
        );
        // Also where it might be another mutator's.
        let other = Runtime::new().unwrap().attach().unwrap();
        let foreign = other.alloc(5).unwrap();
        let root = Ref::downcast_ref::<Knot>(&roots[0]).unwrap();
        tie(root, &foreign);
        let found = verify(&mutator, &roots);
        assert!(matches!(found.problems[..], [Problem::Dangling { slot: 1, .. }]), "{:?}", found.problems);
        let stolen = root.slots.borrow_mut().remove(1);
        std::mem::forget(stolen);
        in_order(&mutator, &roots);
    }
}

/// A `trace` written by hand that leaves one of its references out. It is dropped with the residue, so that all else is in order.
struct Forgets {
    told: Option<Ref<Untyped>>,
    forgotten: Option<Ref<Untyped>>,
}

// SAFETY: 1-4: what `trace` does not report is dropped with the residue. 5: runs nothing else. 6: is not changed.
unsafe impl Trace for Forgets {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.told.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        self.forgotten = None;
    }
}

/// Tools see that the words were not written by anybody in particular.
#[test]
#[cfg_attr(small_tests, ignore = "reads memory that was never written")]
fn a_slot_that_trace_forgets_is_found() {
    let mutator = attach();
    let leaves = [0, 1].map(|_| Ref::erase(knot(&mutator)));
    let object = Forgets { told: Some(leaves[0].clone()), forgotten: Some(leaves[1].clone()) };
    let object = mutator.alloc(object).unwrap();
    let offset = &raw const object.forgotten as usize - address(&object);
    let at = address(&object);
    let object = Ref::erase(object);
    let survey = || mutator.survey().root(&object).root(&leaves[0]).root(&leaves[1]);
    assert_eq!(survey().verify().unwrap().problems, []);
    let found = survey().words().verify().unwrap();
    assert!(
        matches!(found.problems[..], [Problem::NotTraced { object, offset: found, to }]
            if object.address == at && found == offset && to.address == address(&leaves[1])),
        "{:?}",
        found.problems
    );
    // If all references are told, one of the leaf is too much.
    let found = survey().complete().verify().unwrap();
    assert!(matches!(found.problems[..], [Problem::CountTooHigh { count: 2, found: 0, told: 1, .. }]));
    drop(object);
    mutator.collect(Budget::Unbounded);
    in_order(&mutator, &leaves);
}

/// Objects of every shape, without a left-over anywhere: nothing is suspected. References among bytes are not at a word's place.
#[test]
#[cfg_attr(small_tests, ignore = "reads memory that was never written")]
fn words_that_trace_reports_are_not_suspected() {
    // With the header two blocks of 16 bytes: what lies behind a value has left-overs.
    #[derive(Trace)]
    struct Triple(Option<Ref<Untyped>>, Option<Ref<Untyped>>, Option<Ref<Untyped>>);
    let mutator = attach();
    let triple = |one, two, three| Ref::erase(mutator.alloc(Triple(one, two, three)).unwrap());
    let mut roots: Vec<Ref<Untyped>> = vec![triple(None, None, None)];
    for index in 0..2_000 {
        let left = roots[index * 7 % roots.len()].clone();
        roots.push(match index % 3 {
            0 => triple(Some(left.clone()), None, Some(left)),
            1 => triple(None, Some(left), None),
            _ => {
                let tail: Ref<Tail<u8, Option<Ref<Untyped>>>> =
                    mutator.alloc_tail(1, 100, |item| (item % 2 == 0).then(|| left.clone())).unwrap();
                Ref::erase(tail)
            }
        });
    }
    let mut survey = mutator.survey().complete().words();
    for root in &roots {
        survey = survey.root(root);
    }
    let found = survey.verify().unwrap();
    assert_eq!((&found.problems[..], found.objects), (&[][..], 2_001));
}

/// What somebody is changing is not looked at, and no problem.
#[test]
fn what_is_being_changed_is_said_to_be_busy() {
    let mutator = attach();
    let (root, leaf) = (knot(&mutator), knot(&mutator));
    tie(&root, &leaf);
    let borrowed = root.slots.borrow_mut();
    let found = mutator.survey().root(&root).root(&leaf).complete().verify().unwrap();
    assert_eq!((&found.problems[..], found.busy, found.closed, found.objects), (&[][..], 1, 0, 2));
    drop(borrowed);
    let found = mutator.survey().root(&root).root(&leaf).complete().verify().unwrap();
    assert_eq!((&found.problems[..], found.busy), (&[][..], 0));
}

/// An object may be borrowed mutably through its only reference: then it must not be looked at, and is not.
#[test]
fn what_may_be_borrowed_is_not_looked_into() {
    struct Looks<'a>(&'a cell::Cell<u32>);
    thread_local!(static LOOKS: cell::Cell<u32> = const { cell::Cell::new(0) });
    impl Looks<'_> {
        fn look(&self) {
            self.0.set(self.0.get() + 1);
        }
    }
    struct Counts(Option<Ref<Untyped>>);
    // SAFETY: 1-4: one slot. 5: counts. 6: is not changed.
    unsafe impl Trace for Counts {
        const SLOTS: Slots = Slots::Fixed(1);
        const RESIDUE: bool = false;
        fn trace(&self, tracer: &mut Tracer<'_>) {
            LOOKS.with(|looks| Looks(looks).look());
            self.0.trace(tracer);
        }
        unsafe fn drop_residue(&mut self) {}
    }
    let mutator = attach();
    let inner = Ref::erase(mutator.alloc(Counts(None)).unwrap());
    let mut outer = mutator.alloc(Counts(Some(inner))).unwrap();
    let borrowed = Ref::get_mut(&mut outer).unwrap();
    let found = mutator.verify().unwrap();
    assert_eq!((found.problems, found.closed, LOOKS.get()), (vec![], 2, 0));
    drop(borrowed.0.take());
    LOOKS.set(0);
    let found = mutator.survey().root(&outer).verify().unwrap();
    assert_eq!((found.closed, LOOKS.get()), (0, 1));
    // One that was a candidate is none while it is borrowed.
    let clone = outer.clone();
    drop(clone);
    let borrowed = Ref::get_mut(&mut outer).unwrap();
    let found = mutator.verify().unwrap();
    assert_eq!((found.closed, LOOKS.get()), (1, 1));
    borrowed.0 = None;
}

/// What a `trace` does that panics is kept for a safepoint, and the rest of the heap is checked.
#[test]
fn a_trace_that_panics_does_not_end_it() {
    struct Refuses(cell::Cell<bool>);
    // SAFETY: 1, 2: no slots. 3, 4: nothing to drop. 5: panics.
    unsafe impl Trace for Refuses {
        const SLOTS: Slots = Slots::Varying;
        const RESIDUE: bool = false;
        fn trace(&self, _: &mut Tracer<'_>) {
            assert!(!self.0.get(), "refused");
        }
        unsafe fn drop_residue(&mut self) {}
    }
    let mutator = attach();
    let refuses = mutator.alloc(Refuses(cell::Cell::new(true))).unwrap();
    let other = knot(&mutator);
    let found = mutator.survey().root(&refuses).root(&other).complete().verify().unwrap();
    assert_eq!((&found.problems[..], found.busy, found.objects), (&[][..], 1, 2));
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
    refuses.0.set(false);
    let found = mutator.survey().root(&refuses).root(&other).complete().verify().unwrap();
    assert_eq!((&found.problems[..], found.busy), (&[][..], 0));
}

#[test]
fn uncounted_objects_are_left_out_and_foreign_ones_are_no_problem() {
    let runtime = Runtime::new().unwrap();
    let (mutator, other) = (runtime.attach().unwrap(), runtime.attach().unwrap());
    let (immortal, mine, theirs) = (knot(&mutator), knot(&mutator), knot(&other));
    // SAFETY: alive.
    unsafe { raw::make_immortal(Ref::as_raw(&immortal)) };
    tie(&mine, &theirs);
    tie(&theirs, &mine);
    tie(&mine, &immortal);
    let mine = Ref::erase(mine);
    // That the other one refers to it has to be told: from here it is outside.
    // SAFETY: alive, and not borrowed.
    let found =
        unsafe { mutator.survey().root(&mine).root(&theirs).root_raw(Ref::as_raw(&mine)) }.complete().verify().unwrap();
    assert_eq!((&found.problems[..], found.objects), (&[][..], 2));
    theirs.slots.borrow_mut().clear();
    in_order(&mutator, [&mine]);
    assert_eq!(other.survey().root(&theirs).verify().unwrap().problems, []);
}

#[test]
fn it_is_refused_within_a_collection() {
    struct Asks(Rc<Mutator>, Rc<cell::Cell<u32>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!(self.0.verify().unwrap_err().kind(), ErrorKind::Busy);
            self.1.set(self.1.get() + 1);
        }
    }
    #[derive(Trace)]
    struct Asking(#[trace(skip)] Asks);
    let mutator = Rc::new(attach());
    let asked = Rc::new(cell::Cell::new(0));
    drop(mutator.alloc(Asking(Asks(Rc::clone(&mutator), Rc::clone(&asked)))).unwrap());
    mutator.collect(Budget::Unbounded);
    assert_eq!(asked.get(), 1);
}

/// Items of a tail are made by code of the user's, which may look.
#[test]
fn while_a_tail_is_made_it_is_no_object_yet() {
    let mutator = attach();
    let leaf = knot(&mutator);
    let look = || assert_eq!(mutator.survey().root(&leaf).verify().unwrap().problems, []);
    let tail: Ref<Tail<(), Ref<Knot>>> = mutator
        .alloc_tail((), 5, |_| {
            look();
            leaf.clone()
        })
        .unwrap();
    let tail = mutator
        .grow_tail(tail, 900, |index| {
            if index % 100 == 0 {
                look();
            }
            leaf.clone()
        })
        .unwrap();
    look();
    drop(tail);
    look();
}

/// Problems are told up to a number, and then counted.
#[test]
fn so_many_problems_are_told_and_no_more() {
    let mutator = attach();
    let leaves: Vec<NonNull<Object>> = (0..250).map(|_| Ref::into_raw(knot(&mutator))).collect();
    let found = mutator.survey().complete().verify().unwrap();
    assert_eq!((found.problems.len(), found.more), (100, 150));
    for leaf in leaves {
        // SAFETY: the reference of the handle.
        unsafe { raw::release(leaf) };
    }
    in_order(&mutator, []);
}

/// A heap that was used before: what its mutators gave up lies in it.
#[test]
fn what_earlier_mutators_left_is_no_problem() {
    struct Refuses;
    // SAFETY: 1, 2: no slots. 3, 4: nothing to drop. 5: panics.
    unsafe impl Trace for Refuses {
        const SLOTS: Slots = Slots::Varying;
        const RESIDUE: bool = false;
        fn trace(&self, _: &mut Tracer<'_>) {
            panic!("refused");
        }
        unsafe fn drop_residue(&mut self) {}
    }
    let runtime = Runtime::new().unwrap();
    for _ in 0..3 {
        let mutator = runtime.attach().unwrap();
        let kept: Vec<Box<dyn Any>> = (0..20).map(|_| -> Box<dyn Any> { Box::new(knot(&mutator)) }).collect();
        drop(mutator.alloc(Refuses).unwrap());
        while catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded))).is_err() {}
        assert_eq!(mutator.metrics().abandoned.objects, 1);
        assert_eq!(mutator.verify().unwrap().problems, []);
        drop(kept);
        mutator.collect(Budget::Units(3));
        assert_eq!(mutator.verify().unwrap().problems, []);
    }
}
