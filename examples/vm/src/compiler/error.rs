//! Compile errors.

use std::error::Error;
use std::fmt;

/// Where on its line a compile error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a token with this text.
    Lexeme(Box<str>),
    /// At the end of the source.
    End,
    /// At something that is no token.
    Unspecified,
}

/// One thing that is wrong with a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The line, from 1.
    pub line: usize,
    /// The place on that line.
    pub place: Place,
    /// What is wrong.
    pub message: &'static str,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[line {}] Error", self.line)?;
        match &self.place {
            Place::Lexeme(lexeme) => write!(f, " at '{lexeme}'")?,
            Place::End => write!(f, " at end")?,
            Place::Unspecified => {}
        }
        write!(f, ": {}", self.message)
    }
}

impl Error for CompileError {}

/// All that is wrong with a source text, in the order in which it was found.
/// There is at least one error. `Display` puts each on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors(pub(super) Vec<CompileError>);

impl CompileErrors {
    /// The errors.
    pub fn as_slice(&self) -> &[CompileError] {
        &self.0
    }
}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl Error for CompileErrors {}
