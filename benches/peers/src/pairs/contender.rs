//! Who allocates and frees in pairs.

use std::alloc::{GlobalAlloc, Layout, System, handle_alloc_error};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Duration;

use mimalloc_runtime::{Mutator, Ref, Trace};
use mimalloc3::MiMalloc;
use serde::{Serialize, Serializer};

use super::{Allocator, Pattern, time};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contender {
    /// `mi_malloc` and `mi_free`, called directly.
    Engine,
    /// [`Mutator::allocate`] and [`Mutator::deallocate`].
    Block,
    /// [`Mutator::alloc`] of an object without slots, and the drop of its only [`Ref`].
    Leaf,
    /// The same with one slot, empty: queued, and freed by the steps that later allocations pay.
    Slot,
    /// mimalloc3's [`MiMalloc`] through [`GlobalAlloc`], called directly.
    Global,
    /// The C library's.
    System,
    /// [`Rc`] on the program's global allocator, which is [`MiMalloc`].
    Rc,
}

impl Contender {
    /// Those with a target.
    pub(crate) const OURS: [Contender; 3] = [Contender::Block, Contender::Leaf, Contender::Slot];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Engine => "mi_malloc",
            Contender::Block => "ours: allocate",
            Contender::Leaf => "ours: Ref, leaf",
            Contender::Slot => "ours: Ref, one slot",
            Contender::Global => "mimalloc3 GlobalAlloc",
            Contender::System => "System",
            Contender::Rc => "Rc",
        }
    }
}

impl Serialize for Contender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One measurement.
pub(super) type Bench<'a> = Box<dyn Fn(Pattern) -> Duration + 'a>;

/// Calls `f` with everyone's benches for blocks of this many bytes, which is one of [`SIZES`](super::SIZES), and with
/// another one of `mi_malloc`.
pub(super) fn with_size<R>(
    bytes: usize,
    mutator: &Mutator,
    f: impl FnOnce(&[(Contender, Bench<'_>)], &Bench<'_>) -> R,
) -> R {
    let (benches, baseline) = match bytes {
        16 => benches::<16, 1, 0>(mutator),
        32 => benches::<32, 3, 2>(mutator),
        64 => benches::<64, 7, 6>(mutator),
        256 => benches::<256, 31, 30>(mutator),
        _ => benches::<1024, 127, 126>(mutator),
    };
    f(&benches, &baseline)
}

/// `WORDS` is what is left of the block behind a header of one word, `REST` behind two words.
fn benches<const BYTES: usize, const WORDS: usize, const REST: usize>(
    mutator: &Mutator,
) -> (Vec<(Contender, Bench<'_>)>, Bench<'_>) {
    const {
        assert!(BYTES == 8 * (1 + WORDS) && BYTES == 8 * (2 + REST));
    }
    fn bench<'a>(allocator: impl Allocator + 'a) -> Bench<'a> {
        Box::new(move |pattern| time(&allocator, pattern))
    }
    let benches = vec![
        (Contender::Engine, bench(Engine::<BYTES>)),
        (Contender::Block, bench(Blocks::<BYTES>(mutator))),
        (Contender::Leaf, bench(Leaves::<WORDS>(mutator))),
        (Contender::Slot, bench(Slotted::<REST>(mutator))),
        (Contender::Global, bench(Rust::<MiMalloc, BYTES>(MiMalloc))),
        (Contender::System, bench(Rust::<System, BYTES>(System))),
        (Contender::Rc, bench(Counted::<REST>)),
    ];
    (benches, bench(Engine::<BYTES>))
}

/// Writes the first word of a block, as whoever asked for it would: that is what brings its page into the cache.
///
/// # Safety
/// 1. `block` has room for a word and is aligned for it.
#[inline(always)]
unsafe fn touch(block: NonNull<u8>) {
    // SAFETY: 1.
    unsafe { block.cast::<u64>().write(1) }
}

const fn layout<const BYTES: usize>() -> Layout {
    match Layout::from_size_align(BYTES, align_of::<u64>()) {
        Ok(layout) => layout,
        Err(_) => panic!("no block of this size"),
    }
}

struct Engine<const BYTES: usize>;

impl<const BYTES: usize> Allocator for Engine<BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        // SAFETY: any size may be asked for.
        let block = unsafe { libmimalloc_sys3::mi_malloc(BYTES) };
        let Some(block) = NonNull::new(block.cast()) else { handle_alloc_error(layout::<BYTES>()) };
        // SAFETY: 1: fresh, at least 16 bytes, which the engine aligns to 16.
        unsafe { touch(block) };
        block
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: from `take`, and not used again.
        unsafe { libmimalloc_sys3::mi_free(block.as_ptr().cast()) }
    }
}

