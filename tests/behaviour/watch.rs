//! What other threads read of mutators, and of a runtime.

use std::alloc::Layout;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{
    Budget, Finalize, Finalizers, Metrics, Mutator, Ref, Runtime, RuntimeMetrics, Tail, Tally, Trace, Trials, Watch,
    counted_bytes,
};

use crate::SCALE;
use crate::graph::{self, node};

/// The sum over what holds all objects that were ever allocated.
fn sum(tallies: [Tally; 4]) -> Tally {
    let of = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum();
    Tally { objects: of(|tally| tally.objects), bytes: of(|tally| tally.bytes) }
}

/// What holds between the figures of any one moment.
fn check(metrics: &Metrics) {
    let Metrics { allocated, freed, live, pending, abandoned, .. } = *metrics;
    assert_eq!(allocated, sum([freed, live.now, pending.now, abandoned]), "{metrics:?}");
    assert_eq!(metrics.in_use_bytes, metrics.block_bytes + allocated.bytes - freed.bytes, "{metrics:?}");
    assert_eq!(metrics.steps.count, metrics.steps.by_cause.iter().sum::<u64>(), "{metrics:?}");
    assert!(metrics.steps.max_units <= metrics.steps.units, "{metrics:?}");
    let Trials { begun, probes, given_up, members, garbage, .. } = metrics.trials;
    assert!(given_up <= begun + probes && garbage <= members, "{metrics:?}");
    let Finalizers { registered, due, run } = metrics.finalizers;
    assert!(registered + due + run <= allocated.objects, "{metrics:?}");
}

/// What holds between two readings of the same mutator.
fn check_order(before: &Metrics, after: &Metrics) {
    let counts = |metrics: &Metrics| {
        let Metrics { beats, allocated, freed, steps, trials, finalizers, .. } = *metrics;
        let of_steps =
            [beats, allocated.objects, allocated.bytes, freed.objects, freed.bytes, steps.count, steps.units];
        let Trials { begun, probes, given_up, members, garbage, forgotten } = trials;
        let of_trials = [begun, probes, given_up, members, garbage, forgotten];
        of_steps.into_iter().chain(of_trials).chain([finalizers.run])
    };
    for (before, after) in counts(before).zip(counts(after)) {
        assert!(before <= after);
    }
}

fn check_sums(sums: &RuntimeMetrics) {
    let RuntimeMetrics { allocated, freed, live, pending, abandoned, .. } = *sums;
    assert_eq!(allocated, sum([freed, live, pending, abandoned]), "{sums:?}");
    assert_eq!(sums.in_use_bytes, sums.block_bytes + allocated.bytes - freed.bytes, "{sums:?}");
    assert_eq!(sums.steps.count, sums.steps.by_cause.iter().sum::<u64>(), "{sums:?}");
}

/// Objects of several sizes, of which some stay, chains that die, strings and raw blocks.
fn work(mutator: &Mutator, round: usize, kept: &mut Vec<Ref<Tail<(), u8>>>) {
    drop(graph::chain(mutator, 1 + round as u64 % 50).root);
    kept.push(mutator.alloc_tail_copy((), &[1; 300][..round % 300]).unwrap());
    if kept.len() > 100 {
        kept.swap_remove(round % 100);
    }
    let layout = Layout::from_size_align(1 + round % 2000, 8).unwrap();
    let block = mutator.allocate(layout).unwrap();
    // SAFETY: of this mutator, with this layout, and not used again.
    unsafe { mutator.deallocate(block, layout) };
}

