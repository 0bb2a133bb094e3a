//! What mutators leave in use in a heap, and how it is known when that is gone.

use crate::error::Error;
use crate::fallible::{self, TryArc};
use core::sync::atomic::Ordering;

use super::heap::FreedElsewhere;

/// The blocks of a heap that mutators which have gone left in use. Threads that hold a [`RemoteFree`](crate::RemoteFree) of
/// such a mutator may free them at any time; nobody else can.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// An entry for each mutator of which blocks may be in use.
    left: Vec<Leftover>,
    /// Whether something is in use that nobody can free.
    for_good: bool,
}

#[derive(Debug)]
struct Leftover {
    freed: TryArc<FreedElsewhere>,
    /// What `freed` comes to when all is freed.
    all: u64,
}

impl Leftover {
    fn is_gone(&self) -> bool {
        // Acquire: pairs with the Release in `RemoteFree::free`.
        self.freed.bytes.load(Ordering::Acquire) == self.all
    }
}

impl Leftovers {
    /// Makes room for one more mutator.
    pub(super) fn reserve(&mut self) -> Result<(), Error> {
        self.left.try_reserve(1).map_err(|_| fallible::out_of_memory())
    }

    /// A mutator goes, for which there is room, whose blocks are all freed when `freed` comes to `all`. `None`: nobody can tell, or free them.
    pub(super) fn add(&mut self, freed: TryArc<FreedElsewhere>, all: Option<u64>) {
        match all {
            None => self.for_good = true,
            Some(all) => {
                let left = Leftover { freed, all };
                if !left.is_gone() {
                    self.left.push(left);
                }
            }
        }
    }

    /// Whether nothing is left: then no block of these mutators is in use, and none will be freed any more.
    pub(super) fn are_gone(&self) -> bool {
        !self.for_good && self.left.iter().all(Leftover::is_gone)
    }

    /// Forgets what is gone, and says whether nothing is left.
    pub(super) fn look(&mut self) -> bool {
        self.left.retain(|left| {
            // Who alone has it sees all that was ever freed; what is left then will not be.
            let last = left.freed.is_alone();
            let gone = left.is_gone();
            self.for_good |= last && !gone;
            !last && !gone
        });
        self.are_gone()
    }

    /// Whether something is left that nobody can free.
    pub(super) fn are_for_good(&self) -> bool {
        self.for_good
    }
}

#[cfg(test)]
mod tests {
    use super::{FreedElsewhere, Leftovers, Ordering, TryArc};

    #[test]
    fn what_is_left_goes_when_it_is_freed_and_stays_when_nobody_can_free_it() {
        let freed = [16, 0, 48].map(|bytes| {
            let freed = TryArc::new(FreedElsewhere::default()).unwrap();
            freed.bytes.store(bytes, Ordering::Relaxed);
            freed
        });
        let mut left = Leftovers::default();
        assert!(left.look());
        left.add(freed[0].clone(), Some(16));
        assert!(left.are_gone() && left.left.is_empty(), "all was freed before");
        left.add(freed[1].clone(), Some(32));
        left.add(freed[2].clone(), Some(64));
        assert!(!left.look());
        for freed in &freed[1..] {
            assert!(!freed.is_alone());
            freed.bytes.fetch_add(16, Ordering::Release);
        }
        assert!(!left.look());
        // The last is gone and forgotten, the other is half freed.
        assert_eq!(freed.each_ref().map(TryArc::is_alone), [true, false, true]);
        let [_, half, _] = freed;
        half.bytes.fetch_add(16, Ordering::Release);
        drop(half);
        assert!(left.are_gone() && left.look() && !left.are_for_good(), "freed by the last who could");

        let lost = TryArc::new(FreedElsewhere::default()).unwrap();
        left.add(lost.clone(), Some(16));
        assert!(!left.look() && !left.are_for_good());
        drop(lost);
        assert!(!left.look() && left.are_for_good() && left.left.is_empty());
        let mut unknown = Leftovers::default();
        unknown.add(TryArc::new(FreedElsewhere::default()).unwrap(), None);
        assert!(!unknown.look() && unknown.are_for_good());
    }
}
