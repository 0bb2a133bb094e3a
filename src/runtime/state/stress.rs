//! What a state does under stress ([`Stress`]) and not otherwise.

use core::ptr::NonNull;

use crate::deferred::{Budget, Large, Meter};
use crate::heartbeat::Beat;
use crate::runtime::metrics::Cause;
use crate::runtime::mutator::Mutator;
use crate::runtime::stress::Stress;

use super::State;

/// The smallest budget there is.
const SMALLEST: Budget = Budget::Units(1);

impl State {
    #[inline(always)]
    pub(super) fn is_stressed(&self) -> bool {
        self.stress.is_some()
    }

    pub(super) fn stress(&self) -> Option<Stress> {
        self.stress
    }

    /// The step of an allocation, if there is anything dead. True if there was.
    pub(super) fn step_by_one(&self, cause: Cause) -> bool {
        let has_work = self.pending.has_work_for(u64::MAX);
        if has_work {
            self.step(cause, SMALLEST, Meter::new(SMALLEST), Large::WhenOwed);
        }
        has_work
    }

    /// The step of a safepoint in the search for garbage cycles.
    pub(super) fn search_by_one(&self) {
        let cycles = self.pending.cycles();
        cycles.begin_if_possible();
        if cycles.is_trying() {
            self.step(Cause::Search, SMALLEST, Meter::new(SMALLEST), Large::Keep);
        }
    }

    /// What the lists of the search take in this step: mostly less than there is, so that walks have to find the rest.
    pub(super) fn room_under_stress(&self) -> Option<usize> {
        self.is_stressed().then(|| [0, 1, 7, usize::MAX - 1][self.steps.get().count as usize % 4])
    }

    /// At a beat: compares what is counted with what lies in the heap, if that is due.
    pub(super) fn verify_at_beat(&self, beat: Beat) {
        if !self.stress.is_some_and(|stress| stress.verifies_at(beat.number, beat.passed)) {
            return;
        }
        let found = self.compare_counts().and_then(|()| self.verify());
        if let Err(problem) = found {
            self.keep_panic(Box::new(problem));
        }
    }

    /// Whether counts are as the graph says ([`Mutator::verify`]). Nothing is said where that cannot be asked: within a collection, or without
    /// memory for the graph.
    fn verify(&self) -> Result<(), String> {
        // SAFETY: this state, which a poll is running on and so is alive.
        let mutator = unsafe { Mutator::borrowed(NonNull::from(self)) };
        match mutator.verify() {
            Ok(verified) if !verified.problems.is_empty() => {
                let problems: Vec<String> = verified.problems.iter().map(ToString::to_string).collect();
                Err(problems.join("; "))
            }
            _ => Ok(()),
        }
    }

    /// Whether the objects' heap holds as many blocks as there are objects in the counts, and no more bytes (the second half of LIMIT; of
    /// the first nothing can be said, as a limit may be set below what is in use).
    ///
    /// Nothing is compared where a collection has an object in hand, or the engine cannot be walked.
    fn compare_counts(&self) -> Result<(), String> {
        let (allocated, freed) = (self.allocated.get(), self.pending.freed());
        let (pending, abandoned) = (self.pending.tally(), self.pending.abandoned());
        let gone = freed.and(pending).and(abandoned);
        if gone.objects > allocated.objects || gone.bytes > allocated.bytes {
            return Err(format!(
                "more has gone than was ever allocated: {allocated:?} were allocated, {freed:?} freed, {pending:?} are pending and {abandoned:?} given up"
            ));
        }
        let Some(found) = self.count_blocks() else { return Ok(()) };
        let counted = allocated.less(freed);
        // A husk whose object has moved on counts for its bytes alone.
        if found.blocks - found.moved != counted.objects {
            return Err(format!("the heap holds {found:?}, but {} objects are counted", counted.objects));
        }
        if found.bytes > counted.bytes {
            return Err(format!("the heap holds {found:?}, but {} bytes are counted", counted.bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::deferred::Tally;
    use crate::{Mutator, Ref, Runtime, Stress};

    fn stressed() -> Mutator {
        Runtime::new().unwrap().attaching().stress(Some(Stress::new())).attach().unwrap()
    }

    #[test]
    fn counts_that_are_wrong_are_found() {
        let mutator = stressed();
        let state = mutator.state();
        let kept: Vec<Ref<[u64; 3]>> = (0..100).map(|n| mutator.alloc([n; 3]).unwrap()).collect();
        drop(mutator.alloc_tail((), 5, |index| kept[index].clone()).unwrap());
        assert_eq!(state.compare_counts(), Ok(()));
        let right = state.allocated.get();
        for wrong in [
            Tally { objects: right.objects + 1, ..right },
            Tally { objects: right.objects - 1, ..right },
            Tally { bytes: right.bytes - 16, ..right },
            Tally { objects: 0, bytes: 0 },
        ] {
            state.allocated.set(wrong);
            assert!(state.compare_counts().is_err(), "{wrong:?}");
        }
        state.allocated.set(right);
        assert_eq!(state.compare_counts(), Ok(()));
        drop(kept);
    }

    /// The places of dead objects, when they are handed out again.
    #[cfg(not(engine_watches))]
    #[test]
    fn a_freed_object_reads_as_poison() {
        use crate::deferred::Memory as _;

        for align in [8, 256] {
            for size in [40usize, 200, 1000, 3000] {
                let mutator = stressed();
                let heap = &mutator.state().heap;
                let place = heap.malloc_object(size, align).unwrap();
                // SAFETY: of this size.
                unsafe { place.write_bytes(0x11, size) };
                // SAFETY: allocated above, with this layout.
                unsafe { heap.free(place, size, align) };
                let mut others = Vec::new();
                let again = loop {
                    let block = heap.malloc_object(size, align).unwrap();
                    others.push(block);
                    if block == place {
                        break block;
                    }
                    assert!(others.len() < 100_000);
                };
                for at in 16..size {
                    let place = again.as_ptr().wrapping_add(at);
                    // SAFETY: within the block, in memory of the system's, whoever has written it.
                    assert_eq!(unsafe { place.read_volatile() }, Stress::POISON, "{size}, {align}, {at}");
                }
                for block in others {
                    // SAFETY: as above.
                    unsafe { heap.free(block, size, align) };
                }
            }
        }
    }

    /// And come out of the next safepoint.
    #[test]
    fn what_is_found_at_a_beat_is_a_panic_of_the_next_safepoint() {
        let mutator = stressed();
        let state = mutator.state();
        let right = state.allocated.get();
        state.allocated.set(Tally { objects: right.objects + 1, ..right });
        mutator.charge(16 * 65536);
        state.allocated.set(right);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mutator.safepoint()));
        let text = caught.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("1 objects are counted"), "{text}");
    }
}
