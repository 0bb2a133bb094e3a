//! A global allocator that charges the current mutator.

use core::alloc::{GlobalAlloc, Layout};

use crate::sys;

use super::thread;

/// A global allocator that charges what Rust allocates to the heartbeat of the thread's mutator, so that a VM's own `Box`es and
/// `Vec`s count for beats and pay for collection.
///
/// ```
/// use mimalloc_runtime::{ChargingAlloc, Runtime};
///
/// #[global_allocator]
/// static GLOBAL: ChargingAlloc = ChargingAlloc;
///
/// let mutator = Runtime::new()?.attach()?;
/// let kept: Vec<String> = (0..100_000).map(|number| format!("{number:>100}")).collect();
/// mutator.safepoint();
/// assert!(mutator.metrics().beats > 150); // each of 64 KiB
/// # drop(kept);
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
///
/// Memory comes from the engine's default heap, not from the mutator's: it may be freed on any thread, and is no part of
/// [`Metrics::block_bytes`](crate::Metrics::block_bytes) or of any other sum of bytes in use. Containers that should lie in the
/// mutator's heap and be counted take a handle of it (`Mutator::heap`, with the feature `allocator_api2`).
///
/// # What is charged, and to whom
///
/// Each allocation and reallocation on a thread with a mutator, in the bytes that were asked for, rounded up to 16: as for a raw
/// block. A free is not charged. On a thread without a mutator nothing is. Of several mutators on a thread, the one that was
/// attached last and still is pays for all.
///
/// It is a charge and nothing else: no step and no beat handler runs inside an allocation of Rust. The next allocation by the
/// mutator, or the next [`Mutator::safepoint`](crate::Mutator::safepoint), finds what is due; several beats are then told as
/// one ([`Beat::passed`](crate::Beat::passed)), and to the pacer it all is as one allocation of that size. So the bound on space
/// (promise P2) holds as it stands, for the bytes of objects and raw blocks, which never come unpaid because of it; only what a
/// pause cap carries over can be more, since one step may have much to pay for. A program that allocates little from the mutator
/// should reach a safepoint often.
///
/// The number of beats stays a function of the program (promise P4), whatever the engine. To that end what the crate allocates
/// for the process or at the engine's demand is not charged: attaching, the pool of heaps, the table of types, and everything
/// within a handler of [`register_deferred_free`](crate::register_deferred_free). What a mutator's own beat handlers and
/// observer allocate is. But the program is here what the compiler made of it: Rust may leave out an allocation that nothing needs, so a debug
/// and a release build can differ, as can two versions of the standard library. (With `RUST_BACKTRACE`, a panic allocates.)
///
/// # Cost
/// That of the engine's `mi_malloc_aligned`, `mi_zalloc_aligned`, `mi_realloc_aligned` and `mi_free`; to allocate, two
/// thread-locals and two counters more.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChargingAlloc;

// SAFETY: the engine's blocks are of the size and alignment that were asked for, live until freed, and may be freed on any
// thread. Nothing unwinds: charging adds up in thread-locals without destructors, so it also works before `main`, while
// thread-locals are destroyed; of ours, an allocation calls the trampoline alone, which never unwinds.
unsafe impl GlobalAlloc for ChargingAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        thread::charge(layout);
        // SAFETY: any size may be asked for, with a power of two.
        unsafe { sys::mi_malloc_aligned(layout.size(), layout.align()) }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        thread::charge(layout);
        // SAFETY: as above.
        unsafe { sys::mi_zalloc_aligned(layout.size(), layout.align()) }.cast()
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: a size that is one with this alignment, which is a power of two (the obligations of `GlobalAlloc::realloc`).
        thread::charge(unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) });
        // SAFETY: a live block of the engine (the obligations of `GlobalAlloc::realloc`).
        unsafe { sys::mi_realloc_aligned(block.cast(), new_size, layout.align()) }.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: a live block of the engine, not used again (the obligations of `GlobalAlloc::dealloc`).
        unsafe { sys::mi_free(block.cast()) }
    }
}
