//! Planted faults: do the checkers of memory and threads see the objects in the engine's heaps at all?
//!
//! A memory checker knows the C library's `malloc` and `free`. The engine takes its memory from the operating system
//! and tells a checker of its blocks only if it was built to; if it was not, everything passes under the checker, and
//! nothing was checked. So `ci/asan.sh`, `ci/valgrind.sh` and `ci/tsan.sh` set the variable [`PLANT`] and demand a
//! report from these tests. Without it they do the same at a time, or on a thread, where it is right.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::thread;

use mimalloc_runtime::{Budget, Object, Ref, Runtime, Trace, raw};

const PLANT: &str = "MIMALLOC_RUNTIME_PLANT";

const VALUE: u64 = 0x5eed;

#[derive(Trace)]
struct Node {
    value: u64,
    next: Option<Ref<Node>>,
}

fn planted() -> bool {
    std::env::var_os(PLANT).is_some()
}

/// Reads the value at `place` before `free`, or if a fault is planted, after it.
fn read_around(place: NonNull<u64>, free: impl FnOnce()) {
    if !planted() {
        // SAFETY: not freed yet.
        assert_eq!(unsafe { place.read_volatile() }, VALUE);
    }
    free();
    if planted() {
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

/// Gives a reference up that was not held: the header is read to do so.
#[test]
fn object_freed_twice() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let object = Ref::into_raw(mutator.alloc(VALUE).unwrap());
    // SAFETY: the handle's reference.
    unsafe { raw::release(object) };
    if planted() {
        // SAFETY: none. This is the fault.
        unsafe { raw::release(object) };
    }
}

/// The engine does not read what it frees; where tools watch, the crate does.
#[test]
fn block_freed_twice() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let layout = Layout::new::<[u64; 8]>();
    let block = mutator.allocate(layout).unwrap();
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(block, layout) };
    if planted() {
        // SAFETY: none. This is the fault.
        unsafe { mutator.deallocate(block, layout) };
    }
}

/// Writes through a pointer to one block into the one behind it, which is free. (Into one that is in use no tool sees it: a
/// pointer has no bounds.)
#[test]
fn block_written_into_the_next() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let layout = Layout::new::<[u64; 8]>();
    let mut blocks: Vec<_> = (0..100).map(|_| mutator.allocate(layout).unwrap()).collect();
    blocks.sort_unstable();
    let distance = |pair: &[NonNull<u8>]| pair[1].as_ptr() as usize - pair[0].as_ptr() as usize;
    let at = (1..blocks.len()).min_by_key(|at| distance(&blocks[at - 1..=*at])).unwrap();
    let beyond = distance(&blocks[at - 1..=at]);
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(blocks.remove(at), layout) };
    let last = layout.size() - 8;
    // SAFETY: within the block; or if a fault is planted, in the next one.
    let word = unsafe { blocks[at - 1].add(if planted() { beyond } else { last }) };
    // SAFETY: as above.
    unsafe { word.cast::<u64>().write_volatile(VALUE) };
    for block in blocks {
        // SAFETY: allocated above with this layout.
        unsafe { mutator.deallocate(block, layout) };
    }
}

/// A heap is destroyed when nothing in it is in use. The engine does not tell a tool of it, and takes back what it had told of
/// the blocks; but told to have no arenas (`MIMALLOC_DISALLOW_ARENA_ALLOC=1`) it gives the memory back to the system.
#[test]
fn object_of_a_heap_that_was_destroyed() {
    let runtime = Runtime::builder().idle_heaps(0).build().unwrap();
    let mutator = runtime.attach().unwrap();
    let leaf = mutator.alloc(VALUE).unwrap();
    read_around(NonNull::from(&*leaf), || {
        drop(leaf);
        drop(mutator);
        drop(runtime);
    });
}

#[test]
fn object_counted_by_two_threads() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let leaf = mutator.alloc(VALUE).unwrap();
    let address = Ref::as_raw(&leaf).as_ptr().expose_provenance();
    let count = move || {
        let object: NonNull<Object> = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
        // SAFETY: alive, the handle's, and on its thread; unless a fault is planted: then a checker of threads has to
        // stop here.
        unsafe { raw::retain(object) };
        // SAFETY: as above; the reference just taken.
        unsafe { raw::release(object) };
    };
    if planted() {
        let other = thread::spawn(count);
        count();
        other.join().unwrap();
    } else {
        count();
        count();
        assert!(Ref::is_unique(&leaf));
    }
}
