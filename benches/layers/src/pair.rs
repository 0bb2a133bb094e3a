//! Pairs of an allocation and a free, in a loop: what runs under valgrind.

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use mimalloc_runtime::{ChargingAlloc, Metrics, Mutator, Ref, Runtime, Trace, Watch, When, sys};

use crate::layer::Layer;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) layer: Layer,
    /// Of a block, one of [`SIZES`](crate::layer::SIZES).
    pub(crate) bytes: usize,
    /// Of a heartbeat.
    pub(crate) beat_bytes: u64,
}

/// A beat that is never reached, and fuel that never runs out.
const FAR: u64 = u64::MAX - 1;

/// What can be allocated and freed in pairs.
trait Allocator {
    type Block;

    fn take(&self) -> Self::Block;

    fn give_back(&self, block: Self::Block);
}

/// So many pairs. A function of its own for each allocator, so that two settings of a mutator run the same instructions where
/// they make no difference.
#[inline(never)]
fn repeat<A: Allocator>(allocator: &A, pairs: u64) {
    for _ in 0..pairs {
        allocator.give_back(black_box(allocator.take()));
    }
}

/// Does so many pairs of this scene.
pub(crate) fn run(scene: Scene, pairs: u64) -> Result<(), Box<dyn Error>> {
    match scene.bytes {
        16 => of_size::<16, 1, 0>(scene, pairs),
        64 => of_size::<64, 7, 6>(scene, pairs),
        256 => of_size::<256, 31, 30>(scene, pairs),
        1024 => of_size::<1024, 127, 126>(scene, pairs),
        bytes => Err(format!("there is no pair of {bytes} bytes").into()),
    }
}

/// `WORDS` is what is left of the block behind a header of one word, `REST` behind two words.
fn of_size<const BYTES: usize, const WORDS: usize, const REST: usize>(
    scene: Scene,
    pairs: u64,
) -> Result<(), Box<dyn Error>> {
    const {
        assert!(BYTES == 8 * (1 + WORDS) && BYTES == 8 * (2 + REST));
    }
    // For every layer: the options that a runtime sets are the process's, and `ChargingAlloc` needs someone to charge.
    let mutator = Runtime::new()?.attaching().beat_bytes(scene.beat_bytes)?.attach()?;
    match scene.layer {
        Layer::Loop => repeat(&Nothing, pairs),
        Layer::Engine => repeat(&Engine::<BYTES>, pairs),
        Layer::Theap => repeat(&Theap::<BYTES>::new()?, pairs),
        Layer::Block => repeat(&Blocks::<BYTES>(&mutator), pairs),
        Layer::Leaf => repeat(&Leaves::<WORDS, false>(&mutator), pairs),
        Layer::Slot => repeat(&Slotted::<OneSlot<REST>, false>::new(&mutator), pairs),
        Layer::SlotAcyclic => repeat(&Slotted::<AcyclicSlot<REST>, false>::new(&mutator), pairs),
        Layer::Shared => repeat(&Slotted::<OneSlot<REST>, true>::new(&mutator), pairs),
        Layer::SharedAcyclic => repeat(&Slotted::<AcyclicSlot<REST>, true>::new(&mutator), pairs),
        #[cfg(feature = "allocator_api2")]
        Layer::Handle => repeat(&Handle::<BYTES>(mutator.heap()), pairs),
        Layer::Charging => repeat(&Charging::<BYTES>, pairs),
        Layer::EveryBeat | Layer::EveryThousand => {
            let beats = if scene.layer == Layer::EveryBeat { 1 } else { 1000 };
            mutator.on_beat(When::Every(beats), |_, beat| _ = black_box(beat))?;
            repeat(&Leaves::<WORDS, false>(&mutator), pairs);
        }
        Layer::Deadline => {
            mutator.set_deadline(Some(FAR));
            repeat(&Leaves::<WORDS, false>(&mutator), pairs);
        }
        Layer::Limit => {
            mutator.set_limit(Some(1 << 30));
            repeat(&Leaves::<WORDS, false>(&mutator), pairs);
        }
        Layer::Polled => repeat(&Leaves::<WORDS, true>(&mutator), pairs),
        Layer::PolledLimits => {
            mutator.set_deadline(Some(FAR));
            mutator.set_fuel(Some(FAR));
            repeat(&Leaves::<WORDS, true>(&mutator), pairs);
        }
        Layer::Reading => repeat(&Readings(mutator.watch()), pairs),
    }
    Ok(())
}

