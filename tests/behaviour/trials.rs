//! What a trial has to bear: objects that are borrowed while it looks, cells that are filled, candidates without room, panics.

use std::cell::{Cell as Plain, OnceCell, RefCell as PlainRefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mimalloc_runtime::cell::{Cell, RefCell};
use mimalloc_runtime::{Budget, Mutator, Pacing, Ref, Runtime, SLACK_UNITS, Slots, Trace, Tracer};

use crate::SCALE;

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

fn live(mutator: &Mutator) -> u64 {
    mutator.metrics().live.now.objects
}

/// What is behind a cell that was looked at before another one was found to be borrowed.
#[test]
fn an_object_that_is_borrowed_in_part_keeps_what_it_refers_to() {
    #[derive(Trace, Default)]
    struct Pair {
        first: RefCell<Option<Ref<Pair>>>,
        second: RefCell<Option<Ref<Pair>>>,
    }
    for budget in [Budget::Unbounded, Budget::Units(10_000), Budget::Units(1)] {
        let mutator = attach();
        let pair = mutator.alloc(Pair::default()).unwrap();
        pair.first.replace(Some(mutator.alloc(Pair::default()).unwrap()));
        // A candidate.
        drop(pair.clone());
        let borrowed = pair.second.borrow_mut();
        while !mutator.collect(budget).is_done() {}
        drop(borrowed);
        assert_eq!(live(&mutator), 2);
        assert!(pair.first.borrow().as_ref().is_some_and(|first| first.second.borrow().is_none()));
        drop(pair);
        mutator.collect(Budget::Unbounded);
        assert_eq!(live(&mutator), 0);
    }
}

/// The slots behind it get other numbers, between two parts of one visit.
#[test]
fn a_cell_that_is_filled_while_its_object_is_looked_at() {
    #[derive(Trace, Default)]
    struct Late {
        once: OnceCell<Vec<Option<Ref<Late>>>>,
        slots: RefCell<Vec<Option<Ref<Late>>>>,
    }
    // Twenty references to itself, and one from outside. The first round is misled by a slot put in front, or the object would be no
    // suspect; the second must not be misled by what is put in front of that.
    let moments = (0..30).flat_map(|first| (0..120).map(move |second| (first, second)));
    for (first, second) in moments.step_by(if SCALE > 1 { 37 } else { 1 }) {
        let mutator = attach();
        let late = mutator.alloc(Late::default()).unwrap();
        *late.slots.borrow_mut() = (0..20).map(|_| Some(late.clone())).collect();
        drop(late.clone());
        let steps = |count| (0..count).for_each(|_| _ = mutator.collect(Budget::Units(1)));
        steps(first);
        late.slots.borrow_mut().insert(0, None);
        steps(second);
        assert!(late.once.set(vec![None]).is_ok());
        while !mutator.collect(Budget::Units(1)).is_done() {}
        assert_eq!(live(&mutator), 1, "{first} {second}");
        drop(late);
        mutator.collect(Budget::Unbounded);
        assert_eq!(live(&mutator), 0, "{first} {second}");
    }
}

/// Panics when it is looked at, so many times.
struct Touchy {
    slot: RefCell<Option<Ref<Touchy>>>,
    times: Plain<u32>,
}

// SAFETY: 1, 2: the one slot. 3, 4: the residue of the cell. 5: changes a cell that no slot depends on. 6: a cell of the crate.
unsafe impl Trace for Touchy {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if self.times.get() > 0 {
            self.times.set(self.times.get() - 1);
            panic!("a trace's panic");
        }
        self.slot.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {}
}

fn touchy(mutator: &Mutator, times: u32) -> Ref<Touchy> {
    mutator.alloc(Touchy { slot: RefCell::default(), times: Plain::new(times) }).unwrap()
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn a_trace_that_always_panics_does_not_keep_a_search_for_ever() {
    let mutator = attach();
    let (one, other) = (touchy(&mutator, u32::MAX), touchy(&mutator, 0));
    one.slot.replace(Some(one.clone()));
    one.slot.replace(Some(other.clone()));
    // Garbage besides is found all the same.
    other.slot.replace(Some(other.clone()));
    let ring = touchy(&mutator, 0);
    ring.slot.replace(Some(ring.clone()));
    drop(ring);
    assert!(panics(|| _ = mutator.collect(Budget::Unbounded)));
    assert_eq!((live(&mutator), one.times.get()), (2, u32::MAX - 1));
    one.times.set(0);
    drop((one, other));
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 0);
}

/// The one that panics was no candidate, and those that were are found in use by it.
#[test]
fn garbage_whose_trace_panics_once_is_freed_the_next_time() {
    for budget in [Budget::Unbounded, Budget::Units(20), Budget::Units(1)] {
        let mutator = attach();
        let (one, other) = (touchy(&mutator, 0), touchy(&mutator, 1));
        other.slot.replace(Some(one.clone()));
        one.slot.replace(Some(other));
        drop(one);
        assert!(panics(|| while !mutator.collect(budget).is_done() {}));
        while !mutator.collect(budget).is_done() {}
        mutator.collect(Budget::Unbounded);
        assert_eq!(live(&mutator), 0, "{budget:?}");
    }
}

thread_local! {
    /// What the panic hook drops on this thread.
    static DROPPED_BY_THE_HOOK: PlainRefCell<Vec<Ref<Touchy>>> = const { PlainRefCell::new(Vec::new()) };
}

/// The panic hook may be anything: here it gives up the last reference to what is being looked at, and makes more candidates than there is room for.
#[test]
fn a_panic_hook_may_give_up_references() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let dropped = DROPPED_BY_THE_HOOK.try_with(|dropped| dropped.take()).unwrap_or_default();
        if dropped.is_empty() {
            before(info);
        }
    }));
    for budget in [Budget::Unbounded, Budget::Units(1_000_000), Budget::Units(7)] {
        let mutator = attach();
        let one = touchy(&mutator, 1);
        drop(one.clone());
        // More than there is room for: each refers to itself.
        let rings = (0..10_000).map(|_| {
            let ring = touchy(&mutator, 0);
            ring.slot.replace(Some(ring.clone()));
            ring
        });
        let rings: Vec<_> = rings.collect();
        DROPPED_BY_THE_HOOK.set(rings.into_iter().chain([one]).collect());
        assert!(panics(|| while !mutator.collect(budget).is_done() {}));
        while !mutator.collect(budget).is_done() {}
        let metrics = mutator.metrics();
        assert_eq!((metrics.live.now.objects, metrics.pending.now.objects, metrics.in_use_bytes), (0, 0, 0));
    }
    // The same where each release is looked into at once.
    for first in [false, true] {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let (one, other) = (touchy(&mutator, 0), touchy(&mutator, 0));
        one.slot.replace(Some(other.clone()));
        other.slot.replace(Some(one.clone()));
        let rings = (0..10_000).map(|_| {
            let ring = touchy(&mutator, 0);
            ring.slot.replace(Some(ring.clone()));
            ring
        });
        let rings: Vec<_> = rings.collect();
        drop(mutator);
        let touched = if first { &one } else { &other };
        touched.times.set(1);
        DROPPED_BY_THE_HOOK.set(rings.into_iter().chain([other.clone()]).collect());
        assert!(panics(|| drop(other)));
        assert_eq!(runtime.metrics().lingering, 1);
        drop(one);
        assert_eq!((runtime.metrics().lingering, runtime.metrics().live.objects), (0, 0));
    }
    drop(std::panic::take_hook());
}

