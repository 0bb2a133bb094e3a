//! Sizes and alignments at the ends of what can be asked for, of every function that allocates.

use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use mimalloc_runtime::{Budget, GrowError, Mutator, OutOfMemory, Ref, Runtime, Tail, Tally, Trace};

use crate::graph::{Node, node};

/// Sizes that no machine of 64 bits has: beyond 2^47 bytes.
const ABSURD: [usize; 6] =
    [(1 << 47) + 1, 1 << 48, 1 << 62, isize::MAX as usize - 4096, isize::MAX as usize - 16, isize::MAX as usize];

fn nothing_was_counted(mutator: &Mutator) {
    let metrics = mutator.metrics();
    assert_eq!((metrics.allocated, metrics.live.now, metrics.block_bytes), (Tally::default(), Tally::default(), 0));
}

#[test]
fn absurd_blocks_are_refused_by_every_function() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for size in ABSURD {
        for align in [1, 8, 16, 64, 4096] {
            let Ok(layout) = Layout::from_size_align(size, align) else { continue };
            assert_eq!(mutator.allocate(layout).map_err(|error| error.bytes), Err(size));
            assert_eq!(mutator.allocate_zeroed(layout).map_err(|error| error.bytes), Err(size));
        }
        for align in [1, 64] {
            let layout = Layout::from_size_align(100, align).unwrap();
            let block = mutator.allocate(layout).unwrap();
            // SAFETY: allocated with this layout; on failure it stays.
            assert_eq!(unsafe { mutator.reallocate(block, layout, size) }.map_err(|error| error.bytes), Err(size));
            // SAFETY: allocated with this layout.
            unsafe { mutator.deallocate(block, layout) };
        }
    }
    nothing_was_counted(&mutator);
}

/// Builds that watch for errors fill or mark every byte of a block: a terabyte takes them for ever.
const EVERY_BYTE_IS_TOUCHED: bool = cfg!(any(feature = "debug", small_tests));

/// What is representable and yet more than there is: the engine answers, with memory or without.
#[test]
fn blocks_of_more_than_the_machine_has_are_had_or_refused() {
    if EVERY_BYTE_IS_TOUCHED {
        return;
    }
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for log in [40, 44, 46, 47] {
        for align in [16, 4096, 1 << 20] {
            let layout = Layout::from_size_align(1 << log, align).unwrap();
            match mutator.allocate(layout) {
                Ok(block) => {
                    assert_eq!(block.as_ptr() as usize % align, 0);
                    // SAFETY: allocated with this layout.
                    unsafe { mutator.deallocate(block, layout) }
                }
                Err(error) => assert_eq!(error.bytes, 1 << log),
            }
        }
    }
    nothing_was_counted(&mutator);
}

#[test]
fn absurd_tails_are_refused_and_give_the_head_back() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    fn check<E: Trace>(mutator: &Mutator, len: usize) {
        let item = |_| -> E { unreachable!("no item is made before there is room") };
        let error = mutator.alloc_tail(String::from("head"), len, item).unwrap_err();
        assert_eq!(error.value, "head");
    }
    for size in ABSURD {
        check::<u8>(&mutator, size);
        check::<u64>(&mutator, size / 8);
        check::<[u64; 3]>(&mutator, size / 24 + 1);
        check::<[u8; 1 << 40]>(&mutator, size >> 40);
        check::<Option<Ref<Node>>>(&mutator, size / 8);
    }
    check::<[u8; 1 << 40]>(&mutator, usize::MAX);
    assert_eq!(mutator.metrics().allocated, Tally::default());
}

/// A tail that is granted and cannot be filled: the panic of the first item gives the memory back.
#[test]
fn a_tail_larger_than_the_machine_may_be_given_up_at_its_first_item() {
    if EVERY_BYTE_IS_TOUCHED {
        return;
    }
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for log in [40, 46] {
        let made = catch_unwind(AssertUnwindSafe(|| {
            mutator.alloc_tail((), 1 << log, |_| -> u8 { panic!("not to be filled") }).map_err(|error| error.bytes)
        }));
        if let Ok(refused) = made {
            assert!(refused.is_err());
        }
    }
    let metrics = mutator.metrics();
    assert_eq!((metrics.live.now, metrics.freed), (Tally::default(), metrics.allocated));
}

#[test]
fn a_tail_that_would_grow_beyond_reason_stays_as_it_is() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let mut tail = mutator.alloc_tail(7u64, 3, |index| index as u64).unwrap();
    for len in ABSURD.iter().map(|size| size / 8).chain([usize::MAX / 8, usize::MAX]) {
        tail = match mutator.grow_tail(tail, len, |_| unreachable!("no item is made before there is room")) {
            Err(GrowError::OutOfMemory(error)) => error.value,
            other => panic!("{other:?}"),
        };
        assert_eq!((*tail.head(), tail.items()), (7, &[0, 1, 2][..]));
    }
    assert_eq!(mutator.metrics().live.now.objects, 1);
}

