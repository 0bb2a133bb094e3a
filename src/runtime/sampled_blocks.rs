//! Test only: what a walk finds in blocks that a profiler of the engine has sampled, against what the engine tells the profiler.

use core::ffi::c_void;
use core::ptr;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::deferred::Budget;
use crate::sys;
use crate::{Mutator, Ref, Runtime, Slots, Tail, Trace, Tracer};

use super::mark::Content;
use super::walk::tests::is_refused;

/// A profiler that samples whatever the engine lets it.
#[repr(C)]
struct Probe {
    profiler: sys::mi_profiler_t,
    /// What was handed out of the blocks that are in use, and how far from the block's start.
    sampled: Mutex<BTreeMap<usize, usize>>,
    /// What is written over the size of the data of a sample; 0 to leave it.
    lie: AtomicUsize,
    /// How many samples come without data.
    without_data: AtomicUsize,
}

/// Whether the profiler is to be told of frees: only then it has data with a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Frees {
    Told,
    Untold,
}

unsafe extern "C" fn on_alloc(
    probe: *mut sys::mi_profiler_t,
    data: *mut sys::mi_profiler_sample_data_t,
    pointer: *mut c_void,
    _: usize,
    _: usize,
    _: u64,
    _: *mut sys::mi_heap_t,
) -> usize {
    // SAFETY: the profiler that this was given with, which is never given back.
    let probe = unsafe { &*probe.cast::<Probe>() };
    if data.is_null() {
        probe.without_data.fetch_add(1, Ordering::Relaxed);
        return 1;
    }
    // Behind the one word of the engine's that the block begins with.
    let block = data as usize - size_of::<usize>();
    probe.lock().insert(pointer as usize, pointer as usize - block);
    let lie = probe.lie.load(Ordering::Relaxed);
    if lie > 0 {
        // SAFETY: the sample's, of which nothing else is read.
        unsafe { (*data).user_data_size = lie };
    }
    1
}

unsafe extern "C" fn on_free(
    probe: *mut sys::mi_profiler_t,
    _: *mut sys::mi_profiler_sample_data_t,
    pointer: *mut c_void,
    _: *mut sys::mi_heap_t,
) {
    // SAFETY: as above.
    let probe = unsafe { &*probe.cast::<Probe>() };
    // What was sampled by another probe is none of ours.
    probe.lock().remove(&(pointer as usize));
}