#[test]
fn a_trace_that_panics_after_the_mutator_has_gone_does_not_keep_garbage() {
    for (times, touched_first) in [(1, true), (1, false), (2, true), (2, false), (u32::MAX, true), (u32::MAX, false)] {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let (one, other) = (touchy(&mutator, 0), touchy(&mutator, 0));
        one.slot.replace(Some(other.clone()));
        other.slot.replace(Some(one.clone()));
        let more = other.clone();
        drop(mutator);
        let touched = if touched_first { &one } else { &other };
        touched.times.set(times);
        // It comes out of the drop that caused it, and comes to an end.
        assert!(panics(|| drop(one.clone())));
        assert!(touched.times.get() == 0 || times > 2);
        touched.times.set(0);
        drop((one, other));
        assert_eq!(runtime.metrics().lingering, 1, "{times} {touched_first}");
        drop(more);
        assert_eq!(runtime.metrics().lingering, 0, "{times} {touched_first}");
    }
}

/// Candidates that have to make room for others while a trial gathers and marks are members of it, and counted.
#[test]
fn candidates_without_room_are_counted_as_members() {
    let mutator = attach();
    let rings = (0..20_000).map(|_| {
        let ring = touchy(&mutator, 0);
        ring.slot.replace(Some(ring.clone()));
        ring
    });
    let mut rings: Vec<_> = rings.collect();
    mutator.collect(Budget::Unbounded);
    // As many as there is room for; more come while these are gathered.
    rings.truncate(20_000 - 8_192);
    mutator.collect(Budget::Units(3));
    while !rings.is_empty() {
        rings.truncate(rings.len().saturating_sub(3));
        mutator.collect(Budget::Units(1));
    }
    while !mutator.collect(Budget::Units(1_000)).is_done() {}
    let trials = mutator.metrics().trials;
    assert_eq!((live(&mutator), trials.garbage, trials.members), (0, 20_000, 20_000), "{trials:?}");
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

/// A copy of what is in a cell.
fn look(cell: &Cell<Option<Ref<Link>>>) -> Ref<Link> {
    let found = cell.take().unwrap();
    cell.set(Some(found.clone()));
    found
}

/// A closed chain, whose links refer to each other in both directions.
fn circle(mutator: &Mutator, length: usize) -> Ref<Link> {
    let first = link(mutator);
    let mut last = first.clone();
    for _ in 1..length {
        let next = link(mutator);
        next.previous.set(Some(last.clone()));
        last.next.set(Some(next.clone()));
        last = next;
    }
    first.previous.set(Some(last.clone()));
    last.next.set(Some(first.clone()));
    first
}

/// References move all the time, so that each trial suspects some objects that are in use, and what was suspected once is changed in later
/// ones. That must not cost the garbage beside them their trial.
#[test]
fn garbage_is_found_beside_a_structure_that_is_always_being_changed() {
    let mutator = attach();
    let length = 10_000 / SCALE as u64;
    let first = circle(&mutator, length as usize);
    let (mut at, mut turn, mut most) = (first.clone(), 0u64, 0);
    while turn % 64 > 0 || mutator.metrics().allocated.bytes < (100 << 20) / SCALE as u64 {
        let next = look(&at.next);
        turn += 1;
        if turn % 3 == 0 && !Ref::ptr_eq(&next, &first) && !Ref::ptr_eq(&at, &first) {
            // The next one is taken out of its place, and put before the first.
            let (behind, before) = (next.next.take().unwrap(), next.previous.take().unwrap());
            before.next.set(Some(behind.clone()));
            behind.previous.set(Some(before));
            let last = first.previous.take().unwrap();
            last.next.set(Some(next.clone()));
            next.previous.set(Some(last));
            next.next.set(Some(first.clone()));
            first.previous.set(Some(next));
        } else {
            at = next;
        }
        drop(circle(&mutator, 2));
        mutator.poll(1).unwrap();
        if turn % 64 == 0 {
            most = most.max(mutator.metrics().live.now.bytes);
        }
    }
    let trials = mutator.metrics().trials;
    // Links have 32 bytes. What comes together between two trials is a few times what lives, or, if that is more, the least from one to
    // the next, which is 256 KiB, times the longest patience, which is 16.
    assert!(most < 20 * 32 * length + (4 << 20), "{most}, {trials:?}");
}

/// It is tried less and less often, but not so that garbage of many times its size comes together in the meantime.
#[test]
fn a_structure_that_is_suspected_for_long_does_not_let_garbage_come_together() {
    let mutator = attach();
    let length = 50_000 / SCALE;
    let all = mutator.alloc_tail((), length, |_| link(&mutator)).unwrap();
    for pair in all.items().windows(2) {
        pair[0].next.set(Some(pair[1].clone()));
        pair[1].previous.set(Some(pair[0].clone()));
    }
    let round = |turn: usize, what: &dyn Fn(usize)| {
        for turn in turn..turn + 64 {
            what(turn);
            mutator.poll(1).unwrap();
        }
        mutator.metrics()
    };
    let (mut turn, mut most) = (0, 0);
    let mut metrics = mutator.metrics();
    let live = metrics.live.now.bytes;
    while metrics.allocated.bytes < (100 << 20) / SCALE as u64 {
        turn += 64;
        metrics = round(turn, &|turn| {
            drop(all.items()[turn * 7919 % length].clone());
            drop(mutator.alloc([0u64; 3]).unwrap());
        });
    }
    while metrics.allocated.bytes < (200 << 20) / SCALE as u64 {
        metrics = round(0, &|_| drop(circle(&mutator, 2)));
        most = most.max(metrics.live.now.bytes);
    }
    // To be tried costs a link some ten units, each of which stands for eight bytes.
    assert!(most < 6 * live + (8 << 20), "{most} of {live}, {:?}", mutator.metrics().trials);
}

/// Data that grows is not looked at anew each time that it doubles: probes that lead to much are given up. Each object is looked at once, by the trial
/// that comes when four times as much is in use as after the last; and of every four trials one looks at those that the others have looked at.
#[test]
fn a_structure_that_grows_is_hardly_searched() {
    let mutator = attach();
    // Probes come where there is much.
    let length = if SCALE == 1 { 2_500_000 } else { 600_000 };
    let mut list = link(&mutator);
    for _ in 0..length {
        let head = link(&mutator);
        head.next.set(Some(list.clone()));
        list = head;
        mutator.poll(1).unwrap();
    }
    let trials = mutator.metrics().trials;
    assert!(trials.begun > 1 && trials.garbage == 0, "{trials:?}");
    assert!(trials.probes < 10 && trials.given_up == trials.probes && (trials.probes > 0 || SCALE > 1), "{trials:?}");
    assert!(trials.members < length + length / 4, "{trials:?}");
    // None the worse for it: what was tried in a probe is found when it is garbage.
    list.previous.set(Some(list.clone()));
    drop(list);
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

/// What allocation has paid for is worked off by polls, not by a call that was given a budget of its own.
#[test]
fn a_collection_does_no_more_than_its_budget_while_a_trial_is_due() {
    let mutator = attach();
    // Enough for allocation to begin a probe, and when that has found garbage, a trial.
    for _ in 0..8_000 {
        drop(circle(&mutator, 2));
    }
    assert_eq!((mutator.metrics().trials.probes, mutator.metrics().trials.begun), (1, 0));
    mutator.poll(1).unwrap();
    for _ in 0..8_000 {
        drop(circle(&mutator, 2));
    }
    assert_eq!(mutator.metrics().trials.begun, 1);
    for _ in 0..20 {
        let before = mutator.metrics().steps.units;
        mutator.collect(Budget::Units(2));
        let units = mutator.metrics().steps.units - before;
        assert!((1..=2 + SLACK_UNITS).contains(&units), "{units}");
        drop(circle(&mutator, 2));
    }
    let before = mutator.metrics().steps.units;
    mutator.poll(1).unwrap();
    assert!(mutator.metrics().steps.units > before + 1_000);
}

/// A trial in which a `trace` has panicked is still under way when all garbage is asked for.
#[test]
fn a_collection_without_a_budget_begins_anew_after_a_panic_in_an_earlier_one() {
    let mutator = attach();
    // Candidates that keep the trial at it.
    let others: Vec<_> = (0..100).map(|_| touchy(&mutator, 0)).collect();
    others.iter().for_each(|other| drop(other.clone()));
    let ring = touchy(&mutator, 1);
    ring.slot.replace(Some(ring.clone()));
    drop(ring);
    let mut steps = 0;
    while !panics(|| _ = mutator.collect(Budget::Units(1))) {
        steps += 1;
        assert!(steps < 1_000);
    }
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), 100);
}

