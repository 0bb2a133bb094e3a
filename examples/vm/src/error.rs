//! What can go wrong: setting a machine up, and running a script on it.

use std::error::Error;
use std::{fmt, io};

use mimalloc_runtime::{Interrupted, OutOfMemory};

use crate::value::Value;

/// Why a machine could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The runtime refused.
    Runtime(mimalloc_runtime::Error),
    /// There was no memory for the machine's own objects.
    OutOfMemory,
}

impl From<mimalloc_runtime::Error> for StartError {
    fn from(error: mimalloc_runtime::Error) -> Self {
        StartError::Runtime(error)
    }
}

impl<T> From<OutOfMemory<T>> for StartError {
    fn from(_: OutOfMemory<T>) -> Self {
        StartError::OutOfMemory
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Runtime(error) => error.fmt(f),
            StartError::OutOfMemory => {
                f.write_str("there is no memory for the machine's own objects; a heap limit must leave room for them")
            }
        }
    }
}

impl Error for StartError {}

/// Why a script did not run to its end. Its messages have been written by then.
#[derive(Debug)]
pub enum InterpretError {
    /// It does not compile.
    Compile,
    /// A run-time error.
    Runtime,
    /// Its output could not be written. It may have failed by itself besides.
    Output(io::Error),
}

impl fmt::Display for InterpretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InterpretError::Compile => f.write_str("the script does not compile"),
            InterpretError::Runtime => f.write_str("the script ended with a run-time error"),
            InterpretError::Output(error) => write!(f, "the output could not be written: {error}"),
        }
    }
}

impl Error for InterpretError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            InterpretError::Output(error) => Some(error),
            InterpretError::Compile | InterpretError::Runtime => None,
        }
    }
}

/// What ends a script early: an instruction or a native that cannot do what it should.
#[derive(Debug)]
pub(crate) enum RuntimeError {
    /// The script's fault; the text is the message. What a script can make long is not put into it.
    Message(String),
    /// The script's own message.
    Said(Value),
    /// There is no memory for a new object.
    OutOfMemory,
    /// A limit was reached, or somebody has stopped it.
    Interrupted(Interrupted),
    /// Output could not be written.
    Output(io::Error),
}

impl RuntimeError {
    pub(crate) fn new(message: impl Into<String>) -> RuntimeError {
        RuntimeError::Message(message.into())
    }
}

/// As the script's user reads it.
impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeError::Message(message) => f.write_str(message),
            RuntimeError::Said(message) => message.fmt(f),
            RuntimeError::OutOfMemory => f.write_str("Out of memory."),
            RuntimeError::Interrupted(Interrupted::OutOfFuel) => f.write_str("Out of fuel."),
            RuntimeError::Interrupted(Interrupted::Deadline { deadline, .. }) => {
                write!(f, "Deadline of {deadline} beats passed.")
            }
            RuntimeError::Interrupted(Interrupted::TimedOut) => f.write_str("Timed out."),
            RuntimeError::Interrupted(Interrupted::Stopped) => f.write_str("Interrupted."),
            RuntimeError::Interrupted(other) => write!(f, "Interrupted: {other}."),
            RuntimeError::Output(error) => write!(f, "Could not write output: {error}."),
        }
    }
}

impl<T> From<OutOfMemory<T>> for RuntimeError {
    /// What could not be stored is dropped here, as the failed instruction ends the script.
    fn from(_: OutOfMemory<T>) -> Self {
        RuntimeError::OutOfMemory
    }
}

impl From<Interrupted> for RuntimeError {
    fn from(why: Interrupted) -> Self {
        RuntimeError::Interrupted(why)
    }
}

impl From<io::Error> for RuntimeError {
    fn from(error: io::Error) -> Self {
        RuntimeError::Output(error)
    }
}