struct Blocks<'a, const BYTES: usize>(&'a Mutator);

impl<const BYTES: usize> Allocator for Blocks<'_, BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        let Ok(block) = self.0.allocate(const { layout::<BYTES>() }) else { handle_alloc_error(layout::<BYTES>()) };
        // SAFETY: 1: fresh, of this layout.
        unsafe { touch(block) };
        block
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: 1: from `take`, with this layout, and not used again.
        unsafe { self.0.deallocate(block, const { layout::<BYTES>() }) }
    }
}

/// Left as it is: copying a value into its block is not what is measured.
type Filling<const WORDS: usize> = MaybeUninit<[u64; WORDS]>;

#[derive(Trace)]
struct Leaf<const WORDS: usize> {
    #[trace(skip)]
    _filling: Filling<WORDS>,
}

/// The header of an object is its first word.
struct Leaves<'a, const WORDS: usize>(&'a Mutator);

impl<const WORDS: usize> Allocator for Leaves<'_, WORDS> {
    type Block = Ref<Leaf<WORDS>>;

    #[inline(always)]
    fn take(&self) -> Ref<Leaf<WORDS>> {
        match self.0.alloc(Leaf { _filling: MaybeUninit::uninit() }) {
            Ok(leaf) => leaf,
            Err(_) => handle_alloc_error(Layout::new::<Leaf<WORDS>>()),
        }
    }

    #[inline(always)]
    fn give_back(&self, leaf: Ref<Leaf<WORDS>>) {
        drop(leaf);
    }
}

#[derive(Trace)]
struct OneSlot<const REST: usize> {
    next: Cell<Option<Ref<OneSlot<REST>>>>,
    #[trace(skip)]
    _filling: Filling<REST>,
}

struct Slotted<'a, const REST: usize>(&'a Mutator);

impl<const REST: usize> Allocator for Slotted<'_, REST> {
    type Block = Ref<OneSlot<REST>>;

    #[inline(always)]
    fn take(&self) -> Ref<OneSlot<REST>> {
        match self.0.alloc(OneSlot { next: Cell::new(None), _filling: MaybeUninit::uninit() }) {
            Ok(object) => object,
            Err(_) => handle_alloc_error(Layout::new::<OneSlot<REST>>()),
        }
    }

    #[inline(always)]
    fn give_back(&self, object: Ref<OneSlot<REST>>) {
        drop(object);
    }
}

/// Any allocator with Rust's interface.
struct Rust<A, const BYTES: usize>(A);

impl<A: GlobalAlloc, const BYTES: usize> Allocator for Rust<A, BYTES> {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn take(&self) -> NonNull<u8> {
        // SAFETY: the layout is not empty.
        let block = unsafe { self.0.alloc(const { layout::<BYTES>() }) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout::<BYTES>()) };
        // SAFETY: 1: fresh, of this layout.
        unsafe { touch(block) };
        block
    }

    #[inline(always)]
    fn give_back(&self, block: NonNull<u8>) {
        // SAFETY: from `take`, with this layout, and not used again.
        unsafe { self.0.dealloc(block.as_ptr(), const { layout::<BYTES>() }) }
    }
}

/// The two counts of an `Rc` are its first words.
struct Counted<const REST: usize>;

impl<const REST: usize> Allocator for Counted<REST> {
    type Block = Rc<Filling<REST>>;

    #[inline(always)]
    fn take(&self) -> Rc<Filling<REST>> {
        Rc::new(MaybeUninit::uninit())
    }

    #[inline(always)]
    fn give_back(&self, counted: Rc<Filling<REST>>) {
        drop(counted);
    }
}
