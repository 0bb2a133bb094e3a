//! What other threads see of a mutator.

use super::metrics::Metrics;
#[cfg(doc)]
use super::mutator::Mutator;
use super::seqlock::{Reader, Writer};
use super::words::{Shown, WORDS};

/// Reads what a mutator has counted, from any thread. Made by [`Mutator::watch`]; may outlive the mutator and its objects, and
/// then keeps the last figures.
///
/// ```
/// use mimalloc_runtime::Runtime;
/// let mutator = Runtime::new()?.attach()?;
/// let watch = mutator.watch();
/// let monitor = std::thread::spawn(move || {
///     while watch.is_attached() {
///         let seen = watch.metrics();
///         assert!(seen.freed.objects <= seen.allocated.objects);
///     }
///     watch.metrics()
/// });
/// for number in 0..100_000 {
///     mutator.alloc(number).expect("memory");
/// }
/// drop(mutator);
/// assert_eq!(monitor.join().unwrap().freed.objects, 100_000);
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Watch {
    words: Reader<WORDS>,
}

impl Watch {
    /// What the mutator has counted, all of one moment: the last beat, the end of the last
    /// [`collect`](Mutator::collect) or [`release_memory`](Mutator::release_memory), the last allocation that found no room, the
    /// last call of [`Mutator::metrics`], the attaching or the detaching, whichever came last; after the detaching, the last death
    /// of an object.
    ///
    /// So it is old by what the mutator has allocated and freed since: of allocations less than a beat, unless the
    /// allocations that are due have no poll yet ([`ChargingAlloc`](crate::ChargingAlloc)). A mutator that does not allocate shows nothing new
    /// however much time passes. What is due within a beat, such as an allocation that is being made, is not in it.
    ///
    /// # Cost
    /// Some 60 loads, and no lock: neither side waits for the other. COST_HERE The mutator pays as many
    /// stores for each beat, and nothing for an allocation.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shown().metrics
    }

    /// Whether the mutator is attached. When it is not, [`metrics`](Watch::metrics) has what was counted up to its detaching, at least.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.shown().attached
    }

    pub(super) fn shown(&self) -> Shown {
        Shown::from_words(self.words.read())
    }
}

/// The other side of a [`Watch`].
#[derive(Debug)]
pub(super) struct Display {
    words: Writer<WORDS>,
}

impl Display {
    pub(super) fn new() -> Display {
        Display { words: Writer::new() }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch { words: self.words.reader() }
    }

    pub(super) fn show(&self, shown: Shown) {
        self.words.write(shown.to_words());
    }
}
