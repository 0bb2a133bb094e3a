//! A program: bytes, read as operations and their arguments.

use std::time::Duration;

use mimalloc_runtime::{Budget, Pacing, Stress};

/// What is left of the program. Past its end all arguments are 0.
pub(crate) struct Program<'a>(core::slice::Iter<'a, u8>);

impl Program<'_> {
    pub(crate) fn new(bytes: &[u8]) -> Program<'_> {
        Program(bytes.iter())
    }

    pub(crate) fn next(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// An index into something of `len`, if it is not empty.
    pub(crate) fn index(&mut self, len: usize) -> Option<usize> {
        let word = self.word();
        (len > 0).then(|| word % len)
    }

    pub(crate) fn budget(&mut self) -> Budget {
        let (kind, amount) = (self.byte(), u64::from(self.byte()));
        match kind % 5 {
            0 => Budget::Units(amount),
            1 => Budget::Units(amount * amount),
            2 => Budget::Bytes(amount * 16),
            3 => Budget::Time(Duration::from_nanos(amount)),
            _ => Budget::Unbounded,
        }
    }

    /// The pacing of a mutator, and whether it is put under stress.
    pub(crate) fn pacing(&mut self) -> (Pacing, Option<Stress>) {
        let installment = 1 << (self.byte() % 14);
        let byte = self.byte();
        let stress = (byte / 5 % 3 == 1).then(Stress::new);
        let pacing = match byte % 5 {
            0 => Pacing::default(),
            1 => Pacing::stress(),
            2 => Pacing::eager(),
            3 => Pacing::default().with_installment(installment).unwrap().with_pause_cap(Budget::Unbounded).unwrap(),
            _ => Pacing::default().with_installment(installment).unwrap().with_pause_cap(Budget::Units(1)).unwrap(),
        };
        (pacing, stress)
    }
}
