//! Rust's own allocations on the heartbeat.
//!
//! The harness runs each test on a thread of its own, and what a thread without a mutator allocates is nobody's.

use std::alloc::{GlobalAlloc, Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use mimalloc_runtime::{
    Beat, Budget, Cause, ChargingAlloc, HookCall, Interrupted, Mutator, Pacing, Ref, Runtime, Trace, When,
    register_deferred_free,
};

#[global_allocator]
static GLOBAL: ChargingAlloc = ChargingAlloc;

const BEAT: u64 = 1024;

fn attach() -> Mutator {
    Runtime::new().unwrap().attaching().beat_bytes(BEAT).unwrap().attach().unwrap()
}

/// Beats after everything due was settled.
fn beats(mutator: &Mutator) -> u64 {
    mutator.safepoint();
    mutator.metrics().beats
}

/// One allocation of so many bytes, gone again.
fn allocate(bytes: usize) {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
}

#[derive(Trace)]
struct Link {
    _next: Option<Ref<Link>>,
}

#[test]
fn vectors_and_boxes_beat() {
    let mutator = attach();
    assert_eq!(beats(&mutator), 0, "attaching is not charged");
    // A vector of bytes that doubles: 8, 16, ... 65536.
    let mut bytes = vec![7u8; 8];
    while bytes.len() < 1 << 16 {
        bytes.reserve_exact(bytes.len());
        bytes.resize(bytes.capacity(), 7);
    }
    let asked: u64 = (3..=16).map(|log| 1u64 << log).map(|size| size.max(16)).sum();
    assert_eq!(beats(&mutator), asked / BEAT);
    assert_eq!(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 7 << 16);
    let zeroed = vec![0u8; 10_000];
    let asked = asked + 10_240;
    assert!(zeroed.iter().all(|byte| *byte == 0));
    assert_eq!(beats(&mutator), asked / BEAT);
    let boxes: [Box<[u64; 16]>; 8] = std::array::from_fn(|_| Box::new([1; 16]));
    let asked = asked + 8 * 128;
    assert_eq!(beats(&mutator), asked / BEAT);
    drop((bytes, zeroed, boxes));
    assert_eq!(beats(&mutator), asked / BEAT, "a free is not charged");
    // Not its blocks: no figure of bytes in use has changed.
    let metrics = mutator.metrics();
    assert_eq!((metrics.block_bytes, metrics.peak_in_use_bytes, metrics.debt), (0, 0, 0));
}

/// Over-aligned, resized, zeroed: the engine keeps what Rust was promised.
#[test]
fn blocks_are_as_rust_expects_them() {
    let _mutator = attach();
    for align in [1, 2, 8, 16, 32, 4096, 1 << 17] {
        for size in [1, 7, 8, 9, 100, 5_000, 1 << 20] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: not of no size.
            let block = unsafe { alloc_zeroed(layout) };
            assert_eq!(block as usize % align, 0);
            // SAFETY: `size` zeroed bytes.
            assert!(unsafe { std::slice::from_raw_parts(block, size) }.iter().all(|byte| *byte == 0));
            // SAFETY: within the block.
            unsafe { block.write_bytes(5, size) };
            // SAFETY: allocated above with this layout, and not used again.
            let block = unsafe { realloc(block, layout, 2 * size) };
            assert_eq!(block as usize % align, 0);
            // SAFETY: the first `size` bytes were written.
            assert!(unsafe { std::slice::from_raw_parts(block, size) }.iter().all(|byte| *byte == 5));
            // SAFETY: allocated with this layout.
            unsafe { dealloc(block, Layout::from_size_align(2 * size, align).unwrap()) };
            // SAFETY: not of no size.
            let block = unsafe { alloc(layout) };
            assert_eq!(block as usize % align, 0);
            // SAFETY: allocated with this layout.
            unsafe { dealloc(block, layout) };
        }
    }
}

/// An allocation of Rust runs nothing: no handler, no step. What is due waits for the mutator.
#[test]
fn nothing_runs_inside_an_allocation() {
    let mutator = attach();
    let told = Rc::new(RefCell::new(Vec::<Beat>::with_capacity(16)));
    let seen = Rc::clone(&told);
    mutator.on_beat(When::Every(1), move |_, beat| seen.borrow_mut().push(beat)).unwrap();
    drop((0..1_000).fold(None, |next, _| Some(mutator.alloc(Link { _next: next }).unwrap())));
    mutator.safepoint();
    told.borrow_mut().clear();
    let before = mutator.metrics();
    for _ in 0..100 {
        allocate(BEAT as usize);
    }
    let after = mutator.metrics();
    assert!(told.borrow().is_empty());
    assert_eq!((after.steps, after.freed, after.beats), (before.steps, before.freed, before.beats));
    // All of it is due at once, as after one allocation of the same size.
    drop(mutator.alloc(1u64).unwrap());
    assert_eq!(*told.borrow(), [Beat { number: before.beats + 100, passed: 100 }]);
    let steps = mutator.metrics().steps;
    assert_eq!(steps.count, before.steps.count + 1);
    assert_eq!(steps.by_cause[Cause::Beat as usize], before.steps.by_cause[Cause::Beat as usize] + 1);
    allocate(10 * BEAT as usize);
    mutator.safepoint();
    assert_eq!(told.borrow().last().unwrap().passed, 10);
}