/// Candidates for which there is no room wait for a trial, and so does the memory of those that die. That must not come together, and cost
/// units that put the next trial off.
#[test]
fn what_dies_while_it_waits_for_a_trial_is_freed_soon() {
    let mutator = attach();
    // More than there is room for. No garbage: counts free all of them.
    let mut queue = VecDeque::new();
    let mut most = 0;
    while mutator.metrics().allocated.bytes < (100 << 20) / SCALE as u64 {
        for _ in 0..64 {
            let new = link(&mutator);
            drop(new.clone());
            queue.push_back(new);
            if queue.len() > 10_000 {
                queue.pop_front();
            }
            mutator.poll(1).unwrap();
        }
        most = most.max(mutator.metrics().pending.now.bytes);
    }
    assert!(most < 1 << 20, "{most}, {:?}", mutator.metrics().trials);
}

/// Nothing but candidates that die while they wait, and no trial: they are tidied. Those that have not died wait on, and whatever the program does to
/// them meanwhile, they are found when they are garbage.
#[test]
fn what_waits_is_tidied_between_trials() {
    for seed in 1..=if SCALE == 1 { 3 } else { 1 } {
        let pacing = Pacing::default().with_pause_cap(Budget::Units(1_000)).unwrap();
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mut random: u64 = seed;
        let mut any = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005u64).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let mut links: Vec<_> = (0..30_000).map(|_| link(&mutator)).collect();
        // Tried, so that the next trial comes late.
        links.iter().for_each(|link| drop(link.clone()));
        mutator.collect(Budget::Unbounded);
        let before = mutator.metrics().trials;
        for round in 0..3 {
            // 8,192 at most are in the set, so the others wait.
            links.iter().for_each(|link| drop(link.clone()));
            while links.len() > 6_000 {
                match any(9) {
                    0..5 => drop(links.swap_remove(any(links.len()))),
                    5 => drop(links[any(links.len())].clone()),
                    6 => _ = Ref::get_mut(&mut links[any(12)]).map(|link| link.next.take()),
                    7 => {
                        let (from, to) = (any(links.len()), any(links.len()));
                        links[from].next.set(Some(links[to].clone()));
                    }
                    _ => _ = links[any(links.len())].next.take(),
                }
                // What it is paid for with.
                drop(mutator.alloc(0u64).unwrap());
                mutator.poll(1).unwrap();
            }
            assert_eq!(mutator.verify().unwrap().problems, [], "{seed}, {round}");
            // Some 18,000 died while they waited. Of those that are left no more than half are dead, and those that are queued.
            let metrics = mutator.metrics();
            assert!(metrics.pending.now.objects < 9_000, "{seed}, {round}: {metrics:?}");
            links.resize_with(30_000, || link(&mutator));
        }
        let after = mutator.metrics().trials;
        assert_eq!((after.begun, after.garbage), (before.begun, before.garbage), "{seed}");
        for at in 0..links.len() {
            links[at].previous.set(Some(links[(at + 1) % links.len()].clone()));
        }
        drop(links);
        while !mutator.collect(Budget::Units(100)).is_done() {}
        assert_eq!((live(&mutator), mutator.metrics().pending.now.objects), (0, 0), "{seed}");
    }
}

