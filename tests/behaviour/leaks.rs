//! What lives by type, and what keeps it alive.

use std::fmt::Write;

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{Budget, HeldBy, Leaked, Leaks, Link, Mutator, Ref, Runtime, Tail, Tally, Trace, raw};

use crate::SCALE;

#[derive(Trace, Default)]
struct Knot {
    before: Option<Ref<Text>>,
    slots: RefCell<Vec<Option<Ref<Knot>>>>,
}

#[derive(Trace)]
struct Holder(Option<Ref<Knot>>, Option<Ref<Knot>>);

type Text = Tail<(), u8>;

/// An object with one reference is not looked into if its type was ever borrowed mutably, as this one was.
fn attach() -> Mutator {
    let lending = Runtime::new().unwrap().attach().unwrap();
    assert!(Ref::get_mut(&mut knot(&lending)).is_some());
    Runtime::new().unwrap().attach().unwrap()
}

fn knot(mutator: &Mutator) -> Ref<Knot> {
    mutator.alloc(Knot::default()).unwrap()
}

fn tie(from: &Ref<Knot>, to: &Ref<Knot>) {
    from.slots.borrow_mut().push(Some(to.clone()));
}

fn of<T: ?Sized>(leaks: &Leaks) -> &Leaked {
    leaks.types.iter().find(|leaked| leaked.name == std::any::type_name::<T>()).unwrap()
}

const KNOT: fn() -> &'static str = std::any::type_name::<Knot>;

fn link<T: ?Sized>(slot: u32) -> Link {
    Link { slot: Some(slot), name: std::any::type_name::<T>() }
}

#[test]
fn nothing_lives() {
    let mutator = attach();
    drop(knot(&mutator));
    let leaks = mutator.survey().leaks().unwrap();
    assert_eq!((leaks.total, leaks.types.len()), (Tally::default(), 0));
    assert_eq!(leaks.to_string(), "nothing lives\n");
}

/// From a holder outside, through the second of its slots, to a knot in the third place of a vector, to its text.
#[test]
fn a_path_leads_from_what_is_held_outside() {
    let mutator = attach();
    let text = mutator.alloc_tail_copy((), b"text").unwrap();
    let last = mutator.alloc(Knot { before: Some(text), slots: RefCell::default() }).unwrap();
    let middle = knot(&mutator);
    middle.slots.borrow_mut().extend([None, None, Some(last)]);
    let holder = mutator.alloc(Holder(None, Some(middle))).unwrap();
    let leaks = mutator.survey().root(&holder).leaks().unwrap();
    assert_eq!(leaks.total, mutator.metrics().live.now);
    let text = of::<Text>(&leaks);
    assert_eq!((text.live.objects, text.held, text.cyclic), (1, 0, 0));
    assert_eq!(text.example.held_by, HeldBy::Outside { references: 1 });
    assert_eq!(text.example.first, std::any::type_name::<Holder>());
    // Slot 0 of a knot is its text, the rest its vector's.
    assert_eq!(text.example.links, [link::<Knot>(1), link::<Knot>(3), link::<Text>(0)]);
    let knots = of::<Knot>(&leaks);
    assert_eq!((knots.live.objects, knots.example.links.len()), (2, 1));
    assert!(of::<Holder>(&leaks).example.links.is_empty());
    let report = leaks.to_string();
    let holder_name = std::any::type_name::<Holder>();
    let text_name = std::any::type_name::<Text>();
    assert!(report.starts_with("4 objects, "), "{report}");
    let path = format!("held outside by 1: {holder_name} [1] {KNOT} [3] {KNOT} [0] {text_name}\n", KNOT = KNOT());
    assert!(report.contains(&path), "{report}");
    // Several references outside, and without being told of.
    let again = [holder.clone(), holder.clone()];
    let leaks = mutator.survey().leaks().unwrap();
    assert_eq!(of::<Text>(&leaks).example.held_by, HeldBy::Outside { references: 3 });
    assert_eq!(leaks.closed, 0);
    drop(again);
}

