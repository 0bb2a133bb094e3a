//! Stress: `Attach::stress`.

use std::alloc::Layout;
use std::cell::Cell;
use std::rc::Rc;

use mimalloc_runtime::cell::RefCell as Watched;
use mimalloc_runtime::{Cause, Interrupted, Metrics, Mutator, Pacing, Ref, Runtime, Stress, Tail, Trace};

fn stressed(pacing: Pacing) -> Mutator {
    Runtime::new().unwrap().attaching().pacing(pacing).stress(Some(Stress::new())).attach().unwrap()
}

#[derive(Trace)]
struct Node {
    value: u64,
    others: Watched<Vec<Ref<Node>>>,
}

fn ring(mutator: &Mutator, nodes: usize) {
    let node = |value| mutator.alloc(Node { value, others: Watched::new(Vec::new()) }).unwrap();
    let all: Vec<_> = (0..nodes as u64).map(node).collect();
    for (index, node) in all.iter().enumerate() {
        node.others.borrow_mut().push(all[(index + 1) % nodes].clone());
        assert_eq!(node.value, index as u64);
    }
}

/// One unit at each allocation, and not one more: a dead object of a thousand slots goes in as many pieces.
#[test]
fn each_allocation_does_one_unit_whatever_the_pacing() {
    let lazy = Pacing::default().with_installment(1 << 20).unwrap();
    for pacing in [Pacing::default(), Pacing::stress(), lazy] {
        let mutator = stressed(pacing);
        let leaf = mutator.alloc(7u64).unwrap();
        let wide: Ref<Tail<(), Ref<u64>>> = mutator.alloc_tail((), 1000, |_| leaf.clone()).unwrap();
        let kept: Vec<_> = (0..10).map(|_| mutator.alloc([0u64; 2]).unwrap()).collect();
        assert_eq!(mutator.metrics().steps.count, 0, "nothing is dead");
        drop(wide);
        for done in 1..1000 {
            mutator.alloc([0u64; 2]).unwrap();
            let steps = mutator.metrics().steps;
            assert_eq!((steps.count, steps.units, steps.max_units), (done, done, 1));
        }
        assert_eq!(mutator.metrics().pending.now.objects, 1);
        // With its last slot it is freed, which is one more.
        mutator.alloc([0u64; 2]).unwrap();
        assert_eq!((mutator.metrics().pending.now.objects, mutator.metrics().steps.units), (0, 1001));
        assert!(mutator.metrics().steps.max_units <= 1 + mimalloc_runtime::SLACK_UNITS);
        drop(kept);
    }
}

/// A poll that finds no trial begins one, and each does a step of it.
#[test]
fn each_poll_does_a_step_of_a_trial() {
    let mutator = stressed(Pacing::default());
    mutator.poll(1).unwrap();
    assert_eq!(mutator.metrics().trials.begun, 0, "without candidates there is nothing to try");
    ring(&mutator, 10);
    let search = |mutator: &Mutator| mutator.metrics().steps.by_cause[Cause::Search as usize];
    assert_eq!((mutator.metrics().trials.begun, search(&mutator)), (0, 0), "allocation begins none");
    let mut polls = 0;
    while mutator.metrics().trials.garbage < 10 {
        mutator.poll(1).unwrap();
        polls += 1;
        assert!(mutator.metrics().trials.begun > 0);
        assert_eq!(search(&mutator), polls);
        assert!(polls < 1_000, "{:?}", mutator.metrics().trials);
    }
    assert!(polls > 30, "each does one unit: {polls}");
    let before = mutator.metrics().steps.max_units;
    assert!(before <= 1 + mimalloc_runtime::SLACK_UNITS, "{before}");
    while mutator.metrics().live.now.objects + mutator.metrics().pending.now.objects > 1 {
        mutator.alloc(1u64).unwrap();
        mutator.safepoint();
    }
}

/// Where a program stops by its fuel and its deadline, and what it has counted until then.
fn run(stress: Option<Stress>) -> (Metrics, Interrupted, u64, Option<u64>, u64) {
    let mutator = Runtime::new().unwrap().attaching().stress(stress).limit(Some(8 << 20)).attach().unwrap();
    mutator.set_fuel(Some(100_000));
    mutator.set_deadline(Some(200));
    let told = Rc::new(Cell::new(0));
    let tells = Rc::clone(&told);
    mutator.on_beat(mimalloc_runtime::When::Every(3), move |_, beat| tells.set(tells.get() + beat.number)).unwrap();
    let mut list = None;
    let mut round = 0u64;
    let why = loop {
        if let Err(why) = mutator.poll(1) {
            break why;
        }
        round += 1;
        let text = mutator.alloc_tail_copy((), &vec![1u8; (round % 300) as usize]).unwrap();
        list = Some(mutator.alloc(Link { _rest: list.take(), _text: text }).map_err(drop).unwrap());
        if round % 100 == 0 {
            ring(&mutator, 5);
            list = None;
        }
        if round % 7 == 0 {
            let layout = Layout::from_size_align(round as usize % 5000, 8).unwrap();
            let block = mutator.allocate(layout).unwrap();
            // SAFETY: allocated above, and not used again.
            unsafe { mutator.deallocate(block, layout) };
        }
    };
    let beats = mutator.beats();
    mutator.set_deadline(None);
    (mutator.metrics(), why, beats, mutator.fuel(), told.get())
}

#[derive(Trace)]
struct Link {
    _rest: Option<Ref<Link>>,
    _text: Ref<Tail<(), u8>>,
}