#[test]
fn what_is_read_is_less_than_a_beat_old() {
    const BEAT: u64 = 4096;
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(BEAT).unwrap().attach().unwrap();
    let watch = mutator.watch();
    let (mut objects, mut bytes) = (0, 0);
    for size in (0..200_000 / SCALE).map(|round| round * 7 % 900) {
        let object = mutator.alloc_tail_copy((), &[0u8; 900][..size]).unwrap();
        objects += 1;
        bytes = mutator.charged();
        drop(object);
        let seen = watch.metrics();
        check(&seen);
        assert_eq!(seen.beats, bytes / BEAT, "each beat is seen");
        assert!(seen.allocated.objects <= objects && seen.allocated.bytes <= bytes);
        // The one that completed the beat was being made.
        assert!(bytes - seen.allocated.bytes < BEAT + counted_bytes(Layout::new::<[u8; 900 + 16]>()));
    }
    assert!(watch.metrics().allocated.bytes < bytes, "nothing was shown in between");
    assert_eq!(mutator.metrics(), watch.metrics());
    assert_eq!(watch.metrics().allocated, Tally { objects, bytes });
}

#[test]
fn what_was_asked_for_is_shown_at_its_end() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attaching().limit(Some(100_000)).attach().unwrap();
    let watch = mutator.watch();
    assert_eq!(watch.metrics().limit, Some(100_000), "from the start");
    drop(graph::chain(&mutator, 100).root);
    assert_eq!(watch.metrics().allocated.objects, 0, "no beat has been");
    mutator.collect(Budget::Units(20));
    let seen = watch.metrics();
    assert_eq!((seen.allocated.objects, seen.steps.units > 0), (100, true));
    assert!(seen.freed.objects < 100);
    mutator.release_memory();
    assert_eq!(watch.metrics().freed.objects, 100);

    let refused = Layout::from_size_align(200_000, 8).unwrap();
    let kept = mutator.alloc(7).unwrap();
    mutator.allocate(refused).unwrap_err();
    let seen = watch.metrics();
    check(&seen);
    assert_eq!(seen.ladder.refused, 1);
    assert_eq!((seen.block_bytes, seen.live.now.objects), (0, 1), "what was refused is in no sum");
    mutator.fail_allocation(1);
    mutator.alloc(7).unwrap_err();
    assert_eq!(watch.metrics().ladder.refused, 2);
    assert!(seen.peak_in_use_bytes <= 100_000);
    drop(kept);
}

#[test]
fn a_watch_outlives_the_mutator_and_its_objects() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let (watch, again) = (mutator.watch(), mutator.watch());
    let sums = || {
        let sums = runtime.metrics();
        check_sums(&sums);
        [sums.attached, sums.lingering, sums.ended, sums.live.objects]
    };
    let kept = node(&mutator, None, None);
    let other = node(&mutator, None, None);
    assert!(watch.is_attached());
    assert_eq!(sums(), [1, 0, 0, 0]);
    drop(mutator);
    assert!(!watch.is_attached() && !again.is_attached());
    assert_eq!(watch.metrics().live.now.objects, 2);
    assert_eq!(sums(), [0, 1, 0, 2]);
    drop(other);
    assert_eq!(watch.metrics().live.now.objects, 1, "each death is seen");
    assert_eq!(sums(), [0, 1, 0, 1]);
    drop(kept);
    assert_eq!(sums(), [0, 0, 1, 0]);
    let last = watch.metrics();
    assert_eq!((last.allocated.objects, last.freed.objects, last.live.now.objects), (2, 2, 0));
    assert_eq!(runtime.metrics().freed, last.freed, "what has ended counts on");
    drop(runtime);
    assert_eq!((again.metrics(), watch.is_attached()), (last, false));
}

#[test]
fn a_handler_of_a_beat_finds_it_shown() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let watch = mutator.watch();
    let seen = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&seen);
    mutator
        .on_beat(mimalloc_runtime::When::Every(1), move |_, beat| {
            let metrics = watch.metrics();
            check(&metrics);
            assert_eq!(metrics.beats, beat.number);
            assert_eq!(metrics.block_bytes, 0, "the block that is being made is not in it");
            count.set(count.get() + 1);
        })
        .unwrap();
    let layout = Layout::from_size_align(100_000, 8).unwrap();
    for _ in 0..10 {
        let block = mutator.allocate(layout).unwrap();
        // SAFETY: of this mutator, with this layout, and not used again.
        unsafe { mutator.deallocate(block, layout) };
    }
    mutator.safepoint();
    assert_eq!(seen.get(), 10);
}