/// What Rust allocates pays for what has died: at a ratio of 1 some bytes for as many.
#[test]
fn allocations_of_rust_pay_for_freeing() {
    let pacing = Pacing::default().with_ratio(1.0).unwrap().with_pause_cap(Budget::Unbounded).unwrap();
    let mutator = Runtime::new().unwrap().attaching().pacing(pacing).beat_bytes(1 << 40).unwrap().attach().unwrap();
    drop((0..10_001).fold(None, |next, _| Some(mutator.alloc(Link { _next: next }).unwrap())));
    mutator.safepoint();
    assert_eq!(mutator.metrics().freed.objects, 1);
    allocate(16 << 10);
    allocate(16 << 10);
    mutator.safepoint();
    assert_eq!(mutator.metrics().freed.objects, 1 + 2_048, "objects of 16 bytes");
    // `collect` keeps to its budget: what is due waits for the next safepoint.
    allocate(16 << 10);
    assert_eq!(mutator.collect(Budget::Units(10)).freed.objects, 5);
    assert_eq!(mutator.metrics().freed.objects, 1 + 2_048 + 5);
    mutator.safepoint();
    assert_eq!(mutator.metrics().freed.objects, 1 + 2_048 + 5 + 1_024);
}

/// A small machine: a stack of values, strings in Rust's heap, objects in the VM's.
fn program(mutator: &Mutator) -> u64 {
    #[derive(Trace)]
    struct Pair {
        text: String,
        _rest: Option<Ref<Pair>>,
    }
    let mut stack: Vec<Ref<Pair>> = Vec::new();
    let mut length = 0;
    for round in 0..3_000usize {
        let text = "x".repeat(round % 100);
        let rest = (round % 3 == 0).then(|| stack.pop()).flatten();
        stack.push(mutator.alloc(Pair { text, _rest: rest }).unwrap());
        if round % 500 == 499 {
            length += stack.drain(..).map(|pair| pair.text.len()).sum::<usize>();
        }
        mutator.safepoint();
    }
    length as u64
}

/// P4: also for a thread that comes first to a type, or to a pool that others have filled.
#[test]
fn equal_programs_have_equal_beats() {
    let run = || {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attaching().beat_bytes(BEAT).unwrap().attach().unwrap();
        let told = Rc::new(RefCell::new(Vec::with_capacity(10_000)));
        let seen = Rc::clone(&told);
        mutator.on_beat(When::Every(1), move |_, beat| seen.borrow_mut().push(beat)).unwrap();
        let length = program(&mutator);
        assert_eq!(mutator.collect(Budget::Unbounded).pending.objects, 0);
        assert_eq!((mutator.metrics().live.now.objects, mutator.metrics().block_bytes), (0, 0));
        let beats = beats(&mutator);
        mutator.detach();
        (told.take(), length, beats)
    };
    let first = thread::spawn(run).join().unwrap();
    let others: Vec<_> = (0..4).map(|_| thread::spawn(run)).collect();
    for other in others {
        assert_eq!(other.join().unwrap(), first);
    }
    // Strings and objects: more than the objects alone would make.
    let objects = 3_000 * 48;
    assert!(first.2 > objects / BEAT, "{}", first.2);
}

/// Fuel and deadlines: at the same poll in every run, with whatever other threads ask for and time limits besides.
#[test]
fn equal_programs_are_interrupted_at_the_same_poll() {
    /// Where a program that goes on until it is interrupted is then.
    fn run(deadline: Option<u64>, fuel: Option<u64>, disturbed: bool) -> (Interrupted, u64, u64, u64) {
        let attaching = Runtime::new().unwrap().attaching().beat_bytes(BEAT).unwrap();
        let mutator = attaching.deadline(deadline).fuel(fuel).attach().unwrap();
        let done = AtomicBool::new(false);
        let mut polls = 0;
        thread::scope(|scope| {
            if disturbed {
                mutator.set_time_limit(Some(Duration::from_secs(3600)));
                let (interrupter, done) = (mutator.interrupter(), &done);
                let disturb = move || {
                    while !done.load(Ordering::Relaxed) {
                        assert!(interrupter.run_at_safepoint(|_| ()).is_ok());
                        interrupter.request_safepoint();
                        thread::yield_now();
                    }
                };
                scope.spawn(disturb);
            }
            // Starting a thread allocates here.
            let started = mutator.charged();
            let why = loop {
                if let Err(why) = mutator.poll(3) {
                    break why;
                }
                polls += 1;
                allocate(polls as usize % 100);
                drop(mutator.alloc(polls).unwrap());
            };
            done.store(true, Ordering::Relaxed);
            (why, polls, mutator.charged() - started, mutator.fuel().unwrap_or(0))
        })
    }
    let first = run(None, Some(10_000), false);
    assert_eq!((first.0, first.1, first.3), (Interrupted::OutOfFuel, 3_333, 0));
    let second = run(Some(100), None, false);
    assert!(matches!(second.0, Interrupted::Deadline { deadline: 100, beats: 100 }));
    for _ in 0..10 {
        assert_eq!(run(None, Some(10_000), false), first);
        assert_eq!(run(None, Some(10_000), true), first);
        assert_eq!(run(Some(100), None, false), second);
    }
}

