//! What other threads are shown of a mutator, as words ([`seqlock`](super::seqlock)).

use crate::deferred::{Tally, Trials};

use super::finalizer::Finalizers;
use super::metrics::{EngineCalls, Ladder, Live, Metrics, Steps};

/// What a mutator shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shown {
    pub(super) attached: bool,
    pub(super) metrics: Metrics,
}

/// The words of [`Shown`]. Of the figures each is a word, save that an `Option` is two, which is as many as they take in memory.
pub(super) const WORDS: usize = 1 + size_of::<Metrics>() / size_of::<u64>();

impl Shown {
    /// Calls `put` with each of the words.
    #[inline(always)]
    pub(super) fn put(mut self, mut put: impl FnMut(u64)) {
        self.attached.each(&mut |word| put(*word));
        self.metrics.each(&mut |word| put(*word));
    }
}

/// Takes the words that [`Shown::put`] has put, in their order. Returns whether it was attached, and leaves the rest in `metrics`.
#[inline(always)]
pub(super) fn take(metrics: &mut Metrics, mut take: impl FnMut() -> u64) -> bool {
    let mut attached = false;
    attached.each(&mut |word| *word = take());
    metrics.each(&mut |word| *word = take());
    attached
}

/// No figures yet. Unlike the default it is made at compile time, and a single fill in the program.
pub(super) const NOTHING: Metrics = Metrics::NOTHING;

/// Made of words, which are visited in one order for reading and for writing.
trait Words {
    /// All of them 0.
    const NOTHING: Self;

    fn each(&mut self, visit: &mut impl FnMut(&mut u64));
}

impl Words for u64 {
    const NOTHING: u64 = 0;

    #[inline(always)]
    fn each(&mut self, visit: &mut impl FnMut(&mut u64)) {
        visit(self);
    }
}

impl Words for bool {
    const NOTHING: bool = false;

    #[inline(always)]
    fn each(&mut self, visit: &mut impl FnMut(&mut u64)) {
        let mut word = u64::from(*self);
        visit(&mut word);
        *self = word > 0;
    }
}

impl Words for Option<u64> {
    const NOTHING: Option<u64> = None;

    #[inline(always)]
    fn each(&mut self, visit: &mut impl FnMut(&mut u64)) {
        let (mut is_some, mut value) = (self.is_some(), self.unwrap_or(0));
        is_some.each(visit);
        value.each(visit);
        *self = is_some.then_some(value);
    }
}

impl<const COUNT: usize> Words for [u64; COUNT] {
    const NOTHING: [u64; COUNT] = [0; COUNT];

    #[inline(always)]
    fn each(&mut self, visit: &mut impl FnMut(&mut u64)) {
        self.iter_mut().for_each(visit);
    }
}

/// A structure, by all of its fields: one that is left out here does not compile.
macro_rules! words {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Words for $name {
            const NOTHING: $name = $name { $($field: Words::NOTHING),* };

            #[inline(always)]
            fn each(&mut self, visit: &mut impl FnMut(&mut u64)) {
                let $name { $($field),* } = self;
                $($field.each(visit);)*
            }
        }
    )*};
}

words! {
    Metrics {
        beats, allocated, freed, live, pending, large, abandoned, block_bytes, in_use_bytes, peak_in_use_bytes, limit, ladder,
        debt, steps, trials, finalizers, panics, engine_calls
    }
    Tally { objects, bytes }
    Live { now, peak_bytes }
    Ladder { climbed, helped, refused }
    Steps { count, by_cause, max_units, units }
    Trials { begun, probes, given_up, members, garbage, forgotten }
    Finalizers { registered, due, run }
    EngineCalls { routine, forced, forced_elsewhere }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field another number. Written out, so that a new one has to be added.
    fn filled(limit: impl FnOnce(u64) -> Option<u64>) -> Shown {
        let mut last = 0;
        let mut next = || {
            last += 1;
            last
        };
        let mut tally = || Tally { objects: next(), bytes: next() };
        let [allocated, freed, live, pending, large, abandoned] = core::array::from_fn(|_| tally());
        let metrics = Metrics {
            beats: next(),
            allocated,
            freed,
            live: Live { now: live, peak_bytes: next() },
            pending: Live { now: pending, peak_bytes: next() },
            large,
            abandoned,
            block_bytes: next(),
            in_use_bytes: next(),
            peak_in_use_bytes: next(),
            limit: limit(next()),
            ladder: Ladder {
                climbed: core::array::from_fn(|_| next()),
                helped: core::array::from_fn(|_| next()),
                refused: next(),
            },
            debt: next(),
            steps: Steps {
                count: next(),
                by_cause: core::array::from_fn(|_| next()),
                max_units: next(),
                units: next(),
            },
            trials: Trials {
                begun: next(),
                probes: next(),
                given_up: next(),
                members: next(),
                garbage: next(),
                forgotten: next(),
            },
            finalizers: Finalizers { registered: next(), due: next(), run: next() },
            panics: next(),
            engine_calls: EngineCalls { routine: next(), forced: next(), forced_elsewhere: next() },
        };
        Shown { attached: true, metrics }
    }

    fn words(shown: Shown) -> Vec<u64> {
        let mut words = Vec::new();
        shown.put(|word| words.push(word));
        words
    }

    #[test]
    fn every_field_comes_back() {
        assert_eq!(NOTHING, Metrics::default());
        for shown in [filled(Some), filled(|_| None), Shown { attached: false, ..filled(Some) }, Shown::default()] {
            let mut words = words(shown).into_iter();
            let mut metrics = filled(Some).metrics;
            let attached = take(&mut metrics, || words.next().unwrap());
            assert_eq!((Shown { attached, metrics }, words.next()), (shown, None));
        }
    }

    #[test]
    fn every_word_is_used_once() {
        let mut words = words(filled(Some));
        assert_eq!(words.len(), WORDS);
        words.sort_unstable();
        // Those of `attached` and of the limit's being there beside the numbers from 1 on.
        let numbers: Vec<u64> = (1..WORDS as u64 - 1).collect();
        assert_eq!(words[..2], [1, 1]);
        assert_eq!(words[2..], numbers[..]);
    }
}
