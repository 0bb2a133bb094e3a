//! What fits within a wall, and that it is the same each time.

use std::alloc::Layout;

use mimalloc_runtime::{GrowError, Mutator, OutOfMemory, Ref, Runtime, Tail, Trace, counted_bytes};

use crate::process::alone;
use crate::{Block, HARDENED, MIB, V2, all, attach, walls};

/// How many per cent of a wall blocks of these sizes fill at least.
const SIZES: [(usize, usize); 6] = [(48, 97), (1_000, 93), (1_024, 96), (5_000, 89), (40_000, 80), (MIB, 85)];

fn least(per_cent: usize) -> usize {
    if HARDENED { per_cent / 2 } else { per_cent }
}

#[test]
fn a_mutator_gets_its_wall_and_no_more() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        assert_eq!(runtime.attach().unwrap().wall(), None);
        let sizes = [(1, 32), (32 * MIB, 32), (32 * MIB + 1, 64), (200 * MIB, 224)];
        for (asked, mib) in &sizes[..if cfg!(small_tests) { 2 } else { 4 }] {
            let mutator = runtime.attaching().wall(Some(*asked as u64)).unwrap().attach().unwrap();
            assert_eq!(mutator.wall(), Some((mib * MIB) as u64), "{asked}");
            for &(size, per_cent) in &SIZES[usize::from(cfg!(small_tests))..] {
                let blocks = all(|| Block::of(&mutator, size)).len();
                let (bytes, wall) = (blocks * size, mib * MIB);
                assert!(
                    bytes <= wall && bytes >= wall / 100 * least(per_cent),
                    "{bytes} of {wall} in blocks of {size}"
                );
                assert_eq!(mutator.metrics().block_bytes, 0);
            }
        }
    });
}

/// Fills the wall in one way, four times: with two mutators, one after the other, twice each. What was dropped is not collected
/// but found when memory has run out.
fn fill<T>(runtime: &Runtime, way: &str, bytes: usize, make: impl Fn(&Mutator) -> Result<T, usize>) {
    let mut first = None;
    for _ in 0..2 {
        let mutator = attach(runtime, 32);
        for _ in 0..2 {
            let things = all(|| make(&mutator).ok());
            let count = things.len();
            assert!(count * bytes <= 32 * MIB && count * bytes >= 32 * MIB / 100 * least(60), "{count} of {way}");
            let first = *first.get_or_insert(count);
            assert!(count >= first - first.div_ceil(50), "{way}: {count} after {first}");
            // It says so again, and how much was asked for.
            assert_eq!(make(&mutator).err(), Some(bytes), "{way}");
            let metrics = mutator.metrics();
            let objects = (metrics.live.now.objects, metrics.pending.now.objects);
            assert_eq!(objects, (count as u64, 0), "{way}");
            assert!(metrics.ladder.refused >= 2, "{way}");
            drop(things);
        }
        let metrics = mutator.metrics();
        assert_eq!((metrics.live.now.objects, metrics.block_bytes), (0, 0), "{way}");
        assert_eq!(walls(), [1, 0, 0, 0]);
        assert_eq!(mutator.detach().live.objects, 0);
        assert_eq!(walls(), [1, 1, 0, 0]);
    }
}

fn bytes<T>(error: OutOfMemory<T>) -> usize {
    error.bytes
}

#[test]
fn every_way_to_allocate_ends_at_the_wall_and_begins_again() {
    /// Tools take a hundred times as long, and need not as many.
    const WORDS: usize = if cfg!(small_tests) { 119 } else { 9 };

    #[derive(Trace)]
    struct Leaf([u64; WORDS]);

    #[derive(Trace)]
    struct Slots([Option<Ref<Slots>>; WORDS]);

    #[derive(Trace)]
    struct Large([u64; 9_999]);

    #[derive(Trace)]
    #[repr(align(4096))]
    struct Page([u64; 10]);

    alone(|| {
        let runtime = Runtime::new().unwrap();
        let each = 8 + 8 * WORDS;
        fill(&runtime, "leaves", each, |vm| vm.alloc(Leaf([0; WORDS])).map_err(bytes));
        fill(&runtime, "objects with slots", each, |vm| vm.alloc(Slots([const { None }; WORDS])).map_err(bytes));
        fill(&runtime, "large objects", 80_000, |vm| vm.alloc(Large([0; 9_999])).map_err(bytes));
        fill(&runtime, "over-aligned objects", 8_192, |vm| vm.alloc(Page([0; 10])).map_err(bytes));
        fill(&runtime, "tails", 816, |vm| vm.alloc_tail((), 800, |at| at as u8).map_err(bytes));
        fill(&runtime, "copied tails", 100_016, |vm| vm.alloc_tail_copy((), &[7u8; 100_000]).map_err(bytes));
    });
}