impl Probe {
    /// With so many bytes of data for each sample, attached to the objects' heap of the mutator, and running. It lives on: the engine may
    /// tell it of a block however late.
    fn attach(mutator: &Mutator, data: usize, frees: Frees) -> &'static Probe {
        let probe = Box::leak(Box::new(Probe {
            profiler: sys::mi_profiler_t {
                reserved: ptr::null_mut(),
                sample_data_size: data,
                initial_sample_rate: 1,
                on_alloc: Some(on_alloc),
                on_free: (frees == Frees::Told).then_some(on_free),
                on_realloc_inplace: None,
                on_snapshot: None,
            },
            sampled: Mutex::default(),
            lie: AtomicUsize::new(0),
            without_data: AtomicUsize::new(0),
        }));
        let [objects, _] = mutator.state().heap.engine_heaps();
        let profiler = ptr::from_mut(probe).cast();
        // SAFETY: a heap and a profiler that are alive.
        assert!(unsafe { sys::mi_heap_profile(objects.as_ptr(), profiler) });
        // SAFETY: attached.
        unsafe { sys::mi_profiler_start(profiler) };
        // SAFETY: leaked above, and shared from here on.
        unsafe { &*profiler.cast() }
    }

    /// No block is sampled from now on.
    fn detach(&self, mutator: &Mutator) {
        let [objects, _] = mutator.state().heap.engine_heaps();
        // SAFETY: a heap that is alive.
        assert!(unsafe { sys::mi_heap_profile(objects.as_ptr(), ptr::null_mut()) });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, usize>> {
        self.sampled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object whose alignment is larger than that of blocks.
#[repr(align(256))]
struct Wide;

// SAFETY: no references, no slots, no residue.
unsafe impl Trace for Wide {
    const SLOTS: Slots = Slots::Fixed(0);
    const RESIDUE: bool = false;
    fn trace(&self, _: &mut Tracer<'_>) {}
    unsafe fn drop_residue(&mut self) {}
}

type Bytes = Ref<Tail<(), u8>>;

/// Objects of many sizes. Their values have no bits in the upper half of any word, as what is mistaken for a header would have.
#[derive(Default)]
struct Kept {
    tails: Vec<Bytes>,
    numbers: Vec<Ref<[u64; 30]>>,
    wide: Vec<Ref<Wide>>,
}

impl Kept {
    fn grow(&mut self, mutator: &Mutator, rounds: usize) {
        for round in 0..rounds {
            let len = [1, 30, 300, 1_000, 1_100, 5_000, 9_000, 70_000][round % 8] + round % 5 * 16;
            self.tails.push(mutator.alloc_tail((), len, |_| 0).unwrap());
            self.numbers.push(mutator.alloc([1; 30]).unwrap());
            self.wide.push(mutator.alloc(Wide).unwrap());
        }
    }

    fn shrink(&mut self) {
        let mut turn = 0usize;
        let mut stays = || {
            turn += 1;
            turn % 3 == 0
        };
        self.tails.retain(|_| stays());
        self.numbers.retain(|_| stays());
        self.wide.retain(|_| stays());
    }

    fn addresses(&self) -> Vec<usize> {
        let tails = self.tails.iter().map(|object| Ref::as_raw(object).as_ptr() as usize);
        let numbers = self.numbers.iter().map(|object| Ref::as_raw(object).as_ptr() as usize);
        let wide = self.wide.iter().map(|object| Ref::as_raw(object).as_ptr() as usize);
        let mut all: Vec<_> = tails.chain(numbers).chain(wide).collect();
        all.sort_unstable();
        all
    }
}

/// The objects that a walk finds, and of the blocks that are sampled what was handed out and how far from the block's start.
fn walked(mutator: &Mutator) -> (Vec<usize>, BTreeMap<usize, usize>) {
    mutator.collect(Budget::Unbounded);
    let (mut objects, mut sampled) = (Vec::new(), BTreeMap::new());
    let visit = |block: sys::engine::FoundBlock, content| {
        if block.before > 0 {
            sampled.insert(block.pointer.as_ptr() as usize, block.before);
        }
        if let Content::Live(object) = content {
            objects.push(object.as_ptr() as usize);
        }
    };
    mutator.state().visit_blocks(visit).unwrap();
    objects.sort_unstable();
    (objects, sampled)
}

/// Whatever a profiler keeps with a sample. The engine tells it of each, so that both are compared block by block.
#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn what_was_handed_out_of_a_sampled_block_is_found() {
    for (data, frees) in [
        (16, Frees::Told),
        (1, Frees::Told),
        (8, Frees::Told),
        (24, Frees::Told),
        (100, Frees::Told),
        (1024, Frees::Told),
        (5000, Frees::Told),
        (0, Frees::Told),
        (16, Frees::Untold),
    ] {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut kept = Kept::default();
        kept.grow(&mutator, 100);
        assert_eq!(walked(&mutator), (kept.addresses(), BTreeMap::new()));
        let probe = Probe::attach(&mutator, data, frees);
        for _ in 0..5 {
            kept.grow(&mutator, 800);
            let (objects, sampled) = walked(&mutator);
            assert_eq!(objects, kept.addresses());
            assert_eq!(sampled, *probe.lock(), "{data}, {frees:?}");
            kept.shrink();
            let (objects, sampled) = walked(&mutator);
            assert_eq!(objects, kept.addresses());
            assert_eq!(sampled, *probe.lock(), "{data}, {frees:?}");
            let (found, live) = (mutator.state().count_blocks().unwrap(), mutator.metrics().live.now);
            assert!(found.blocks == live.objects && found.bytes <= live.bytes, "{found:?} of {live:?}");
        }
        let has_data = data > 0 && frees == Frees::Told;
        let (with, without) = (probe.lock().len(), probe.without_data.load(Ordering::Relaxed));
        assert!(if has_data { with > 100 && without == 0 } else { with == 0 && without > 100 }, "{with}, {without}");
        assert!(with < kept.addresses().len(), "some are not sampled");
        // Those that are in use when it ends stay as they are.
        probe.detach(&mutator);
        kept.grow(&mutator, 100);
        let (objects, sampled) = walked(&mutator);
        assert_eq!((objects, sampled.len()), (kept.addresses(), with));
        drop(kept);
        assert_eq!(walked(&mutator), Default::default());
        assert_eq!(mutator.in_use(), 0);
    }
}

/// A sample of another size than the engine would write, and one of a size that it could, behind which no object begins.
#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn samples_that_are_laid_out_otherwise_are_refused() {
    for lie in [13, 1025, 1032, usize::MAX - 7, usize::MAX, 1024, 512, 64] {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut kept = Kept::default();
        let probe = Probe::attach(&mutator, 16, Frees::Told);
        while probe.lock().len() < 100 {
            kept.grow(&mutator, 100);
        }
        assert_eq!(walked(&mutator).0, kept.addresses());
        probe.lie.store(lie, Ordering::Relaxed);
        let sampled = probe.lock().len();
        let mut liars = Vec::new();
        while probe.lock().len() == sampled {
            liars.push(mutator.alloc([1u64; 30]).unwrap());
        }
        is_refused(&mutator);
        probe.detach(&mutator);
        drop(liars);
        assert_eq!(walked(&mutator).0, kept.addresses());
    }
}

/// Two objects that refer to each other, if there are two of them.
#[derive(Trace, Default)]
struct Half {
    other: crate::cell::Cell<Option<Ref<Half>>>,
}

/// A search that cannot find what it has looked at ends for good: what it thought of the objects must not be taken for another one's thoughts. Nothing
/// that is in use is touched, and what counts alone free is freed.
#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn a_search_that_cannot_walk_on_ends_for_good() {
    let pair = |mutator: &Mutator| {
        let (one, other) = (mutator.alloc(Half::default()).unwrap(), mutator.alloc(Half::default()).unwrap());
        one.other.set(Some(other.clone()));
        other.other.set(Some(one.clone()));
        one
    };
    let mut lost = 0;
    // With every number of steps until it cannot go on.
    for steps in 0..80 {
        let mutator = Runtime::new().unwrap().attaching().stress(Some(crate::Stress::new())).attach().unwrap();
        let in_use: Vec<_> = (0..3).map(|_| pair(&mutator)).collect();
        (0..3).for_each(|_| drop(pair(&mutator)));
        drop(in_use.clone());
        (0..steps).for_each(|_| mutator.safepoint());
        let probe = Probe::attach(&mutator, 16, Frees::Told);
        probe.lie.store(13, Ordering::Relaxed);
        let mut liars = Vec::new();
        while probe.lock().is_empty() {
            liars.push(mutator.alloc([1u64; 30]).unwrap());
        }
        mutator.collect(Budget::Unbounded);
        let trials = mutator.metrics().trials;
        let is_lost = mutator.state().cycles().is_lost();
        lost += u32::from(is_lost);
        probe.detach(&mutator);
        drop(liars);
        for half in in_use {
            let other = half.other.take().unwrap();
            assert!(Ref::ptr_eq(&other.other.take().unwrap(), &half));
        }
        for _ in 0..100 {
            drop(pair(&mutator));
            mutator.safepoint();
        }
        let live = mutator.metrics().live.now.objects;
        mutator.collect(Budget::Unbounded);
        if is_lost {
            assert_eq!((mutator.metrics().trials, live), (trials, mutator.metrics().live.now.objects));
            assert!((200..=206).contains(&live) && trials.forgotten > 0, "{live}, {trials:?}");
            // More candidates than there is room for, which die by their counts.
            let pending = mutator.metrics().pending.now;
            for _ in 0..2 {
                let some: Vec<_> = (0..10_000).map(|_| mutator.alloc(Half::default()).unwrap()).collect();
                drop(some.clone());
                drop(some);
                mutator.collect(Budget::Unbounded);
                assert_eq!(mutator.metrics().pending.now, pending);
            }
            assert_eq!(mutator.metrics().live.now.objects, live);
            if steps % 10 == 0 {
                let refused = mutator.destroy(0).unwrap_err();
                assert_eq!(refused.error.kind(), crate::ErrorKind::EngineMismatch);
            }
        } else {
            assert_eq!(mutator.metrics().live.now.objects, 0);
        }
    }
    assert!(lost > 10, "{lost}");
}
