//! What other threads see of a mutator.

use crate::error::Error;

use super::metrics::Metrics;
#[cfg(doc)]
use super::mutator::Mutator;
use super::seqlock::{Reader, Writer};
use super::words::{self, Shown, WORDS};

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
    /// What the mutator has counted, all of one moment. It is shown
    /// - on each beat, before the handlers are called;
    /// - at the end of [`collect`](Mutator::collect), [`release_memory`](Mutator::release_memory) and [`Mutator::metrics`];
    /// - when an allocation has found no room;
    /// - when finalizers have run;
    /// - when the mutator is attached and detached, and after that whenever one of its objects dies.
    ///
    /// So it is as old as what the mutator has allocated and freed since, of allocations less than a beat; but those of Rust's own
    /// ([`ChargingAlloc`](crate::ChargingAlloc)) make no beat before the next allocation or safepoint of the mutator, and what a handler or
    /// a `Drop` allocates that an allocation has called makes none before it returns. In time it may be
    /// of any age: a mutator that does not allocate shows nothing new.
    ///
    /// # Cost
    /// Some 250 instructions and no lock, so that each millisecond is not too often: neither side waits for the other. The mutator
    /// pays some 250 instructions for each beat, whether anybody reads or not, and nothing for an allocation.
    #[must_use]
    #[inline]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = words::NOTHING;
        self.read_into(&mut metrics);
        metrics
    }

    /// Whether the mutator is attached. When it is not, [`metrics`](Watch::metrics) has what was counted up to its detaching, at least.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.shown().attached
    }

    /// [`is_attached`](Watch::is_attached) and [`metrics`](Watch::metrics) of one moment.
    #[cfg(feature = "metrics")]
    pub(crate) fn read(&self) -> (bool, Metrics) {
        let Shown { attached, metrics } = self.shown();
        (attached, metrics)
    }

    pub(super) fn shown(&self) -> Shown {
        let mut metrics = words::NOTHING;
        let attached = self.read_into(&mut metrics);
        Shown { attached, metrics }
    }

    /// Reads the figures, and returns whether the mutator is attached.
    // Out of line, and into memory, so that each word goes to its place without a stop in between.
    #[inline(never)]
    fn read_into(&self, metrics: &mut Metrics) -> bool {
        let mut attached = false;
        self.words.read(|mut words| attached = words::take(metrics, || words.take()));
        attached
    }
}

/// The other side of a [`Watch`].
#[derive(Debug)]
pub(super) struct Display {
    words: Writer<WORDS>,
    /// On the roster of the runtime.
    number: u64,
}

impl Display {
    /// # Errors
    /// When there is no memory.
    pub(super) fn new(number: u64) -> Result<Display, Error> {
        let display = Display { words: Writer::new()?, number };
        // From the start, or who sums up would count it among those that were detached.
        display.show(Shown { attached: true, ..Shown::default() });
        Ok(display)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn watch(&self) -> Watch {
        Watch { words: self.words.reader() }
    }

    #[inline(always)]
    pub(super) fn show(&self, shown: Shown) {
        self.words.write(|mut words| shown.put(|word| words.put(word)));
    }
}
