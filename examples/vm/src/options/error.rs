//! Wrong use of the command line.

use std::error::Error;
use std::fmt;

/// What is wrong with a command line, in words for whoever typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(super) fn new(text: impl Into<String>) -> UsageError {
        UsageError(text.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> UsageError {
        UsageError(error.to_string())
    }
}

/// A setting outside its range.
impl From<mimalloc_runtime::Error> for UsageError {
    fn from(error: mimalloc_runtime::Error) -> UsageError {
        UsageError(error.to_string())
    }
}
