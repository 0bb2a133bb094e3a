//! A sequence lock: words that one thread writes as often as it likes and any thread reads, all of one moment. Nobody waits.
//!
//! There are two copies of the words. A write goes into the copy that does not hold and then says that it does, by a version
//! that counts writes. A reader takes the copy that holds, and takes it again if the version has changed meanwhile. With a single copy,
//! as sequence locks mostly have, a reader would wait for a writer that does not go on: one that a debugger or a
//! signal has stopped, or one that a `fork` has left behind. Linux calls the form with two a *latch* (`seqcount_latch_t`).
//!
//! Invariant SEQLOCK: the copy `version % 2` holds what was written last; the other one is being written, or is older. A reader
//! of which a word was written over sees another version at the end. The fences are those of H.-J. Boehm, *Can seqlocks get
//! along with programming language memory models?* (MSPC 2012): the words are relaxed atomics, so that a reader that is too
//! slow reads what it throws away, and there is no data race. `ci/loom.sh` tries all interleavings of some writes and reads.

use core::fmt;
use core::marker::PhantomData;

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::error::Error;
use crate::fallible::TryArc;

struct Copies<const WORDS: usize> {
    /// How many writes there have been.
    version: AtomicU64,
    words: [[AtomicU64; WORDS]; 2],
}

impl<const WORDS: usize> Copies<WORDS> {
    fn of(&self, version: u64) -> &[AtomicU64; WORDS] {
        &self.words[(version % 2) as usize]
    }
}

/// What writes. There is one to a lock, and it stays on one thread at a time.
pub(super) struct Writer<const WORDS: usize> {
    copies: TryArc<Copies<WORDS>>,
    /// Not `Sync`: two writes at once would mix their words.
    _one_at_a_time: PhantomData<core::cell::Cell<()>>,
}

/// What reads, on any thread.
#[derive(Clone)]
pub(super) struct Reader<const WORDS: usize> {
    copies: TryArc<Copies<WORDS>>,
}

impl<const WORDS: usize> Writer<WORDS> {
    /// A lock around zeros.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn new() -> Result<Writer<WORDS>, Error> {
        let zeros = || core::array::from_fn(|_| AtomicU64::new(0));
        let copies = TryArc::new(Copies { version: AtomicU64::new(0), words: [zeros(), zeros()] })?;
        Ok(Writer { copies, _one_at_a_time: PhantomData })
    }

    pub(super) fn reader(&self) -> Reader<WORDS> {
        Reader { copies: self.copies.clone() }
    }

    /// Writes the words that `put` puts, which is to put all. Neither waits nor allocates. If it panics, nothing was written.
    #[inline(always)]
    pub(super) fn write(&self, put: impl FnOnce(InOrder<'_, WORDS>)) {
        let Copies { version, .. } = &*self.copies;
        let next = version.load(Ordering::Relaxed) + 1;
        // Who sees one of the words below also sees the version that the write before has set: the copy did not hold any more.
        fence(Ordering::Release);
        put(InOrder { words: self.copies.of(next), place: 0 });
        // Release: who sees this version sees the words.
        version.store(next, Ordering::Release);
    }
}

impl<const WORDS: usize> Reader<WORDS> {
    /// Has `take` take the words of the last write that was finished when it began, or of a later one. Repeated for as long as
    /// writes come faster than it reads: what it took before is to be thrown away.
    #[inline(always)]
    pub(super) fn read(&self, mut take: impl FnMut(InOrder<'_, WORDS>)) {
        let mut version = self.copies.version.load(Ordering::Acquire);
        loop {
            take(InOrder { words: self.copies.of(version), place: 0 });
            // Pairs with the writer's fence.
            fence(Ordering::Acquire);
            let now = self.copies.version.load(Ordering::Acquire);
            if now == version {
                return;
            }
            version = now;
        }
    }
}

/// The words of a copy, one after the other: so that each goes straight from where it was counted to its place, and from there to
/// where it is wanted. An array of them in between, of some fifty, costs twice as many instructions.
///
/// What is taken may be of several writes.
pub(super) struct InOrder<'a, const WORDS: usize> {
    words: &'a [AtomicU64; WORDS],
    place: usize,
}