/// Items of no size take no room, however many.
#[test]
fn items_and_values_of_no_size_may_be_any_number() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let tail: Ref<Tail<u8, ()>> = mutator.alloc_tail_copy(3, &[(); usize::MAX]).unwrap();
    assert_eq!((*tail.head(), tail.items().len()), (3, usize::MAX));
    let grown = mutator.grow_tail(mutator.alloc_tail((), 0, |_| ()).unwrap(), 1_000, |_| ()).unwrap();
    assert_eq!(grown.items().len(), 1_000);
    let array = mutator.alloc([(); usize::MAX]).unwrap();
    let none = mutator.alloc_tail([0u64; 0], 5, |_| [0u16; 0]).unwrap();
    assert_eq!((array.len(), none.items().len()), (usize::MAX, 5));
    drop((tail, grown, array, none));
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(mutator.metrics().live.now, Tally::default());
}

/// A type may be larger than any object: what allocates it is compiled all the same, and refuses.
#[test]
fn a_type_larger_than_memory_compiles() {
    type Huge = [u8; 1 << 46];
    type Made = Result<Ref<Huge>, OutOfMemory<Huge>>;
    // No value of it can be made to call this with.
    std::hint::black_box(Mutator::alloc::<Huge> as fn(&Mutator, Huge) -> Made);
}

macro_rules! aligned {
    ($($name:ident $align:literal)*) => {$(
        #[derive(Trace)]
        #[repr(align($align))]
        struct $name {
            number: u64,
            next: Option<Ref<$name>>,
        }

        impl $name {
            /// A chain of a few, and a tail of a few, each at a multiple of the alignment.
            fn check(mutator: &Mutator) {
                let mut head: Option<Ref<$name>> = None;
                for number in 0..5 {
                    let object = mutator.alloc($name { number, next: head.take() }).unwrap();
                    assert_eq!((&raw const *object as usize % $align, object.number), (0, number));
                    head = Some(object);
                }
                let shared = head.clone();
                let item = |number| $name { number: number as u64, next: shared.clone() };
                let tail = mutator.alloc_tail(1u8, 2, item).unwrap();
                let tail = mutator.grow_tail(tail, 4, item).unwrap();
                assert_eq!(tail.items().as_ptr() as usize % $align, 0);
                assert!(tail.items().iter().enumerate().all(|(index, item)| item.number == index as u64));
            }
        }
    )*};
}

aligned! { At16 16 At32 32 At128 128 At4096 4096 At32K 32768 At64K 65536 At128K 131072 At256K 262144 }

/// Alignments up to what the engine has pages for, and above.
#[test]
fn objects_of_any_alignment_lie_as_they_should() {
    // Values of a quarter of a megabyte are moved over the stack.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        for check in [
            At16::check,
            At32::check,
            At128::check,
            At4096::check,
            At32K::check,
            At64K::check,
            At128K::check,
            At256K::check,
        ] {
            check(&mutator);
            assert!(mutator.collect(Budget::Unbounded).is_done());
            assert_eq!(mutator.metrics().live.now, Tally::default());
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn blocks_of_any_alignment_lie_as_they_should() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let object = node(&mutator, None, None);
    for log in 0..=24 {
        for size in [0, 1, 16, 1_000, 70_000] {
            let layout = Layout::from_size_align(size, 1 << log).unwrap();
            let aligned = |block: NonNull<u8>| assert_eq!(block.as_ptr() as usize % layout.align(), 0, "{layout:?}");
            let block = mutator.allocate(layout).unwrap();
            let zeroed = mutator.allocate_zeroed(layout).unwrap();
            aligned(block);
            aligned(zeroed);
            // SAFETY: of this size.
            unsafe { block.write_bytes(7, size) };
            // SAFETY: allocated with this layout; not used again.
            let grown = unsafe { mutator.reallocate(block, layout, 2 * size + 1) }.unwrap();
            aligned(grown);
            // SAFETY: of at least this size, and the front of it was written above.
            let bytes = unsafe { core::slice::from_raw_parts(grown.as_ptr(), size) };
            assert!(bytes.iter().all(|byte| *byte == 7));
            // SAFETY: of this size.
            let bytes = unsafe { core::slice::from_raw_parts(zeroed.as_ptr(), size) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            // SAFETY: allocated with this layout.
            unsafe { mutator.deallocate(zeroed, layout) };
            // SAFETY: allocated with this layout.
            unsafe { mutator.deallocate(grown, Layout::from_size_align(2 * size + 1, 1 << log).unwrap()) };
        }
    }
    assert_eq!(mutator.metrics().block_bytes, 0);
    drop(object);
}
