//! Where objects come from: the mutator, and the strings.

use std::rc::Rc;
use std::{fmt, io};

use mimalloc_runtime::{Interrupted, Mutator, OutOfMemory, Ref};

use crate::draft::Draft;
use crate::error::RuntimeError;
use crate::halves::Halves;
use crate::intern::Interner;
use crate::meter::{Meter, Metered};
use crate::object::{Buffer, List, Str};
use crate::value::Value;

/// Makes objects.
pub(crate) struct Heap {
    /// Between uses empty.
    draft: Draft,
    meter: Meter,
    strings: Rc<Interner>,
    mutator: Mutator,
}

impl Heap {
    pub(crate) fn new(mutator: Mutator) -> Heap {
        Heap { draft: Draft::new(&mutator), meter: Meter::default(), strings: Rc::default(), mutator }
    }

    pub(crate) fn mutator(&self) -> &Mutator {
        &self.mutator
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// To be called for work of more than constant time, with the bytes that are looked at or written.
    ///
    /// # Errors
    /// The script is to end.
    #[inline]
    pub(crate) fn work(&self, bytes: usize) -> Result<(), Interrupted> {
        self.meter.work(&self.mutator, bytes)
    }

    pub(crate) fn into_mutator(self) -> Mutator {
        self.mutator
    }

    /// The string with this text.
    pub(crate) fn intern(&self, text: &str) -> Result<Str, OutOfMemory> {
        self.strings.intern(&self.mutator, text.into())
    }

    /// The string with this text, as a value.
    pub(crate) fn string(&self, text: &str) -> Result<Value, RuntimeError> {
        self.work(text.len())?;
        Ok(self.intern(text)?.into())
    }

    /// The string that `write` writes. An error of its making counts as out of memory, as nothing else can fail there but the
    /// payment for what is written.
    pub(crate) fn written(
        &mut self,
        write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result,
    ) -> Result<Value, RuntimeError> {
        let draft = Drafting::begin(&mut self.draft);
        let mut metered = Metered::new(&mut *draft.0, &self.meter, &self.mutator);
        let written = write(&mut metered).map_err(|fmt::Error| RuntimeError::OutOfMemory);
        metered.finish(written)?;
        let text = std::str::from_utf8(draft.0.bytes()).expect("what was written is text");
        Ok(self.strings.intern(&self.mutator, text.into())?.into())
    }

    /// The string of the bytes that `read` adds to a draft; `None` if they are not text.
    pub(crate) fn read(
        &mut self,
        read: impl FnOnce(&mut Reading<'_>) -> Result<(), RuntimeError>,
    ) -> Result<Option<Value>, RuntimeError> {
        let draft = Drafting::begin(&mut self.draft);
        read(&mut Reading { draft: &mut *draft.0, meter: &self.meter, mutator: &self.mutator })?;
        let Ok(text) = std::str::from_utf8(draft.0.bytes()) else { return Ok(None) };
        Ok(Some(self.strings.intern(&self.mutator, text.into())?.into()))
    }

    /// Writes text where `print` does.
    pub(crate) fn print(&self, out: &mut dyn io::Write, text: fmt::Arguments<'_>) -> Result<(), RuntimeError> {
        let mut metered = Metered::new(out, &self.meter, &self.mutator);
        let written = io::Write::write_fmt(&mut metered, text).map_err(RuntimeError::Output);
        metered.finish(written)
    }

    /// Writes a message to whoever is told of errors. What cannot be written is lost, but paid for.
    ///
    /// # Errors
    /// The script is to end.
    pub(crate) fn tell(&self, err: &mut dyn io::Write, text: fmt::Arguments<'_>) -> Result<(), RuntimeError> {
        let mut metered = Metered::new(err, &self.meter, &self.mutator);
        let _ = io::Write::write_fmt(&mut metered, text);
        metered.finish(Ok(()))
    }

    /// Two strings put together.
    pub(crate) fn concatenation(&self, left: &Str, right: &Str) -> Result<Value, RuntimeError> {
        let halves = Halves { left: left.as_str(), right: right.as_str() };
        self.work(halves.len())?;
        Ok(self.strings.intern(&self.mutator, halves)?.into())
    }

    /// A list of these items. Nothing is left of it if one of them is an error.
    pub(crate) fn list(
        &self,
        items: impl IntoIterator<Item = Result<Value, RuntimeError>>,
    ) -> Result<Value, RuntimeError> {
        let mut buffer = Buffer::new();
        for item in items {
            self.work(size_of::<Value>())?;
            buffer.push(&self.mutator, item?)?;
        }
        self.list_of(buffer)
    }

    /// A list that takes over these items.
    pub(crate) fn list_of(&self, items: Buffer<Value>) -> Result<Value, RuntimeError> {
        let list: Ref<List> = self.mutator.alloc(List::new(items))?;
        Ok(list.into())
    }
}

/// A draft while bytes from outside are added to it, and paid for.
pub(crate) struct Reading<'a> {
    draft: &'a mut Draft,
    meter: &'a Meter,
    mutator: &'a Mutator,
}

impl Reading<'_> {
    /// Adds to it. Pays each time that it has come to enough to cost anything, so that what is as good as endless is interrupted; and always
    /// at the same byte, in whatever pieces they come.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), RuntimeError> {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(self.meter.until_due()));
            self.draft.push(piece)?;
            self.meter.work(self.mutator, piece.len())?;
            bytes = rest;
        }
        Ok(())
    }

    /// Pays for bytes that are not added.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), RuntimeError> {
        Ok(self.meter.work(self.mutator, bytes.len())?)
    }

    /// Takes the last byte away, if it is this one.
    pub(crate) fn drop_last(&mut self, byte: u8) {
        self.draft.drop_last(byte);
    }
}

/// A draft while it is used, which leaves it empty.
struct Drafting<'a>(&'a mut Draft);

impl Drafting<'_> {
    fn begin(draft: &mut Draft) -> Drafting<'_> {
        // It is empty, unless somebody has forgotten one of these.
        draft.clear();
        Drafting(draft)
    }
}

impl Drop for Drafting<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}