const fn layout<const BYTES: usize>() -> Layout {
    match Layout::from_size_align(BYTES, align_of::<u64>()) {
        Ok(layout) => layout,
        Err(_) => panic!("no block of this size"),
    }
}

/// What is not there is said as Rust says it.
fn or_die<const BYTES: usize>(block: Option<NonNull<u8>>) -> NonNull<u8> {
    block.unwrap_or_else(|| handle_alloc_error(layout::<BYTES>()))
}

struct Nothing;

impl Allocator for Nothing {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        NonNull::dangling()
    }

    #[inline(always)]
    fn give_back(&self, _: NonNull<u8>) {}
}

struct Readings(Watch);

impl Allocator for Readings {
    type Block = Metrics;

    #[inline(always)]
    fn take(&self) -> Metrics {
        self.0.metrics()
    }

    #[inline(always)]
    fn give_back(&self, _: Metrics) {}
}

struct Engine<const BYTES: usize>;

impl<const BYTES: usize> Allocator for Engine<BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        // SAFETY: any size may be asked for.
        or_die::<BYTES>(NonNull::new(unsafe { sys::mi_malloc(BYTES) }.cast()))
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: 1: from `take`, and not used again.
        unsafe { sys::mi_free(block.as_ptr().cast()) }
    }
}

/// A heap of its own, by what allocates from it on this thread.
struct Theap<const BYTES: usize>(NonNull<sys::mi_theap_t>);

impl<const BYTES: usize> Theap<BYTES> {
    fn new() -> Result<Theap<BYTES>, &'static str> {
        // SAFETY: takes nothing.
        let heap = unsafe { sys::mi_heap_new() };
        #[cfg(not(feature = "v2"))]
        let heap = match heap.is_null() {
            true => core::ptr::null_mut(),
            // SAFETY: 2: a heap that was just made.
            false => unsafe { sys::mi_heap_theap(heap) },
        };
        NonNull::new(heap).map(Theap).ok_or("the engine could not make a heap")
    }
}

impl<const BYTES: usize> Allocator for Theap<BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        #[cfg(not(feature = "v2"))]
        // SAFETY: 3: of this thread.
        let block = unsafe { sys::mi_theap_malloc(self.0.as_ptr(), BYTES) };
        #[cfg(feature = "v2")]
        // SAFETY: 3: of this thread.
        let block = unsafe { sys::mi_heap_malloc(self.0.as_ptr(), BYTES) };
        or_die::<BYTES>(NonNull::new(block.cast()))
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: 1: from `take`, and not used again.
        unsafe { sys::mi_free(block.as_ptr().cast()) }
    }
}

struct Blocks<'a, const BYTES: usize>(&'a Mutator);

impl<const BYTES: usize> Allocator for Blocks<'_, BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        or_die::<BYTES>(self.0.allocate(const { layout::<BYTES>() }).ok())
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: 1: from `take`, with this layout, and not used again.
        unsafe { self.0.deallocate(block, const { layout::<BYTES>() }) }
    }
}

/// Left as it is: filling an object is not what is counted.
type Filling<const WORDS: usize> = MaybeUninit<[u64; WORDS]>;

/// A type of its own for each kind of pair, since a function that is called from one place is inlined there.
#[derive(Trace)]
struct Leaf<const WORDS: usize, const POLLED: bool> {
    #[trace(skip)]
    _filling: Filling<WORDS>,
}

/// `POLLED` polls once a pair, as a VM's loop would.
struct Leaves<'a, const WORDS: usize, const POLLED: bool>(&'a Mutator);