#[test]
fn beats_and_fuel_and_where_a_program_ends_are_the_same() {
    let (plain, why, beats, fuel, told) = run(None);
    let (under, why_under, beats_under, fuel_under, told_under) = run(Some(Stress::new().verify_every(1)));
    assert_eq!((why, beats, fuel, told), (why_under, beats_under, fuel_under, told_under));
    assert_eq!(why, Interrupted::Deadline { deadline: 200, beats: 200 });
    assert_eq!((plain.allocated, plain.beats), (under.allocated, under.beats));
    assert!(under.steps.count > 10 * plain.steps.count && under.panics == 0);
}

#[test]
fn without_it_nothing_is_different() {
    let metrics = |metrics: Metrics| Metrics { engine_calls: Default::default(), ..metrics };
    let attach =
        |stress: Option<Stress>| Runtime::new().unwrap().attaching().stress(Some(Stress::new())).stress(stress);
    let counted = |mutator: Mutator| {
        for _ in 0..1000 {
            ring(&mutator, 3);
            mutator.poll(1).unwrap();
        }
        (metrics(mutator.metrics()), mutator.metrics().trials)
    };
    let plain = counted(Runtime::new().unwrap().attach().unwrap());
    assert_eq!(counted(attach(None).attach().unwrap()), plain);
    let under = counted(attach(Some(Stress::new())).attach().unwrap());
    assert!(under.0.steps.count > plain.0.steps.count && under.1.begun > plain.1.begun);
}

#[test]
fn a_child_is_under_the_same_stress() {
    let mutator = stressed(Pacing::default());
    for (child, is_stressed) in
        [(mutator.child().attach().unwrap(), true), (mutator.child().stress(None).attach().unwrap(), false)]
    {
        let leaf = child.alloc(1u64).unwrap();
        drop(child.alloc_tail((), 100, |_| leaf.clone()).unwrap());
        child.alloc(1u64).unwrap();
        assert_eq!(child.metrics().steps.count, u64::from(is_stressed));
    }
}

/// What a place holds that was freed, when it is handed out again: none of what was there before. Where the engine is built to watch the
/// use of memory it has patterns of its own, and a tool would see that memory is read which nobody has written.
#[cfg(not(engine_watches))]
mod poison {
    use std::ptr::NonNull;

    use super::*;

    /// The bytes at `place`, save the first words, which the engine has written to, as soon as an allocation gives it again.
    fn handed_out_again(mutator: &Mutator, place: NonNull<u8>, layout: Layout) -> Vec<u8> {
        let mut others = Vec::new();
        let found = loop {
            let block = mutator.allocate(layout).unwrap();
            if block == place {
                break block;
            }
            others.push(block);
            assert!(others.len() < 100_000, "the place is not handed out again");
        };
        // SAFETY: within the block; a byte of memory that the system gave, whoever has written it.
        let bytes = (16..layout.size()).map(|at| unsafe { found.as_ptr().wrapping_add(at).read_volatile() }).collect();
        for block in others.into_iter().chain([found]) {
            // SAFETY: allocated above with this layout.
            unsafe { mutator.deallocate(block, layout) };
        }
        bytes
    }

    fn filled(mutator: &Mutator, layout: Layout) -> NonNull<u8> {
        let block = mutator.allocate(layout).unwrap();
        // SAFETY: of this size.
        unsafe { block.write_bytes(0x11, layout.size()) };
        block
    }

    const SIZES: [usize; 5] = [24, 64, 1024, 1100, 5000];

    #[test]
    fn a_freed_block_reads_as_poison() {
        for stress in [None, Some(Stress::new())] {
            let expected = if stress.is_some() { Stress::POISON } else { 0x11 };
            let mutator = Runtime::new().unwrap().attaching().stress(stress).attach().unwrap();
            for size in SIZES {
                let layout = Layout::from_size_align(size, 8).unwrap();
                let block = filled(&mutator, layout);
                // SAFETY: allocated above with this layout.
                unsafe { mutator.deallocate(block, layout) };
                assert!(handed_out_again(&mutator, block, layout).iter().all(|byte| *byte == expected), "{size}");
            }
        }
    }

    #[test]
    fn a_block_that_another_thread_has_freed_reads_as_poison() {
        let mutator = stressed(Pacing::default());
        for size in SIZES {
            let layout = Layout::from_size_align(size, 8).unwrap();
            let address = filled(&mutator, layout).as_ptr() as usize;
            let remote = mutator.remote_free();
            let block = move || NonNull::new(address as *mut u8).unwrap();
            // SAFETY: allocated above with this layout.
            std::thread::spawn(move || unsafe { remote.free(block(), layout) }).join().unwrap();
            assert!(handed_out_again(&mutator, block(), layout).iter().all(|byte| *byte == Stress::POISON), "{size}");
        }
    }

    #[test]
    fn what_a_block_has_left_behind_reads_as_poison() {
        let mutator = stressed(Pacing::default());
        let layout = Layout::from_size_align(100, 8).unwrap();
        let block = filled(&mutator, layout);
        // SAFETY: allocated above with this layout, and not used again.
        let moved = unsafe { mutator.reallocate(block, layout, 10_000) }.unwrap();
        assert!(handed_out_again(&mutator, block, layout).iter().all(|byte| *byte == Stress::POISON));
        // SAFETY: of this layout now.
        unsafe { mutator.deallocate(moved, Layout::from_size_align(10_000, 8).unwrap()) };
    }
}
