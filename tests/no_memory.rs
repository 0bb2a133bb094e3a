//! Rust's own memory runs out: every function that takes of it says so, and leaves everything as it was. The standard library ends
//! the process where it is not asked otherwise, so that a call that forgot would end this one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::engine::{deliver_messages, on_message};
use mimalloc_runtime::{
    Attach, Budget, Error, ErrorKind, Mutator, Ref, Runtime, Trace, When, register_deferred_free, sys,
};

thread_local! {
    /// Which allocation from now on fails on this thread; 0 for none.
    static NTH: Cell<u32> = const { Cell::new(0) };
    /// Whether all allocations of this thread fail.
    static ALL: Cell<bool> = const { Cell::new(false) };
    /// Bytes that this thread has in large allocations, and the most that there were.
    static TAKEN: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// Those of objects in these tests are smaller.
const LARGE: usize = 16 << 10;

fn take(from: usize, to: usize) {
    let large = |bytes: usize| if bytes < LARGE { 0 } else { bytes as isize };
    let (taken, most) = TAKEN.get();
    let taken = taken + large(to) - large(from);
    TAKEN.set((taken, most.max(taken)));
}

struct Failing;

impl Failing {
    fn fails() -> bool {
        let nth = NTH.get();
        NTH.set(nth.saturating_sub(1));
        nth == 1 || ALL.get()
    }
}

// SAFETY: the system's, or nothing.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Failing::fails() {
            return null_mut();
        }
        take(0, layout.size());
        // SAFETY: handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        take(layout.size(), 0);
        // SAFETY: handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if Failing::fails() {
            return null_mut();
        }
        take(layout.size(), size);
        // SAFETY: handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static GLOBAL: Failing = Failing;

/// Calls `work` with its first allocation failing, then its second, and so on until it needs no more. Returns how many failed.
fn failing<T>(mut work: impl FnMut() -> Result<T, Error>) -> u32 {
    for nth in 1.. {
        NTH.set(nth);
        let result = work();
        let left = NTH.replace(0);
        match result {
            Ok(_) if left > 0 => return nth - 1,
            Ok(_) => panic!("the {nth}. allocation failed, and nobody said so"),
            Err(error) => {
                assert_eq!((error.kind(), left), (ErrorKind::OutOfMemory, 0), "{error}");
            }
        }
    }
    unreachable!("a call needs only so many")
}

/// What the engine says in one test must not be delivered in another.
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Trace)]
struct Link(Option<Ref<Link>>);

fn attach(how: &Attach) -> Result<Mutator, Error> {
    how.clone().attach()
}

#[test]
fn attaching_gives_back_what_it_has_taken() {
    let runtime = Runtime::new().unwrap();
    let plain = runtime.attaching();
    let walled = runtime.attaching().wall(Some(32 << 20)).unwrap();
    for how in [plain, walled] {
        for _ in 0..2 {
            let attach = || {
                let attached = attach(&how);
                // What failed has left nothing behind. A heap that is bound to its thread waits for nobody.
                assert!(runtime.idle_heaps() <= usize::from(!cfg!(feature = "v2")));
                attached
            };
            assert!(failing(attach) >= 3);
            // What was attached is detached.
            assert_eq!(Runtime::walls().reserved, Runtime::walls().free);
        }
        // With several at a time: there is room for all of them in the pool.
        let several: Vec<Mutator> = (0..10).map(|_| attach(&how).unwrap()).collect();
        NTH.set(1);
        drop(several);
        assert_eq!(NTH.replace(0), 1, "to detach takes no memory");
        runtime.release_idle_heaps();
    }
    assert!(Runtime::walls().reserved <= 10);
}

/// Nor does waiting for a lock: many detach at once, while others read the runtime's sums.
#[test]
fn to_detach_takes_no_memory_while_others_are_at_it() {
    const THREADS: usize = 32;
    let rounds = if cfg!(small_tests) { 2 } else { 20 };
    for _ in 0..rounds {
        let runtime = Runtime::new().unwrap();
        let (start, left) = (Barrier::new(THREADS), AtomicUsize::new(THREADS));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mutator = runtime.attach().unwrap();
                    start.wait();
                    NTH.set(1);
                    drop(mutator);
                    assert_eq!(NTH.replace(0), 1, "to detach takes no memory");
                    left.fetch_sub(1, Ordering::Relaxed);
                });
            }
            while left.load(Ordering::Relaxed) > 0 {
                assert!(runtime.metrics().attached <= THREADS as u64);
            }
        });
    }
}