/// Once round and then down to the text; the cycle's slots are found, whatever leads into it from outside is preferred.
#[test]
fn a_cycle_that_nothing_outside_refers_to_is_shown() {
    let mutator = attach();
    let text = mutator.alloc_tail_copy((), b"text").unwrap();
    let knots = [0, 1, 2].map(|_| knot(&mutator));
    let end = mutator.alloc(Knot { before: Some(text), slots: RefCell::default() }).unwrap();
    for (index, from) in knots.iter().enumerate() {
        from.slots.borrow_mut().extend((0..index).map(|_| None));
        tie(from, &knots[(index + 1) % 3]);
    }
    tie(&knots[1], &end);
    let [first, second, third] = knots;
    drop((second, third, end));
    let leaks = mutator.survey().root(&first).leaks().unwrap();
    assert_eq!(of::<Text>(&leaks).example.held_by, HeldBy::Outside { references: 1 });
    assert_eq!(of::<Knot>(&leaks).cyclic, 0);
    drop(first);
    let leaks = mutator.survey().leaks().unwrap();
    let text = of::<Text>(&leaks);
    assert_eq!((text.cyclic, text.held), (1, 0));
    let HeldBy::Cycle { links, left_out: 0 } = &text.example.held_by else { panic!("{text:?}") };
    // Somewhere on the ring 1, 2, 3 it begins.
    let mut slots: Vec<u32> = links.iter().filter_map(|link| link.slot).collect();
    let to_the_end = text.example.links.len();
    assert!((2..=4).contains(&to_the_end), "{text:?}");
    assert_eq!(text.example.links.last(), Some(&link::<Text>(0)));
    assert_eq!(text.example.links[to_the_end - 2], link::<Knot>(3));
    let turn = slots.iter().position(|slot| *slot == 1).unwrap();
    slots.rotate_left(turn);
    assert_eq!(slots, [1, 2, 3]);
    assert_eq!((of::<Knot>(&leaks).cyclic, of::<Knot>(&leaks).live.objects), (4, 4));
    let report = leaks.to_string();
    assert!(report.contains("(4 by garbage cycles)") && report.contains("; which leads to it: "), "{report}");
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.survey().leaks().unwrap().total, Tally::default());
}