impl<const WORDS: usize, const POLLED: bool> Allocator for Leaves<'_, WORDS, POLLED> {
    type Block = Ref<Leaf<WORDS, POLLED>>;

    #[inline(always)]
    fn take(&self) -> Ref<Leaf<WORDS, POLLED>> {
        if POLLED {
            if let Err(why) = self.0.poll(1) {
                panic!("{why}");
            }
        }
        match self.0.alloc(Leaf { _filling: MaybeUninit::uninit() }) {
            Ok(leaf) => leaf,
            Err(_) => handle_alloc_error(Layout::new::<Leaf<WORDS, POLLED>>()),
        }
    }

    #[inline(always)]
    fn give_back(&self, leaf: Ref<Leaf<WORDS, POLLED>>) {
        drop(leaf);
    }
}

#[derive(Trace)]
struct OneSlot<const REST: usize> {
    next: Cell<Option<Ref<OneSlot<REST>>>>,
    #[trace(skip)]
    _filling: Filling<REST>,
}

#[derive(Trace)]
#[trace(acyclic)]
struct AcyclicSlot<const REST: usize> {
    next: Cell<Option<Ref<AcyclicSlot<REST>>>>,
    #[trace(skip)]
    _filling: Filling<REST>,
}

/// A type of object with one slot.
trait Slot: Trace + 'static {
    fn empty() -> Self;
}

impl<const REST: usize> Slot for OneSlot<REST> {
    #[inline(always)]
    fn empty() -> Self {
        OneSlot { next: Cell::new(None), _filling: MaybeUninit::uninit() }
    }
}

impl<const REST: usize> Slot for AcyclicSlot<REST> {
    #[inline(always)]
    fn empty() -> Self {
        AcyclicSlot { next: Cell::new(None), _filling: MaybeUninit::uninit() }
    }
}

/// `SHARED` takes a second reference, and gives it up before the first.
struct Slotted<'a, T, const SHARED: bool>(&'a Mutator, PhantomData<T>);

impl<'a, T, const SHARED: bool> Slotted<'a, T, SHARED> {
    fn new(mutator: &'a Mutator) -> Self {
        Slotted(mutator, PhantomData)
    }
}

impl<T: Slot, const SHARED: bool> Allocator for Slotted<'_, T, SHARED> {
    type Block = Ref<T>;

    #[inline(always)]
    fn take(&self) -> Ref<T> {
        match self.0.alloc(T::empty()) {
            Ok(object) => object,
            Err(_) => handle_alloc_error(Layout::new::<T>()),
        }
    }

    #[inline(always)]
    fn give_back(&self, object: Ref<T>) {
        if SHARED {
            drop(black_box(object.clone()));
        }
        drop(object);
    }
}

#[cfg(feature = "allocator_api2")]
struct Handle<const BYTES: usize>(mimalloc_runtime::HeapRef);

#[cfg(feature = "allocator_api2")]
impl<const BYTES: usize> Allocator for Handle<BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        use allocator_api2::alloc::Allocator as _;
        or_die::<BYTES>(self.0.allocate(const { layout::<BYTES>() }).ok().map(NonNull::cast))
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        use allocator_api2::alloc::Allocator as _;
        // SAFETY: from `take`, with this layout, and not used again (the obligations of `Allocator::deallocate`).
        unsafe { self.0.deallocate(block, const { layout::<BYTES>() }) }
    }
}

struct Charging<const BYTES: usize>;

impl<const BYTES: usize> Allocator for Charging<BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        // SAFETY: the layout is not empty (the obligation of `GlobalAlloc::alloc`).
        or_die::<BYTES>(NonNull::new(unsafe { ChargingAlloc.alloc(const { layout::<BYTES>() }) }))
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: from `take`, with this layout, and not used again (the obligations of `GlobalAlloc::dealloc`).
        unsafe { ChargingAlloc.dealloc(block.as_ptr(), const { layout::<BYTES>() }) }
    }
}