#[test]
fn every_function_of_a_mutator_says_so() {
    let _alone = ALONE.lock();
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    // Each captures something, as what captures nothing needs no memory.
    let number = 7u64;
    assert!(failing(|| mutator.on_beat(When::Every(1), move |_, _| _ = std::hint::black_box(number))) > 0);
    assert!(failing(|| mutator.on_pressure(move |_, _| _ = std::hint::black_box(number))) > 0);
    assert!(failing(|| mutator.observe_steps(move |_| _ = std::hint::black_box(number))) > 0);
    let interrupter = mutator.interrupter();
    assert!(failing(|| interrupter.run_at_safepoint(move |_| _ = std::hint::black_box(number))) > 0);
    assert!(failing(|| mutator.child().attach()) > 0);
    let kept = mutator.alloc(1u8).unwrap();
    assert!(failing(|| mutator.areas()) > 0);
    drop(kept);
    mutator.safepoint();
}

#[test]
fn handlers_of_the_process_say_so() {
    let _alone = ALONE.lock();
    let number = 7u64;
    assert!(failing(|| register_deferred_free(move |_| _ = std::hint::black_box(number))) > 0);
    assert!(failing(|| on_message(move |_| _ = std::hint::black_box(number))) > 0);
    let _silent = on_message(|_| ()).unwrap();
    for nth in 1..20 {
        // SAFETY: any size may be asked for. The engine has something to say about this one.
        assert!(unsafe { sys::mi_malloc(usize::MAX) }.is_null());
        NTH.set(nth);
        deliver_messages();
        NTH.set(0);
    }
}

/// What the crate takes for objects is the mutator's: nothing here needs Rust's memory.
#[test]
fn objects_need_no_memory_of_rusts() {
    let _alone = ALONE.lock();
    let mutator = Runtime::new().unwrap().attach().unwrap();
    NTH.set(1);
    // Types that were not seen before among them.
    let mut list = None;
    for _ in 0..1_000 {
        list = Some(mutator.alloc(Link(list)).unwrap());
    }
    let tail = mutator.alloc_tail(1u8, 100, |at| at as u16).unwrap();
    let tail = mutator.grow_tail(tail, 1_000, |at| at as u16).unwrap();
    let erased = Ref::erase(tail);
    assert!(!Ref::is::<u128>(&erased));
    drop((list, erased));
    mutator.collect(Budget::Units(100));
    mutator.safepoint();
    mutator.poll(1).unwrap();
    let metrics = mutator.metrics();
    mutator.detach();
    assert_eq!(NTH.replace(0), 1);
    assert!(metrics.freed.objects > 0);
}

#[derive(Trace, Default)]
struct Knot {
    ties: RefCell<Vec<Ref<Knot>>>,
}

fn tie(from: &Ref<Knot>, to: &Ref<Knot>) {
    from.ties.borrow_mut().push(to.clone());
}

/// Structures that lead to themselves: a ring, a star of which the points lead back, a tree of which the leaves lead back, and a clique. All of
/// them more than a list takes at least, but the last, which has objects to which more references lead than a header counts.
fn knots(mutator: &Mutator, size: usize) -> Vec<Ref<Knot>> {
    let knot = || mutator.alloc(Knot::default()).unwrap();
    let mut all = Vec::new();
    let first = knot();
    let mut last = first.clone();
    for _ in 1..size {
        let next = knot();
        tie(&last, &next);
        last = next;
    }
    tie(&last, &first);
    all.push(first);
    let star = knot();
    let mut ray = star.clone();
    for number in 1..size {
        let point = knot();
        tie(&point, &star);
        if number % 1000 == 1 {
            tie(&star, &point);
            ray = point;
        } else {
            tie(&ray, &point);
        }
    }
    all.push(star);
    let tree: Vec<_> = (0..size).map(|_| knot()).collect();
    for (index, knot) in tree.iter().enumerate().skip(1) {
        tie(&tree[(index - 1) / 3], knot);
    }
    tree[size / 3..].iter().for_each(|leaf| tie(leaf, &tree[0]));
    all.push(tree[0].clone());
    let clique: Vec<_> = (0..200).map(|_| knot()).collect();
    clique.iter().for_each(|from| clique.iter().for_each(|to| tie(from, to)));
    all.push(clique[0].clone());
    all
}