/// A list fills the wall, and when it is dropped it is one object that is dead: allocation finds the others when it has to.
#[test]
fn what_is_dead_is_found_at_the_wall() {
    #[derive(Trace)]
    struct Link(Option<Ref<Link>>, [u64; 30]);

    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 32);
        let list = || {
            let (mut list, mut length) = (None, 0);
            loop {
                match mutator.alloc(Link(list, [0; 30])) {
                    Ok(link) => list = Some(link),
                    Err(error) => return (error.value.0, length),
                }
                length += 1;
            }
        };
        let (first, length) = list();
        drop(first);
        // As long again, while the first is freed by pacing and then for want of memory.
        let (_second, again) = list();
        assert!(again >= length - length / 50, "{again} after {length}");
        assert_eq!(mutator.metrics().live.now.objects, again);
    });
}

#[test]
fn raw_blocks_of_all_kinds_end_at_the_wall() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 32);
        let kinds = [(0, 1), (200, 64), (100, 1024), (4096, 4096), (100_000, 16), (60_000, 64 << 10)];
        for &(size, align) in &kinds[if cfg!(small_tests) { 2 } else { 0 }..] {
            let layout = Layout::from_size_align(size, align).unwrap();
            let ways = [Mutator::allocate, Mutator::allocate_zeroed];
            for allocate in ways {
                let rounds = [(); 2].map(|()| {
                    let blocks = all(|| allocate(&mutator, layout).ok());
                    assert_eq!(allocate(&mutator, layout).unwrap_err().bytes, size);
                    let count = blocks.len();
                    assert!(count * size <= 32 * MIB);
                    for block in blocks {
                        // SAFETY: allocated above with this layout.
                        unsafe { mutator.deallocate(block, layout) };
                    }
                    count
                });
                assert!(rounds[1] >= rounds[0] - rounds[0].div_ceil(50) && rounds[0] > 100, "{layout:?}: {rounds:?}");
            }
        }
    });
}

#[test]
fn growing_ends_at_the_wall_and_leaves_what_was_there() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 64);
        let mut block = Block::of(&mutator, 1_000).unwrap();
        while block.resize(block.layout.size() * 5 / 4).is_ok() {
            assert!(block.layout.size() < 64 * MIB);
        }
        // Two copies must fit at once, the old one and the new.
        assert!(block.layout.size() > 8 * MIB, "{}", block.layout.size());
        assert!(block.bytes().iter().all(|byte| *byte == 7));
        assert_eq!(mutator.metrics().block_bytes, counted_bytes(block.layout));
        drop(block);

        let mut tail: Ref<Tail<usize, u32>> = mutator.alloc_tail_copy("head".len(), &[7; 100]).unwrap();
        loop {
            let twice = 2 * tail.items().len();
            tail = match mutator.grow_tail(tail, twice, |at| at as u32) {
                Ok(tail) => tail,
                Err(GrowError::OutOfMemory(error)) => {
                    assert!(error.bytes > 8 * MIB && error.bytes <= 64 * MIB, "{}", error.bytes);
                    tail = error.value;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(*tail.head(), 4);
        assert!(tail.items().iter().enumerate().all(|(at, item)| *item == if at < 100 { 7 } else { at as u32 }));
        assert_eq!(mutator.metrics().live.now.objects, 1);
    });
}

