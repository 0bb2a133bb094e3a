//! Blocks of a mutator that are freed without it.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::deferred::counted;
use crate::fallible::TryArc;
use crate::sys;

use super::half::{look_at, poison};

/// What threads without the mutator have freed of its blocks, in bytes as they are counted. Every block counts, so the bytes
/// that are left are 0 exactly when no block is.
#[derive(Debug, Default)]
pub(crate) struct FreedElsewhere {
    pub(crate) bytes: AtomicU64,
    /// Whether such blocks are [poisoned](poison).
    poisons: bool,
}

impl FreedElsewhere {
    pub(crate) fn new(poisons: bool) -> FreedElsewhere {
        FreedElsewhere { bytes: AtomicU64::new(0), poisons }
    }
}

/// Frees blocks of a mutator from any thread.
///
/// Made by [`Mutator::remote_free`](crate::Mutator::remote_free); cheap to clone; may outlive the mutator.
#[derive(Clone, Debug)]
pub struct RemoteFree {
    pub(in crate::runtime) freed: TryArc<FreedElsewhere>,
}

impl RemoteFree {
    /// Frees a block.
    ///
    /// # Safety
    /// 1. `block` was allocated by [`Mutator::allocate`](crate::Mutator::allocate) or a sibling of it, of the mutator that
    ///    this was made by, with this `layout`, and is not used again.
    ///
    /// # Cost
    /// One `mi_free` of another thread's block, and an atomic addition.
    pub unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: a live block of the engine (1).
        unsafe { look_at(block) };
        if self.freed.poisons {
            // SAFETY: as above, and not used again (1).
            unsafe { poison(block) }
        }
        // SAFETY: as above.
        unsafe { sys::mi_free(block.as_ptr().cast()) };
        // Release: whoever sees the block counted as freed (Acquire in `Leftover::is_gone`) comes after the free itself, and
        // may destroy the heap.
        self.freed.bytes.fetch_add(counted(layout.size(), layout.align()), Ordering::Release);
    }
}
