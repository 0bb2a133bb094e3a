//! Reads of freed memory, planted: do memory checkers see the objects in the engine's heaps at all?
//!
//! A checker knows the C library's `malloc` and `free`. The engine takes its memory from the operating system and tells a
//! checker of its blocks only if it was built to; if it was not, everything passes under the checker, and nothing was
//! checked. So `ci/asan.sh` and `ci/valgrind.sh` set the variable [`PLANT`] and demand a report from each test. Without it
//! the same reads are made in time.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::thread;

use mimalloc_runtime::{Budget, Ref, Runtime, Trace};

const PLANT: &str = "MIMALLOC_RUNTIME_PLANT";

const VALUE: u64 = 0x5eed;

#[derive(Trace)]
struct Node {
    value: u64,
    next: Option<Ref<Node>>,
}

/// Reads the value at `place` before `free`, or if a fault is planted, after it.
fn read_around(place: NonNull<u64>, free: impl FnOnce()) {
    let planted = std::env::var_os(PLANT).is_some();
    if !planted {
        // SAFETY: not freed yet.
        assert_eq!(unsafe { place.read_volatile() }, VALUE);
    }
    free();
    if planted {
        // SAFETY: none. This is the fault, and a memory checker has to stop here.
        unsafe { place.read_volatile() };
    }
}

#[test]
fn object_freed_by_a_collection() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let child = mutator.alloc(Node { value: VALUE, next: None }).unwrap();
    let place = NonNull::from(&child.value);
    let parent = mutator.alloc(Node { value: 0, next: Some(child) }).unwrap();
    assert_eq!(parent.next.as_ref().map(|child| child.value), Some(VALUE));
    read_around(place, || {
        drop(parent);
        assert!(mutator.collect(Budget::Unbounded).is_done());
    });
}

#[test]
fn leaf_freed_by_its_drop() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let leaf = mutator.alloc(VALUE).unwrap();
    read_around(NonNull::from(&*leaf), || drop(leaf));
}

#[test]
fn block_freed() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let layout = Layout::new::<[u64; 8]>();
    let block = mutator.allocate(layout).unwrap();
    // SAFETY: within the block.
    unsafe { block.cast::<u64>().write(VALUE) };
    // SAFETY: allocated above with this layout.
    read_around(block.cast(), || unsafe { mutator.deallocate(block, layout) });
}

#[test]
fn block_freed_on_another_thread() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let layout = Layout::new::<[u64; 8]>();
    let block = mutator.allocate(layout).unwrap();
    // SAFETY: within the block.
    unsafe { block.cast::<u64>().write(VALUE) };
    let remote = mutator.remote_free();
    let address = block.as_ptr().expose_provenance();
    read_around(block.cast(), || {
        let free = move || {
            let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
            // SAFETY: allocated above with this layout by the mutator that made `remote`; freed once.
            unsafe { remote.free(block, layout) };
        };
        thread::spawn(free).join().unwrap();
    });
}