impl<'a, const WORDS: usize> InOrder<'a, WORDS> {
    /// # Panics
    /// Behind the last.
    #[inline(always)]
    fn next(&mut self) -> &'a AtomicU64 {
        let word = &self.words[self.place];
        self.place += 1;
        word
    }

    /// # Panics
    /// Behind the last.
    #[inline(always)]
    pub(super) fn take(&mut self) -> u64 {
        self.next().load(Ordering::Relaxed)
    }

    /// # Panics
    /// Behind the last.
    #[inline(always)]
    pub(super) fn put(&mut self, word: u64) {
        self.next().store(word, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl<const WORDS: usize> Writer<WORDS> {
    fn put(&self, words: [u64; WORDS]) {
        self.write(|mut to| words.into_iter().for_each(|word| to.put(word)));
    }
}

#[cfg(test)]
impl<const WORDS: usize> Reader<WORDS> {
    fn taken(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        self.read(|mut from| words.iter_mut().for_each(|word| *word = from.take()));
        words
    }
}

impl<const WORDS: usize> fmt::Debug for Writer<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").finish()
    }
}

impl<const WORDS: usize> fmt::Debug for Reader<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read_also_when_the_writer_is_gone() {
        let writer = Writer::<3>::new().unwrap();
        let reader = writer.reader();
        assert_eq!(reader.taken(), [0; 3]);
        for number in 1..100 {
            writer.put([number, 2 * number, 3 * number]);
            assert_eq!(reader.taken(), [number, 2 * number, 3 * number]);
        }
        drop(writer);
        assert_eq!(reader.clone().taken(), [99, 198, 297]);
    }

    #[test]
    fn a_writer_that_never_finishes_keeps_nobody_waiting() {
        let writer = Writer::<2>::new().unwrap();
        writer.put([1, 1]);
        let reader = writer.reader();
        // As far as a write comes before it says so.
        writer.copies.of(2)[0].store(2, Ordering::Relaxed);
        assert_eq!(reader.taken(), [1, 1]);
    }
}

/// Run by `ci/loom.sh`, which tries every order in which the threads can go on and every value that each load may see.
#[cfg(all(test, loom))]
mod exhaustive {
    use loom::thread;

    use super::*;

    /// The second goes into the copy that held at first.
    const WRITES: u64 = 2;

    /// A thread that writes beside one that reads twice. Each write is of two equal words.
    fn beside(write: impl Fn(&Writer<2>, u64) + Copy + Send + Sync + 'static) {
        loom::model(move || {
            let writer = Writer::<2>::new().unwrap();
            let reader = writer.reader();
            let writing = thread::spawn(move || {
                for number in 1..=WRITES {
                    write(&writer, number);
                }
            });
            let [first, again] = reader.taken();
            assert_eq!(first, again, "words of two writes");
            let [later, again] = reader.taken();
            assert_eq!(later, again, "words of two writes");
            assert!(first <= later, "back in time");
            writing.join().unwrap();
            assert_eq!(reader.taken(), [WRITES; 2]);
        });
    }

    #[test]
    fn no_reading_is_torn() {
        beside(|writer, number| writer.put([number; 2]));
    }

    /// That loom sees what it is to see: the same without the writer's fence.
    #[test]
    #[should_panic(expected = "words of two writes")]
    fn without_the_fence_readings_are_torn() {
        beside(|writer, number| {
            for place in writer.copies.of(number) {
                place.store(number, Ordering::Relaxed);
            }
            writer.copies.version.store(number, Ordering::Release);
        });
    }

    #[test]
    #[should_panic(expected = "words of two writes")]
    fn with_a_version_that_comes_early_readings_are_torn() {
        beside(|writer, number| {
            fence(Ordering::Release);
            writer.copies.version.store(number, Ordering::Release);
            for place in writer.copies.of(number) {
                place.store(number, Ordering::Relaxed);
            }
        });
    }
}