/// What the crate allocates for the process is not charged: the first object of a type adds it to a table.
#[test]
fn the_crate_pays_for_its_own() {
    fn of_a_new_type<const N: usize>(mutator: &Mutator) {
        drop(mutator.alloc([0u8; N]).unwrap());
    }
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(16).unwrap().attach().unwrap();
    // 8 bytes of header and up to 8 more: one beat of 16 each, and nothing besides.
    of_a_new_type::<1>(&mutator);
    of_a_new_type::<2>(&mutator);
    of_a_new_type::<3>(&mutator);
    of_a_new_type::<4>(&mutator);
    of_a_new_type::<5>(&mutator);
    assert_eq!(beats(&mutator), 5);
    drop(register_deferred_free(|_| {}).unwrap());
    assert_eq!(beats(&mutator), 5);
}

#[test]
fn the_mutator_attached_last_pays_until_it_is_gone() {
    let runtime = Runtime::new().unwrap();
    let attach = || runtime.attaching().beat_bytes(BEAT).unwrap().attach().unwrap();
    allocate(100 * BEAT as usize); // nobody's
    let first = attach();
    allocate(BEAT as usize);
    let second = attach();
    allocate(2 * BEAT as usize);
    // An object keeps the second one's state after it is gone, and it pays no more.
    let kept = second.alloc(1u64).unwrap();
    assert_eq!((beats(&first), beats(&second)), (1, 2));
    second.detach();
    allocate(4 * BEAT as usize);
    assert_eq!(beats(&first), 5);
    drop(kept);
    allocate(8 * BEAT as usize);
    assert_eq!(beats(&first), 13);
    // What other threads allocate is theirs.
    thread::scope(|scope| {
        let spawned = beats(&first);
        scope.spawn(|| (0..100).for_each(|_| allocate(BEAT as usize))).join().unwrap();
        // Starting a thread allocates here, less than that.
        assert!(beats(&first) < spawned + 10);
    });
    let before = beats(&first);
    let third = attach();
    drop(first);
    allocate(16 * BEAT as usize);
    assert_eq!(beats(&third), 16);
    assert!(before >= 13);
}

/// Requests that fail and requests beyond all bounds leave clock and counts in order.
#[test]
fn absurd_requests_do_no_harm() {
    let mutator = attach();
    assert!(Vec::<u8>::new().try_reserve_exact(isize::MAX as usize).is_err());
    assert_eq!(beats(&mutator), 0, "not charged");
    // Charged though nothing comes of it: more than a credit holds.
    let layout = Layout::from_size_align(1 << 47, 1).unwrap();
    for _ in 0..1 << 17 {
        // Not through `std::alloc`: the compiler may leave an allocation out that nobody uses, and take it for granted.
        // SAFETY: not of no size.
        let block = unsafe { GLOBAL.alloc(layout) };
        assert!(block.is_null(), "there is no such memory");
    }
    let beats = beats(&mutator);
    assert!(beats >= (1 << 62) / BEAT, "{beats}");
    assert_eq!(mutator.metrics().block_bytes, 0);
    drop(mutator.alloc(1u64).unwrap());
    assert_eq!(mutator.metrics().beats, beats);
}

/// Thread-locals that allocate while they are destroyed, with a mutator among them and without.
#[test]
fn thread_locals_may_allocate_while_they_are_destroyed() {
    struct Allocates(Arc<AtomicU32>, Option<Mutator>);
    impl Drop for Allocates {
        fn drop(&mut self) {
            for size in 1..1_000 {
                allocate(size);
            }
            if let Some(mutator) = self.1.take() {
                assert!(beats(&mutator) > 100);
            }
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static FIRST: RefCell<Option<Allocates>> = const { RefCell::new(None) };
        static SECOND: RefCell<Option<Allocates>> = const { RefCell::new(None) };
        static THIRD: RefCell<Option<Allocates>> = const { RefCell::new(None) };
    }
    for _ in 0..10 {
        let dropped = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&dropped);
        thread::spawn(move || {
            FIRST.set(Some(Allocates(Arc::clone(&count), None)));
            SECOND.set(Some(Allocates(Arc::clone(&count), Some(attach()))));
            THIRD.set(Some(Allocates(count, None)));
        })
        .join()
        .unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    }
}

/// When the engine calls is its own affair, so what a handler that is told of it allocates is not charged.
#[test]
fn handlers_of_the_hook_allocate_without_charge() {
    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }
    let _registration = register_deferred_free(|call| {
        if call == HookCall::Forced {
            allocate(1 << 20);
            CALLS.set(CALLS.get() + 1);
        }
    })
    .unwrap();
    let mutator = attach();
    let before = beats(&mutator);
    mutator.release_memory();
    assert!(CALLS.get() > 0, "the engine has called");
    assert!(beats(&mutator) - before < (1 << 20) / BEAT);
}