/// Held by what died and still owns its references, and uncounted.
#[test]
fn what_else_may_hold_an_object() {
    let mutator = attach();
    #[derive(Trace)]
    struct Slow(Ref<Knot>, #[trace(skip)] String);
    let slow = mutator.alloc(Slow(knot(&mutator), "slow".to_owned())).unwrap();
    let immortal = mutator.alloc(5u64).unwrap();
    // SAFETY: alive.
    unsafe { raw::make_immortal(Ref::as_raw(&immortal)) };
    drop(slow);
    let leaks = mutator.survey().leaks().unwrap();
    assert_eq!(leaks.total.objects, 2);
    assert_eq!(of::<u64>(&leaks).example.held_by, HeldBy::Uncounted);
    // Nothing could tell that it is not borrowed but that only a dead object refers to it.
    assert_eq!((&of::<Knot>(&leaks).example.held_by, of::<Knot>(&leaks).cyclic), (&HeldBy::Dying, 0));
    assert_eq!(leaks.closed, 0);
}

/// A path of ten thousand links is told from both ends.
#[test]
fn long_paths_and_cycles_are_cut_in_the_middle() {
    let mutator = attach();
    let length = 10_000 / SCALE as u64;
    let text = mutator.alloc_tail_copy((), b"text").unwrap();
    let mut head = mutator.alloc(Knot { before: Some(text), slots: RefCell::default() }).unwrap();
    let last = head.clone();
    for _ in 0..length {
        let next = knot(&mutator);
        tie(&next, &head);
        head = next;
    }
    let leaks = mutator.survey().root(&head).root(&last).leaks().unwrap();
    assert_eq!(of::<Text>(&leaks).example.links.len(), 1);
    let gone = Ref::into_raw(last);
    // SAFETY: the handle's own reference.
    unsafe { raw::release(gone) };
    let leaks = mutator.survey().root(&head).leaks().unwrap();
    let example = &of::<Text>(&leaks).example;
    assert_eq!((example.links.len(), example.left_out), (32, length + 1 - 32));
    assert_eq!((example.links[0], example.links[31]), (link::<Knot>(1), link::<Text>(0)));
    let mut shown = String::new();
    write!(shown, "{example}").unwrap();
    assert!(shown.contains(&format!(" ... {} more ... ", length + 1 - 32)), "{shown}");
    // A ring of all.
    let mut end = head.clone();
    loop {
        let next = end.slots.borrow().first().cloned().flatten();
        let Some(next) = next else { break };
        end = next;
    }
    tie(&end, &head);
    drop((head, end));
    let leaks = mutator.survey().leaks().unwrap();
    let HeldBy::Cycle { links, left_out } = &of::<Knot>(&leaks).example.held_by else { panic!("{leaks}") };
    assert_eq!((links.len(), *left_out), (32, length + 1 - 32));
}

/// Types stand by their bytes; what may be borrowed is said not to have been looked into.
#[test]
fn what_is_not_looked_into_is_said() {
    let mutator = attach();
    let (one, two) = (knot(&mutator), knot(&mutator));
    tie(&one, &two);
    drop(two);
    let mut big = mutator.alloc_tail_copy((), &[0; 5_000]).unwrap();
    assert!(big.parts_mut().is_some());
    let leaks = mutator.survey().leaks().unwrap();
    assert_eq!(leaks.types.iter().map(|leaked| leaked.live.objects).collect::<Vec<_>>(), [1, 2]);
    // The second one has been let go of and may be garbage, so it is looked into; the first may be borrowed.
    assert_eq!((leaks.closed, of::<Knot>(&leaks).held), (2, 2));
    let report = leaks.to_string();
    assert!(
        report.ends_with("2 objects were not looked into as they may be borrowed, and 0 as they were being changed\n")
    );
    let borrowed = one.slots.borrow_mut();
    let leaks = mutator.survey().root(&one).leaks().unwrap();
    assert_eq!((leaks.busy, leaks.closed), (1, 1));
    drop(borrowed);
    drop(big);
}

/// The same in two mutators that did the same, though their objects lie elsewhere.
#[test]
#[cfg_attr(feature = "v2", ignore = "objects are found in the order of their addresses")]
fn the_report_does_not_depend_on_where_objects_lie() {
    let report = |before: usize| {
        let others: Vec<_> = (0..before).map(|_| vec![0u8; 1 << 20]).collect();
        let runtime = Runtime::new().unwrap();
        let crowd = (before > 0).then(|| runtime.attach().unwrap());
        let _kept: Option<Vec<_>> =
            crowd.as_ref().map(|crowd| (0..10_000).map(|value| crowd.alloc([value as u64; 5]).unwrap()).collect());
        let mutator = runtime.attach().unwrap();
        let mut knots = vec![knot(&mutator)];
        for index in 1..2_000 / SCALE {
            let next = knot(&mutator);
            tie(&knots[index * 7 % knots.len()], &next);
            if index % 5 == 0 {
                tie(&next, &knots[index * 3 % knots.len()]);
            }
            knots.push(next);
        }
        let kept = knots.swap_remove(knots.len() / 2);
        drop(knots);
        let report = mutator.survey().root(&kept).leaks().unwrap().to_string();
        drop((kept, others));
        report
    };
    let first = report(0);
    assert!(first.contains("held outside"), "{first}");
    assert_eq!(first, report(40));
}
