//! Fuel for work that is not instructions: what natives and `print` do with much data.

use std::cell::Cell;
use std::{fmt, io};

use mimalloc_runtime::{Interrupted, Mutator};

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

/// Pays for what is written, before it is. A value can print as much more text than it takes memory.
pub(crate) struct Metered<'a, W: ?Sized> {
    writer: &'a mut W,
    meter: &'a Meter,
    mutator: &'a Mutator,
    /// Why nothing more is written, where the error itself cannot say so.
    pub(crate) interrupted: Option<Interrupted>,
}

impl<'a, W: ?Sized> Metered<'a, W> {
    pub(crate) fn new(writer: &'a mut W, meter: &'a Meter, mutator: &'a Mutator) -> Self {
        Metered { writer, meter, mutator, interrupted: None }
    }
}

impl<W: fmt::Write + ?Sized> fmt::Write for Metered<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.meter.work(self.mutator, text.len()) {
            Ok(()) => self.writer.write_str(text),
            Err(why) => {
                self.interrupted = Some(why);
                Err(fmt::Error)
            }
        }
    }
}

impl<W: io::Write + ?Sized> io::Write for Metered<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.meter.work(self.mutator, bytes.len()).map_err(io::Error::other)?;
        self.writer.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