/// A smaller block is another one: the sizes of the engine are what is counted. So it takes memory to give some back.
#[test]
fn to_make_a_block_smaller_needs_a_block_of_that_size() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 32);
        let large = all(|| Block::of(&mutator, 5_000));
        let small = all(|| Block::of(&mutator, 100));
        let shrunk = |block: &Block| {
            // SAFETY: of this mutator, with this layout; not used again when it has moved.
            unsafe { mutator.reallocate(block.block, block.layout, 100) }
        };
        let in_use = mutator.in_use();
        assert_eq!(shrunk(&large[0]).unwrap_err().bytes, 100);
        assert_eq!(mutator.in_use(), in_use);
        assert!(large[0].bytes().iter().all(|byte| *byte == 7), "it is as it was");
        #[cfg(feature = "allocator_api2")]
        {
            use allocator_api2::alloc::Allocator as _;
            let [from, to] = [large[0].layout, Layout::new::<[u8; 100]>()];
            // SAFETY: of this heap, with this layout; it is refused.
            assert!(unsafe { mutator.heap().shrink(large[0].block, from, to) }.is_err());
        }
        drop(small);
        let mut last = large.into_iter().next().unwrap();
        last.block = shrunk(&last).unwrap();
        last.layout = Layout::from_size_align(100, 8).unwrap();
        assert!(last.bytes().iter().all(|byte| *byte == 7));
        assert_eq!(mutator.in_use(), counted_bytes(last.layout));
    });
}

#[cfg(feature = "allocator_api2")]
#[test]
fn containers_end_at_the_wall() {
    use allocator_api2::vec::Vec;
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 64);
        for _ in 0..2 {
            let mut items = Vec::new_in(mutator.heap());
            while items.try_reserve(1).is_ok() {
                items.extend(std::iter::repeat_n(7u64, items.capacity() - items.len()));
            }
            assert!(items.len() * 8 >= 8 * MIB && items.len() * 8 < 64 * MIB, "{}", items.len());
            assert!(items.iter().all(|item| *item == 7));
        }
        let mut boxes = std::vec::Vec::new();
        while let Ok(one) = allocator_api2::boxed::Box::try_new_in([7u8; 1_000], mutator.heap()) {
            boxes.push(one);
        }
        assert!(boxes.len() * 1_000 >= 64 * MIB / 100 * least(94), "{}", boxes.len());
        drop(boxes);
        assert_eq!(mutator.metrics().block_bytes, 0);
    });
}

/// What takes more than the engine finds in an arena comes from the system as a rule, and so not at all where there is a wall: on
/// version 3 that is every alignment above 64 KiB.
#[test]
fn blocks_have_a_largest_size_and_alignment() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        // In an empty wall, and with a small block in it.
        let walls: [(usize, [usize; 2]); 4] = if V2 {
            [(32, [31, 16]), (64, [60, 31]), (96, [92, 60]), (256, [252, 220])]
        } else {
            [(32, [31, 31]), (64, [31, 31]), (96, [60, 31]), (256, [220, 188])]
        };
        for (mib, largest) in walls {
            let mutator = attach(&runtime, mib);
            let fits = |bytes, align| Block::new(&mutator, Layout::from_size_align(bytes, align).unwrap()).is_some();
            let guard = if HARDENED { MIB } else { 0 };
            assert!(fits(largest[0] * MIB - guard, 16) && !fits((largest[0] + 4) * MIB, 16), "{mib}");
            let _small = Block::of(&mutator, 16).unwrap();
            assert!(fits(largest[1] * MIB - guard, 16), "{mib}");
            // On version 3 it depends on where the small block is.
            assert!(!V2 || !fits((largest[1] + 4) * MIB, 16), "{mib}");
            for align in [1, 4096, 64 << 10] {
                assert!(fits(1000, align) && fits(MIB, align), "{align} in {mib}");
            }
            for (align, from) in [(128 << 10, 32), (4 << 20, 32), (16 << 20, 64)] {
                assert_eq!(fits(1000, align), V2 && mib >= from, "{align} in {mib}");
            }
            assert!(!fits(1000, 32 << 20), "{mib}");
        }
    });
}