#[test]
fn readings_are_whole_while_the_mutator_works() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(512).unwrap().attach().unwrap();
    let watch = mutator.watch();
    let changes = AtomicU64::new(0);
    let read = |watch: Watch| {
        let mut before = watch.metrics();
        while watch.is_attached() {
            let seen = watch.metrics();
            check(&seen);
            check_order(&before, &seen);
            if seen != before {
                changes.fetch_add(1, Ordering::Relaxed);
            }
            before = seen;
        }
        let last = watch.metrics();
        check_order(&before, &last);
        last
    };
    thread::scope(|scope| {
        let readers = [scope.spawn(|| read(watch.clone())), scope.spawn(|| read(watch.clone()))];
        let mut kept = Vec::new();
        let mut round = 0;
        // Until they have seen enough of it, however slow they are.
        while changes.load(Ordering::Relaxed) < 20_000 / SCALE as u64 {
            work(&mutator, round, &mut kept);
            round += 1;
        }
        kept.clear();
        let allocated = mutator.metrics().allocated;
        drop(mutator);
        for reader in readers {
            let last = reader.join().unwrap();
            assert_eq!((last.allocated, last.freed), (allocated, allocated));
        }
    });
}

#[test]
fn a_runtimes_sums_hold_while_mutators_come_and_go() {
    let rounds = if cfg!(small_tests) { 5 } else { 100 };
    let runtime = Runtime::new().unwrap();
    let done = AtomicBool::new(false);
    let readings = AtomicU64::new(0);
    let counted = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut before = runtime.metrics();
            while !done.load(Ordering::Acquire) {
                let seen = runtime.metrics();
                check_sums(&seen);
                assert!(seen.attached <= 4, "{seen:?}");
                assert!(before.ended <= seen.ended);
                assert!(before.allocated.bytes <= seen.allocated.bytes && before.freed.bytes <= seen.freed.bytes);
                assert!(before.beats <= seen.beats && before.steps.count <= seen.steps.count);
                readings.fetch_add(1, Ordering::Relaxed);
                before = seen;
            }
        });
        let workers = [0; 4].map(|_| {
            scope.spawn(|| {
                let mut counted = Tally::default();
                let mut last = 0;
                for round in 0..rounds {
                    let mutator = runtime.attaching().beat_bytes(4096).unwrap().attach().unwrap();
                    let mut kept = Vec::new();
                    // At least once in its life each is seen.
                    while readings.load(Ordering::Relaxed) < last + 2 {
                        work(&mutator, round, &mut kept);
                    }
                    last = readings.load(Ordering::Relaxed);
                    let allocated = mutator.metrics().allocated;
                    counted.objects += allocated.objects;
                    counted.bytes += allocated.bytes;
                    if round % 2 == 0 {
                        drop(mutator);
                    }
                }
                counted
            })
        });
        let counted = workers.map(|worker| worker.join().unwrap());
        done.store(true, Ordering::Release);
        reader.join().unwrap();
        counted
    });
    let sums = runtime.metrics();
    check_sums(&sums);
    assert_eq!((sums.attached, sums.lingering, sums.ended), (0, 0, 4 * rounds as u64));
    let expected = Tally {
        objects: counted.iter().map(|tally| tally.objects).sum(),
        bytes: counted.iter().map(|tally| tally.bytes).sum(),
    };
    assert_eq!((sums.allocated, sums.freed, sums.in_use_bytes), (expected, expected, 0));
    assert_eq!(sums.idle_heaps, runtime.idle_heaps() as u64);
}

