//! Test only: what the engine itself says is allocated, against what is counted.

use core::ffi::c_void;

use crate::deferred::{Budget, OBJECT_ALIGN};
use crate::sys::MiHeap;
use crate::{Mutator, Pacing, Ref, Runtime};

type Visitor = unsafe extern "C" fn(*const MiHeap, *const c_void, *mut c_void, usize, *mut c_void) -> bool;

unsafe extern "C" {
    fn mi_heap_visit_blocks(heap: *mut MiHeap, blocks: bool, visitor: Visitor, arg: *mut c_void) -> bool;
}

/// Blocks of the mutator's heap that the engine holds to be in use, and whether all lie as objects must.
fn engine_blocks(mutator: &Mutator) -> u64 {
    unsafe extern "C" fn count(
        _: *const MiHeap,
        _: *const c_void,
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
    let heap = mutator.state().heap.engine_heap();
    // SAFETY: this thread's heap, and no other thread uses it.
    unsafe { mi_heap_visit_blocks(heap.as_ptr(), true, count, (&raw mut blocks).cast()) };
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
