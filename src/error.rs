//! The one error type for setting up, and out of memory as a value.

use core::fmt;
use std::borrow::Cow;

/// Why something could not be set up. The [`kind`](Error::kind) is for programs, the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: Cow<'static, str>,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is outside its range.
    InvalidSetting,
    /// A process-wide setting of the engine has already been set otherwise.
    SettingConflict,
    /// The library that was linked is not the engine that this crate was built for.
    EngineMismatch,
    /// The engine could not make a heap: out of memory, or of heaps.
    NoHeap,
    /// Rust's global allocator had no memory for something of the crate's own. ([`OutOfMemory`] is about what the caller allocates.)
    OutOfMemory,
    /// No [wall](crate::Attach::wall) that is large enough is free, and no more can be reserved.
    NoWall,
    /// The engine in use has no such thing: the other version does.
    Unsupported,
    /// The engine or the system refused: the text says what and why.
    Refused,
    /// Other threads may be at work where the caller has to be alone.
    NotAlone,
    /// The mutator has gone.
    Detached,
    /// What is to go is in use: the text says by what.
    InUse,
    /// A collection of the mutator is running further up the call stack.
    Busy,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Error {
        Error { kind, text: text.into() }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// An allocation that the engine could not serve, after everything dead was freed. Gives the caller its value back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory<T = ()> {
    /// What was to be put into the new object.
    pub value: T,
    /// The bytes that were asked for.
    pub bytes: usize,
}

impl<T> OutOfMemory<T> {
    /// The same error about something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> OutOfMemory<U> {
        OutOfMemory { value: f(self.value), bytes: self.bytes }
    }
}

impl<T> fmt::Debug for OutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutOfMemory").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for OutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory: {} bytes could not be allocated", self.bytes)
    }
}

impl<T> std::error::Error for OutOfMemory<T> {}