#[test]
fn sums_are_of_one_runtime_and_over_all_its_mutators() {
    let (runtime, another) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    assert_eq!(runtime.metrics(), RuntimeMetrics::default());
    let mutators = [(); 3].map(|()| runtime.attach().unwrap());
    let kept: Vec<_> = mutators.iter().map(|mutator| graph::chain(mutator, 10).root).collect();
    let layout = Layout::from_size_align(100, 8).unwrap();
    let blocks = mutators.each_ref().map(|mutator| mutator.allocate(layout).unwrap());
    let dead = graph::chain(&mutators[1], 1_000).root;
    drop(dead);
    mutators[1].collect(Budget::Units(100));
    mutators[2].fail_allocation(1);
    mutators[2].alloc(1).unwrap_err();
    let each = mutators.each_ref().map(Mutator::metrics);
    let sums = runtime.metrics();
    check_sums(&sums);
    assert_eq!(sums.attached, 3);
    assert_eq!(sums.live.objects, 30 + each[1].live.now.objects - 10);
    assert_eq!(sums.allocated.objects, 1_030);
    assert_eq!(sums.block_bytes, 3 * counted_bytes(layout));
    assert_eq!(sums.pending, each[1].pending.now);
    assert_eq!(sums.ladder, each[2].ladder);
    assert_eq!(sums.steps.max_units, each[1].steps.max_units);
    assert_eq!(sums.in_use_bytes, each.iter().map(|metrics| metrics.in_use_bytes).sum::<u64>());
    assert_eq!(another.metrics(), RuntimeMetrics::default());
    for (mutator, block) in mutators.iter().zip(blocks) {
        // SAFETY: of this mutator, with this layout, and not used again.
        unsafe { mutator.deallocate(block, layout) };
    }
    drop(kept);
}

#[test]
fn what_an_ended_mutator_has_left_in_use_is_in_no_sum() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let layout = Layout::from_size_align(100, 8).unwrap();
    let (block, remote) = (mutator.allocate(layout).unwrap(), mutator.remote_free());
    let watch = mutator.watch();
    mutator.metrics();
    assert_eq!(runtime.metrics().block_bytes, counted_bytes(layout));
    drop(mutator);
    let sums = runtime.metrics();
    assert_eq!((sums.ended, sums.block_bytes, sums.in_use_bytes), (1, 0, 0));
    assert_eq!(watch.metrics().block_bytes, counted_bytes(layout), "it has it in the last figures");
    // SAFETY: of that mutator, with this layout, and not used again.
    unsafe { remote.free(block, layout) };
}

/// Part of a ring, with a finalizer that does nothing.
#[derive(Trace, Default)]
struct Link(Cell<Option<Ref<Link>>>);

impl Finalize for Link {
    fn finalize(&self, _: &Mutator) {}
}

/// A ring of two objects, of which one has a finalizer if that is wanted.
fn ring(mutator: &Mutator, is_finalized: bool) -> Ref<Link> {
    let first = if is_finalized { mutator.alloc_finalized(Link::default()) } else { mutator.alloc(Link::default()) };
    let first = first.unwrap();
    let second = mutator.alloc(Link(Cell::new(Some(first.clone())))).unwrap();
    first.0.set(Some(second));
    first
}

/// Until nothing is garbage any more, and no finalizer due.
fn settle(mutator: &Mutator) {
    while !mutator.collect(Budget::Units(100)).is_done() || mutator.metrics().finalizers.due > 0 {}
}

#[test]
fn searches_and_finalizers_are_seen_from_another_thread() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(512).unwrap().attach().unwrap();
    let watch = mutator.watch();
    let seen = [const { AtomicU64::new(0) }; 2];
    let rested = AtomicBool::new(false);
    let read = || {
        let mut before = watch.metrics();
        while !rested.load(Ordering::Acquire) {
            let now = watch.metrics();
            check(&now);
            check_order(&before, &now);
            let changed = [now.trials != before.trials, now.finalizers.run != before.finalizers.run];
            for (seen, changed) in seen.iter().zip(changed) {
                seen.fetch_add(changed.into(), Ordering::Relaxed);
            }
            before = now;
        }
        watch.metrics()
    };
    thread::scope(|scope| {
        let reader = scope.spawn(read);
        let kept = ring(&mutator, true);
        let (mut rings, mut finalized) = (0, 0);
        while seen.iter().any(|seen| seen.load(Ordering::Relaxed) < 10) {
            let is_finalized = rings % 10 == 0;
            drop(ring(&mutator, is_finalized));
            (rings, finalized) = (rings + 1, finalized + u64::from(is_finalized));
            mutator.poll(1).unwrap();
            // Where the reader has no processor of its own, it sees nothing otherwise, and rings are made for ever.
            thread::yield_now();
        }
        settle(&mutator);
        let said = mutator.metrics();
        rested.store(true, Ordering::Release);
        assert_eq!(reader.join().unwrap(), said);
        assert_eq!(said.trials.garbage, 2 * rings, "{said:?}");
        assert!(said.trials.begun > 0 && said.trials.members >= said.trials.garbage, "{said:?}");
        assert_eq!(said.finalizers, Finalizers { registered: 1, due: 0, run: finalized });
        drop(kept);
    });
}

