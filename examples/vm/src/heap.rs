//! Where objects come from: the mutator, and the strings.

use std::rc::Rc;
use std::{fmt, io};

use mimalloc_runtime::{Interrupted, Mutator, OutOfMemory, Ref};

use crate::error::RuntimeError;
use crate::intern::Interner;
use crate::meter::{Meter, Metered};
use crate::object::{Buffer, List, Str};
use crate::value::Value;

/// Makes objects.
pub(crate) struct Heap {
    /// Text in the making. Between uses empty, or what a panic has left.
    draft: Draft,
    meter: Meter,
    strings: Rc<Interner>,
    mutator: Mutator,
}

/// A draft larger than this is not kept for the next one.
const KEPT_DRAFT: usize = 1 << 16;

/// Text in the making. Writing to it fails, rather than ending the process, when there is no memory.
#[derive(Default)]
struct Draft(String);

impl fmt::Write for Draft {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

impl Heap {
    pub(crate) fn new(mutator: Mutator) -> Heap {
        Heap { draft: Draft::default(), meter: Meter::default(), strings: Rc::default(), mutator }
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
        self.strings.intern(&self.mutator, text)
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
        self.draft.0.clear();
        let mut metered = Metered::new(&mut self.draft, &self.meter, &self.mutator);
        let written = write(&mut metered);
        let string = match (metered.finish(), written) {
            (Err(why), _) => Err(why.into()),
            (Ok(()), Ok(())) => self.strings.intern(&self.mutator, &self.draft.0).map_err(RuntimeError::from),
            (Ok(()), Err(fmt::Error)) => Err(RuntimeError::OutOfMemory),
        };
        self.draft.0.clear();
        self.draft.0.shrink_to(KEPT_DRAFT);
        Ok(string?.into())
    }

    /// Writes text where `print` does.
    pub(crate) fn print(&self, out: &mut dyn io::Write, text: fmt::Arguments<'_>) -> Result<(), RuntimeError> {
        let mut metered = Metered::new(out, &self.meter, &self.mutator);
        let written = io::Write::write_fmt(&mut metered, text);
        metered.finish()?;
        Ok(written?)
    }

    /// Two strings put together.
    pub(crate) fn concatenation(&mut self, left: &Str, right: &Str) -> Result<Value, RuntimeError> {
        self.written(|draft| {
            draft.write_str(left.as_str())?;
            draft.write_str(right.as_str())
        })
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
