//! Test only: what the engine itself says is allocated, against what is counted.

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::NonNull;

use crate::deferred::{Budget, OBJECT_ALIGN, SMALL, counted_bytes};
use crate::sys;
use crate::{Mutator, Pacing, Ref, Runtime};

use super::magazine::{CLASSES, MOST_BLOCKS};

/// Blocks that are in use, once those that are kept at hand have been given back.
fn engine_blocks(mutator: &Mutator) -> u64 {
    mutator.state().heap.free_kept();
    visible_blocks(mutator)
}

/// Blocks of the mutator's heap that the engine holds to be in use, all of which lie as objects must: of its objects, and others.
fn visible_blocks(mutator: &Mutator) -> u64 {
    unsafe extern "C" fn count(
        _: *const sys::mi_heap_t,
        _: *const sys::mi_heap_area_t,
        block: *mut c_void,
        size: usize,
        arg: *mut c_void,
    ) -> bool {
        // The engine tells of each area first, without a block.
        if !block.is_null() {
            assert!(size < 16 || block as usize % OBJECT_ALIGN == 0, "a block that no object could lie in");
            // SAFETY: the counter below.
            unsafe { *arg.cast::<u64>() += 1 };
        }
        true
    }
    let mut blocks = 0u64;
    for heap in mutator.state().heap.engine_heaps() {
        // SAFETY: this thread's heap, and no other thread uses it.
        unsafe { sys::mi_heap_visit_blocks(heap.as_ptr(), true, Some(count), (&raw mut blocks).cast()) };
    }
    blocks
}

fn counted_blocks(mutator: &Mutator) -> u64 {
    let metrics = mutator.metrics();
    metrics.live.now.objects + metrics.pending.now.objects + metrics.abandoned.objects
}

#[test]
fn the_engine_agrees_with_the_counts() {
    for pacing in [Pacing::default(), Pacing::stress(), Pacing::eager()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mut kept: Vec<Ref<(u64, Option<Ref<String>>)>> = Vec::new();
        for round in 0..20usize {
            for index in 0..500u64 {
                let text = (index % 3 == 0).then(|| mutator.alloc(index.to_string()).unwrap());
                kept.push(mutator.alloc((index, text)).unwrap());
                drop(mutator.alloc_tail((), index as usize * 50, |_| 0u8).unwrap());
            }
            kept.retain(|object| (object.0 as usize + round) % 4 != 0);
            assert_eq!(engine_blocks(&mutator), counted_blocks(&mutator), "round {round} under {pacing:?}");
        }
        kept.clear();
        mutator.collect(Budget::Unbounded);
        assert_eq!((engine_blocks(&mutator), counted_blocks(&mutator)), (0, 0));
    }
}

/// Blocks kept at hand are in use for the engine until memory is wanted back, and there are only so many of them.
#[test]
fn what_is_kept_at_hand_is_bounded_and_given_back() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let sizes = || (0..=SMALL + 64).step_by(8);
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let blocks: Vec<_> =
        (0..200).flat_map(|_| sizes()).map(|size| (mutator.allocate(layout(size)).unwrap(), layout(size))).collect();
    for (block, layout) in blocks {
        // SAFETY: allocated above with this layout.
        unsafe { mutator.deallocate(block, layout) };
    }
    assert_eq!(mutator.metrics().block_bytes, 0);
    let lists = CLASSES as u64;
    let kept = visible_blocks(&mutator);
    assert_eq!(kept, lists * u64::from(MOST_BLOCKS));
    // A beat empties one list.
    let beat = Layout::from_size_align(64 << 10, 8).unwrap();
    for beats in 1..=lists {
        let block = mutator.allocate(beat).unwrap();
        // SAFETY: allocated above with this layout.
        unsafe { mutator.deallocate(block, beat) };
        assert_eq!(visible_blocks(&mutator), (lists - beats) * u64::from(MOST_BLOCKS));
    }
    // SAFETY: as above.
    unsafe { mutator.deallocate(mutator.allocate(layout(48)).unwrap(), layout(48)) };
    assert_eq!(visible_blocks(&mutator), u64::from(MOST_BLOCKS != 0));
    mutator.release_memory();
    assert_eq!(visible_blocks(&mutator), 0);
}

/// Blocks of one class in all its sizes, from each way to allocate, freed and taken again: none reaches into another.
#[test]
fn every_size_of_a_class_fits_its_blocks() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let mut blocks = Vec::new();
    for round in 0..4usize {
        for size in (0..=2 * SMALL).step_by(1 + round) {
            let layout = Layout::from_size_align(size, 1 << (size % 5)).unwrap();
            let block = if size % 2 == 0 { mutator.allocate(layout) } else { mutator.allocate_zeroed(layout) }.unwrap();
            assert_eq!(block.as_ptr() as usize % layout.align(), 0);
            let block = if size % 7 == 0 {
                // SAFETY: allocated above with this layout; `block` is not used again.
                unsafe { mutator.reallocate(block, layout, size / 2) }.unwrap()
            } else {
                block
            };
            let size = if size % 7 == 0 { size / 2 } else { size };
            // SAFETY: of this size.
            unsafe { block.write_bytes(size as u8, size) };
            blocks.push((block, Layout::from_size_align(size, layout.align()).unwrap()));
        }
        // Every third stays into the next round.
        let mut index = 0;
        blocks.retain(|&(block, layout)| {
            index += 1;
            // SAFETY: of this size, written above.
            let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|byte| *byte == layout.size() as u8), "{layout:?}");
            if index % 3 > 0 {
                // SAFETY: allocated above with this layout.
                unsafe { mutator.deallocate(block, layout) };
            }
            index % 3 == 0
        });
    }
    for (block, layout) in blocks {
        // SAFETY: as above.
        unsafe { mutator.deallocate(block, layout) };
    }
    assert_eq!(mutator.metrics().block_bytes, 0);
    assert_eq!(engine_blocks(&mutator), 0);
}

/// What is counted for a block is at least what the engine has in use for it, whatever the request and however it was resized.
#[test]
fn a_block_counts_for_at_least_what_the_engine_uses() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let check = |block: NonNull<u8>, layout: Layout| {
        // SAFETY: a live block of the engine.
        let usable = unsafe { sys::mi_usable_size(block.as_ptr().cast()) } as u64;
        assert!(usable >= layout.size() as u64 && usable <= counted_bytes(layout), "{layout:?}: {usable}");
    };
    for size in (0..5_000).chain((5_000..3 << 20).step_by(4_999)).chain([100 << 20]) {
        for align in [1, 16, 32, 64, 4096, 65536] {
            let layout = Layout::from_size_align(size, align).unwrap();
            let mut block = mutator.allocate(layout).unwrap();
            check(block, layout);
            let mut old = layout;
            for new in [size + 1, size / 2, size / 2 + 10, size] {
                // SAFETY: allocated with the layout `old`, and not used again.
                block = unsafe { mutator.reallocate(block, old, new) }.unwrap();
                old = Layout::from_size_align(new, align).unwrap();
                check(block, old);
            }
            // SAFETY: of this layout now.
            unsafe { mutator.deallocate(block, old) };
        }
    }
    assert_eq!(mutator.in_use(), 0);
}