/// What a few large objects leave behind that die while they wait is worth a look at all that wait.
#[test]
fn large_objects_that_die_while_they_wait_are_freed_soon() {
    let mutator = attach();
    let count = 1_000 / SCALE.min(10);
    let tails: Vec<_> = (0..count).map(|_| mutator.alloc_tail(Link::default(), 8_000, |_| 0u64).unwrap()).collect();
    let links: Vec<_> = (0..10_000).map(|_| link(&mutator)).collect();
    tails.iter().for_each(|tail| drop(tail.clone()));
    mutator.collect(Budget::Unbounded);
    tails.iter().for_each(|tail| drop(tail.clone()));
    links.iter().for_each(|link| drop(link.clone()));
    drop(tails);
    assert!(mutator.metrics().pending.now.bytes > count as u64 * 64_000);
    let mut charged = 0;
    while mutator.metrics().pending.now.bytes > 1 << 20 {
        mutator.charge(1 << 14);
        mutator.poll(1).unwrap();
        charged += 1 << 14;
        assert!(charged < 1 << 20, "{:?}", mutator.metrics());
    }
}

/// An old structure becomes garbage, and nothing grows by it. It is found all the same, 64 times the least from one trial to the next after the last one.
#[test]
fn old_garbage_that_hides_is_found() {
    let mutator = attach();
    let length = 1_000;
    let first = circle(&mutator, length);
    for _ in 0..4 {
        drop(first.clone());
        mutator.collect(Budget::Unbounded);
    }
    assert_eq!(live(&mutator), length as u64);
    drop(first);
    let mut charged = 0;
    while live(&mutator) > 0 {
        mutator.charge(1 << 16);
        mutator.poll(1).unwrap();
        charged += 1 << 16;
        assert!(charged < 24 << 20, "{:?}", mutator.metrics().trials);
    }
    assert!(charged > 1 << 20);
}
