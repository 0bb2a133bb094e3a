//! The heartbeat: a clock of the program's own allocation.

use core::cell::Cell;

/// One tick of a mutator's heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat {
    /// How many beats there have been since the mutator was attached, this one included.
    pub number: u64,
    /// How many of them passed since the last one was told. More than 1 when one allocation is larger than a beat, or when
    /// Rust's own allocations are charged ([`ChargingAlloc`](crate::ChargingAlloc)).
    pub passed: u64,
}

/// Counts the bytes that a mutator allocates, and says when something is due.
///
/// Promise P4: what is charged is the size that was asked for, rounded up to 16, never what the engine made of it, so the
/// number of beats is a function of the program alone.
///
/// The allocation path has one counter and one branch: `credit` runs down from what was `granted`, and whatever else has
/// to happen now and then, freeing for instance, asks for an earlier end of the grant ([`Clock::grant`]).
#[derive(Debug)]
pub(crate) struct Clock {
    credit: Cell<i64>,
    granted: Cell<i64>,
    charged: Cell<u64>,
    /// As `charged`, modulo 2^64.
    total: Cell<u64>,
    beat_bytes: u64,
    beats: Cell<u64>,
    /// The number of a beat, or the largest for none: that one is never reached.
    deadline: Cell<u64>,
}

impl Clock {
    pub(crate) fn new(beat_bytes: u64) -> Clock {
        Clock {
            credit: Cell::new(0),
            granted: Cell::new(0),
            charged: Cell::new(0),
            total: Cell::new(0),
            beat_bytes,
            beats: Cell::new(0),
            deadline: Cell::new(u64::MAX),
        }
    }

    /// Charges for bytes about to be allocated. True when the grant is used up.
    #[inline(always)]
    pub(crate) fn charge(&self, bytes: u64) -> bool {
        // A charge is at most a few times 2^47 bytes (`heap::MOST_BYTES`), and each that goes below zero is followed by a settlement, or
        // stops far from the end (`charge_only`).
        let credit = self.credit.get().wrapping_sub(bytes as i64);
        self.credit.set(credit);
        credit < 0
    }

    /// Charges where nothing can be settled. Returns how much: all of it, unless the credit is so far below zero, after 4 EiB
    /// without a settlement, that it could wrap.
    #[inline(always)]
    pub(crate) fn charge_only(&self, bytes: u64) -> u64 {
        if self.credit.get() < -(1 << 62) {
            return 0;
        }
        self.charge(bytes);
        bytes
    }

    /// What is left of the grant: negative when more was charged.
    #[inline(always)]
    pub(crate) fn credit(&self) -> i64 {
        self.credit.get()
    }

    /// Bytes charged since the mutator was attached.
    pub(crate) fn charged(&self) -> u64 {
        self.charged.get().saturating_add(self.unsettled())
    }

    /// Bytes charged since the mutator was attached, modulo 2^64: for sums of which others are taken away.
    pub(crate) fn total(&self) -> u64 {
        self.total.get().wrapping_add(self.unsettled())
    }

    fn unsettled(&self) -> u64 {
        (self.granted.get() - self.credit.get()) as u64
    }

    /// Books what was charged since the last settlement, and returns it.
    pub(crate) fn settle(&self) -> u64 {
        let bytes = self.unsettled();
        // The end is not reached by memory that exists: charges without an allocation can be made for ever.
        self.charged.set(self.charged.get().saturating_add(bytes));
        self.total.set(self.total.get().wrapping_add(bytes));
        self.granted.set(0);
        self.credit.set(0);
        bytes
    }

    /// Beats since the mutator was attached, as of the last settlement.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.get()
    }

    /// Bytes of a beat.
    pub(crate) fn beat_bytes(&self) -> u64 {
        self.beat_bytes
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        Some(self.deadline.get()).filter(|deadline| *deadline < u64::MAX)
    }

    pub(crate) fn set_deadline(&self, deadline: Option<u64>) {
        self.deadline.set(deadline.unwrap_or(u64::MAX));
    }

    /// The deadline, if it has passed. A beat is counted in the very allocation that completes it, so there is nothing to do on
    /// the allocation path.
    pub(crate) fn passed_deadline(&self) -> Option<u64> {
        Some(self.deadline.get()).filter(|deadline| *deadline <= self.beats.get())
    }

    /// The beat that is due, if one is.
    pub(crate) fn beat(&self) -> Option<Beat> {
        let number = self.charged.get() / self.beat_bytes;
        let passed = number - self.beats.replace(number);
        (passed > 0).then_some(Beat { number, passed })
    }

    /// Lets so many bytes pass until the next settlement, fewer if a beat comes before.
    pub(crate) fn grant(&self, bytes: u64) {
        let charged = self.charged.get();
        let to_beat = match charged / self.beat_bytes == self.beats.get() {
            true => self.beat_bytes - charged % self.beat_bytes,
            // Handlers have allocated past it.
            false => 1,
        };
        // The beat falls due on the byte that completes it, so one less may pass unnoticed.
        let grant = bytes.min(to_beat) as i64 - 1;
        // Charges made since the settlement, by handlers, stay charged.
        self.credit.set(self.credit.get() + grant - self.granted.get());
        self.granted.set(grant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_a_function_of_the_bytes_alone() {
        for grant in [1, 16, 4096, 1 << 40] {
            for sizes in [vec![16u64], vec![16, 1024, 48], vec![1 << 20], vec![16, 1 << 17]] {
                let clock = Clock::new(65536);
                clock.grant(grant);
                let (mut bytes, mut seen) = (0u64, 0u64);
                for size in sizes.iter().cycle().take(10_000) {
                    bytes += size;
                    if clock.charge(*size) {
                        clock.settle();
                        if let Some(beat) = clock.beat() {
                            seen += beat.passed;
                            assert_eq!(seen, beat.number);
                        }
                        clock.grant(grant);
                    }
                    assert_eq!(seen, bytes / 65536, "each beat is seen in the allocation that completes it");
                    assert_eq!(clock.charged(), bytes);
                }
            }
        }
    }

    #[test]
    fn what_a_handler_charges_is_kept() {
        let clock = Clock::new(1000);
        clock.grant(100);
        assert!(clock.charge(100));
        assert_eq!(clock.settle(), 100);
        assert!(clock.charge(50));
        clock.grant(100);
        assert!(!clock.charge(49));
        assert!(clock.charge(1));
        assert_eq!(clock.settle(), 100);
        assert_eq!(clock.charged(), 200);
    }
}