/// What a watch shows once they have run is not what it showed before: nothing else need happen for long.
#[test]
fn finalizers_that_have_run_are_shown_at_once() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let watch = mutator.watch();
    let run = || watch.metrics().finalizers.run;
    for (number, reach) in [
        Mutator::safepoint,
        |mutator: &Mutator| mutator.poll(1).unwrap(),
        |mutator: &Mutator| {
            mutator.collect(Budget::Unbounded);
        },
    ]
    .into_iter()
    .enumerate()
    {
        drop(mutator.alloc_finalized(Link::default()).unwrap());
        assert_eq!(run(), number as u64);
        reach(&mutator);
        assert_eq!((run(), watch.metrics().finalizers.due, watch.metrics().beats), (number as u64 + 1, 0, 0));
    }
}

#[test]
fn searches_and_finalizers_of_a_mutator_that_has_gone_count_on() {
    let runtime = Runtime::new().unwrap();
    let counts = || {
        let RuntimeMetrics { trials, finalizers, .. } = runtime.metrics();
        (trials, finalizers)
    };
    let [first, second] = [(); 2].map(|()| runtime.attach().unwrap());
    let (kept, other) = (ring(&first, true), ring(&second, true));
    for _ in 0..10 {
        drop((ring(&first, true), ring(&second, false)));
    }
    settle(&first);
    settle(&second);
    let each = [&first, &second].map(Mutator::metrics);
    assert_eq!(each.map(|metrics| metrics.trials.garbage), [20, 20]);
    assert_eq!(each.map(|metrics| metrics.finalizers.registered), [1, 1]);
    assert_eq!(each.map(|metrics| metrics.finalizers.run), [10, 0]);
    let of = |part: fn(&Trials) -> u64| each.iter().map(|metrics| part(&metrics.trials)).sum();
    let sum = Trials {
        begun: of(|trials| trials.begun),
        probes: of(|trials| trials.probes),
        given_up: of(|trials| trials.given_up),
        members: of(|trials| trials.members),
        garbage: 40,
        forgotten: 0,
    };
    assert_eq!(counts(), (sum, Finalizers { registered: 2, due: 0, run: 10 }));

    // Its ring is found when that is given up, and the finalizer is run by the other one: each counts for the one that has gone.
    drop(first);
    assert_eq!(runtime.metrics().lingering, 1);
    drop(kept);
    assert_eq!(counts().1, Finalizers { registered: 1, due: 1, run: 10 });
    second.safepoint();
    assert_eq!(counts().1, Finalizers { registered: 1, due: 0, run: 11 });
    assert_eq!((runtime.metrics().ended, second.metrics().finalizers.run), (1, 0));
    assert!(counts().0.garbage >= 40 && counts().0.begun > sum.begun);

    // A finalizer that goes with its heap has not run, and is not there any more.
    drop(other);
    let lost = second.alloc_finalized(Link::default()).unwrap();
    let watch = second.watch();
    let before = second.metrics();
    core::mem::forget(lost);
    // SAFETY: nothing of it is used again; there are no raw blocks, and no handles of the heap.
    unsafe { second.destroy_unchecked(mimalloc_runtime::Residues::Drop) }.unwrap();
    assert_eq!(before.finalizers.registered + before.finalizers.due, 2);
    let after = watch.metrics();
    assert_eq!((after.trials, after.finalizers), (before.trials, Finalizers::default()));
    assert_eq!(counts().1, Finalizers { registered: 0, due: 0, run: 11 });
}
