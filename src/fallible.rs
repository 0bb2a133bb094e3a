//! Memory of Rust's own heap, with an answer when there is none. The standard library ends the process then.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind};

/// `value` in a box. Out of memory it is dropped.
pub(crate) fn boxed<T>(value: T) -> Result<Box<T>, Error> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value)); // allocates nothing
    }
    // SAFETY: not of no size.
    let place = unsafe { std::alloc::alloc(layout) };
    let place = NonNull::new(place).ok_or_else(out_of_memory)?.cast::<T>();
    // SAFETY: fresh memory of this layout.
    unsafe { place.write(value) };
    // SAFETY: allocated by the global allocator with the layout of the value that it holds.
    Ok(unsafe { Box::from_raw(place.as_ptr()) })
}

pub(crate) fn out_of_memory() -> Error {
    Error::new(ErrorKind::OutOfMemory, "Rust's global allocator has no memory: free some, or give the process more")
}

/// Shared ownership across threads: an `Arc` that can be made where memory has run out.
///
/// Invariant OWNERS: `shared` is alive until its last owner goes, and each value of this type is one of its `owners`.
pub(crate) struct TryArc<T> {
    shared: NonNull<Owned<T>>,
    _owns: PhantomData<Owned<T>>,
}

struct Owned<T> {
    owners: AtomicUsize,
    value: T,
}

// SAFETY: as an `Arc`: whoever has one reaches the value, and drops it if it is the last.
unsafe impl<T: Send + Sync> Send for TryArc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for TryArc<T> {}

impl<T> TryArc<T> {
    /// Out of memory the value is dropped.
    pub(crate) fn new(value: T) -> Result<TryArc<T>, Error> {
        let shared = boxed(Owned { owners: AtomicUsize::new(1), value })?;
        Ok(TryArc { shared: NonNull::from(Box::leak(shared)), _owns: PhantomData })
    }

    /// Whether nobody else owns it. If so, all that others did with it came before this.
    pub(crate) fn is_alone(&self) -> bool {
        // Acquire: pairs with the Release of those who gave their share up. Shares are made from shares alone.
        self.owned().owners.load(Ordering::Acquire) == 1
    }

    fn owned(&self) -> &Owned<T> {
        // SAFETY: OWNERS.
        unsafe { self.shared.as_ref() }
    }
}

impl<T> Deref for TryArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.owned().value
    }
}

impl<T> Clone for TryArc<T> {
    fn clone(&self) -> Self {
        // Relaxed: who has a share can make one.
        let owners = self.owned().owners.fetch_add(1, Ordering::Relaxed);
        if owners > isize::MAX as usize {
            // Only by leaking shares in a loop. Counting on to 0 would free it below its owners.
            std::process::abort();
        }
        TryArc { shared: self.shared, _owns: PhantomData }
    }
}

impl<T> Drop for TryArc<T> {
    fn drop(&mut self) {
        // Release: what this owner did with the value comes before its drop.
        if self.owned().owners.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        // Acquire: and so does what the others did. A load, as tools do not see what a fence orders.
        self.owned().owners.load(Ordering::Acquire);
        // SAFETY: OWNERS: this was the last, and the box is the one that `new` leaked.
        drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
    }
}

impl<T: fmt::Debug> fmt::Debug for TryArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::sync::atomic::AtomicU64;

    /// Threads that take and give up shares: the value goes once, with the last, and what they did is seen there.
    #[test]
    fn a_shared_value_goes_with_its_last_owner() {
        static DROPS: AtomicU64 = AtomicU64::new(0);
        static SUM: AtomicU64 = AtomicU64::new(0);
        struct Counts([Cell<u64>; 4]);
        // SAFETY: each thread has a cell of its own, and the sum is made by the last owner.
        unsafe impl Sync for Counts {}
        impl Drop for Counts {
            fn drop(&mut self) {
                DROPS.fetch_add(1, Ordering::Relaxed);
                SUM.fetch_add(self.0.iter().map(Cell::get).sum(), Ordering::Relaxed);
            }
        }
        let mut expected = 0;
        for round in 0..if cfg!(small_tests) { 50 } else { 500 } {
            let shared = TryArc::new(Counts(Default::default())).unwrap();
            assert!(shared.is_alone());
            let threads = [0, 1, 2, 3].map(|at| {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    for _ in 0..round % 7 {
                        let again = shared.clone();
                        again.0[at].set(again.0[at].get() + 1);
                    }
                })
            });
            drop(shared);
            for thread in threads {
                thread.join().unwrap();
            }
            expected += 4 * (round % 7);
            assert_eq!((DROPS.load(Ordering::Relaxed), SUM.load(Ordering::Relaxed)), (round + 1, expected));
        }
    }
}