/// What a search lists is not more than a byte for each live object, or 512 KiB, on each list (version 2: an address for each); two are long here,
/// and no candidate has to wait.
#[test]
fn a_search_takes_little_memory() {
    let small = cfg!(small_tests);
    let size = if small { 25_000 } else { 300_000 };
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let before = TAKEN.get().0;
    TAKEN.set((before, before));
    let in_use = knots(&mutator, size);
    drop(in_use.clone());
    drop(knots(&mutator, size));
    let live = mutator.metrics().live.now.objects;
    assert_eq!(live as usize, 6 * size + 400);
    let mut steps = 0;
    while !mutator.collect(Budget::Units(1000)).is_done() {
        steps += 1;
    }
    let most = (TAKEN.get().1 - before) as u64;
    let list = if cfg!(feature = "v2") { 8 * live } else { live.max(512 << 10) };
    // With what a chunk has, and the map of objects to which many references lead.
    assert!(most <= 2 * (list + (32 << 10)) + (64 << 10), "{most} for {live} objects");
    // So that there was a list, and it was full.
    assert!(most >= live.max(512 << 10) && steps > 1000, "{most}, {steps}");
    assert_eq!(mutator.metrics().live.now.objects, live / 2);
    drop(in_use);
    while !mutator.collect(Budget::Units(1000)).is_done() {}
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

/// Garbage is found also where Rust has no memory at all, save what needs the map of objects to which many references lead; that is found when there
/// is again.
#[test]
fn garbage_is_found_without_memory() {
    let size = if cfg!(small_tests) { 1_000 } else { 40_000 };
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let in_use = knots(&mutator, size);
    drop(in_use.clone());
    drop(knots(&mutator, size));
    let live = mutator.metrics().live.now.objects;
    ALL.set(true);
    let mut steps = 0;
    while !mutator.collect(Budget::Units(1000)).is_done() {
        steps += 1;
    }
    ALL.set(false);
    assert!(steps > 10);
    let metrics = mutator.metrics();
    // The ring of each; the center of the star, the root of the tree and the clique have more references than a header counts.
    let found = live - metrics.live.now.objects;
    assert!(found >= size as u64, "{found} {:?}", metrics.trials);
    // A probe that came upon as much as this is given up.
    assert_eq!((metrics.trials.forgotten, metrics.trials.given_up), (0, metrics.trials.probes));
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.metrics().live.now.objects, live / 2);
    drop(in_use);
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

/// Looking at the whole heap takes memory for each object: where that is missing nothing is left of the look.
#[test]
fn looking_at_the_heap_says_so() {
    let _alone = ALONE.lock();
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let mut list = None;
    for _ in 0..300 {
        list = mutator.alloc(Link(list)).ok();
    }
    let list: Ref<Link> = list.unwrap();
    // Any error of that kind.
    let out_of_memory = || {
        NTH.set(1);
        mutator.on_beat(When::Every(1), |_, _| {}).unwrap_err()
    };
    let missing = [
        failing(|| {
            let survey = mutator.survey().root(&list).complete();
            // Tools would see that words are read which were never written.
            let survey = if cfg!(small_tests) { survey } else { survey.words() };
            survey.verify().map(|found| assert_eq!(found.problems, []))
        }),
        failing(|| mutator.survey().root(&list).leaks()),
        failing(|| {
            // A writer that needs none.
            let mut written = [0; 64 << 10];
            let written = mutator.survey().root(&list).write_heap_snapshot(&mut &mut written[..], &mut ());
            written.map_err(|error| {
                assert_eq!((error.kind(), NTH.get()), (std::io::ErrorKind::OutOfMemory, 0), "{error}");
                out_of_memory()
            })
        }),
    ];
    assert!(missing.iter().all(|missing| *missing > 5), "{missing:?}");
    let found = mutator.survey().root(&list).complete().verify().unwrap();
    assert_eq!((found.problems, found.objects), (vec![], 300));
}
