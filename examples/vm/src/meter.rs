//! Fuel for work that is not instructions: what natives and `print` do with much data.

use std::cell::Cell;
use std::{fmt, io};

use mimalloc_runtime::{Interrupted, Mutator};

use crate::error::RuntimeError;

/// So many bytes looked at or written cost as much as a round of a loop.
const BYTES: usize = 64;

/// Work that is not paid for yet: less than costs anything, so that many small pieces cost as much as a large one.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    owed: Cell<usize>,
}

impl Meter {
    /// Forgets what is owed: a script starts without.
    pub(crate) fn reset(&self) {
        self.owed.set(0);
    }

    /// How many bytes more come to enough to cost anything. At least 1.
    pub(crate) fn until_due(&self) -> usize {
        BYTES - self.owed.get()
    }

    /// Pays for so many bytes looked at or written.
    ///
    /// # Errors
    /// The script is to end.
    #[inline]
    pub(crate) fn work(&self, mutator: &Mutator, bytes: usize) -> Result<(), Interrupted> {
        let owed = self.owed.get().saturating_add(bytes);
        self.owed.set(owed % BYTES);
        if owed < BYTES {
            return Ok(());
        }
        mutator.poll(u32::try_from(owed / BYTES).unwrap_or(u32::MAX))
    }
}

/// Pays for what is written: each time that it has come to enough to cost anything, and the rest at the end. So a short line is
/// written whole, and one that is as good as endless is interrupted: a value can print as much more text than it takes memory.
pub(crate) struct Metered<'a, W: ?Sized> {
    writer: &'a mut W,
    meter: &'a Meter,
    mutator: &'a Mutator,
    /// Bytes written and not paid for.
    unpaid: usize,
    /// Why nothing more is written.
    interrupted: Option<Interrupted>,
}

impl<'a, W: ?Sized> Metered<'a, W> {
    pub(crate) fn new(writer: &'a mut W, meter: &'a Meter, mutator: &'a Mutator) -> Self {
        Metered { writer, meter, mutator, unpaid: 0, interrupted: None }
    }

    /// Pays for bytes about to be written.
    fn pay(&mut self, bytes: usize) -> Result<(), Interrupted> {
        self.unpaid = self.unpaid.saturating_add(bytes);
        if self.unpaid < BYTES {
            return Ok(());
        }
        let paid = self.meter.work(self.mutator, std::mem::take(&mut self.unpaid));
        self.interrupted = paid.err();
        paid
    }

    /// To be called when all is written, or writing has failed.
    ///
    /// # Errors
    /// The script is to end: the reason why writing was given up, the error of writing, or else a new one.
    pub(crate) fn finish(self, written: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
        if let Some(why) = self.interrupted {
            return Err(why.into());
        }
        written?;
        Ok(self.meter.work(self.mutator, self.unpaid)?)
    }
}

impl<W: fmt::Write + ?Sized> fmt::Write for Metered<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.pay(text.len()).map_err(|_| fmt::Error)?;
        self.writer.write_str(text)
    }
}

impl<W: io::Write + ?Sized> io::Write for Metered<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pay(bytes.len()).map_err(io::Error::other)?;
        self.writer.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
