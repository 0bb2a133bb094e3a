//! Standard input, line by line.

use std::io::{self, BufRead, ErrorKind};

/// The most bytes that are looked at at a time.
const PIECE: usize = 1 << 12;

/// Standard input. A line that could not be read to its end is passed over.
pub(crate) struct Lines {
    stdin: Box<dyn BufRead>,
    /// Whether a part of a line was read, or looked at.
    begun: bool,
}

impl Lines {
    pub(crate) fn new(stdin: Box<dyn BufRead>) -> Lines {
        Lines { stdin, begun: false }
    }

    /// Gives a line to `take`, in pieces, without its end. `false` if there is none.
    ///
    /// # Errors
    /// Of `take`; or, when input cannot be read, what `unreadable` makes of that.
    pub(crate) fn read<E>(
        &mut self,
        unreadable: impl FnOnce(io::Error) -> E,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        loop {
            let (read, complete) = match self.stdin.fill_buf() {
                Ok([]) => return Ok(std::mem::take(&mut self.begun)),
                Ok(bytes) => {
                    self.begun = true;
                    let bytes = &bytes[..bytes.len().min(PIECE)];
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let line = &bytes[..end.unwrap_or(bytes.len())];
                    take(line)?;
                    (line.len() + usize::from(end.is_some()), end.is_some())
                }
                Err(reason) if reason.kind() == ErrorKind::Interrupted => continue,
                Err(reason) => return Err(unreadable(reason)),
            };
            self.stdin.consume(read);
            if complete {
                self.begun = false;
                return Ok(true);
            }
        }
    }

    /// Gives what is left of a line that was begun to `pass`, in pieces.
    ///
    /// # Errors
    /// As of [`read`](Self::read). The line is still begun.
    pub(crate) fn finish<E>(
        &mut self,
        unreadable: impl FnOnce(io::Error) -> E,
        pass: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.begun { self.read(unreadable, pass).map(drop) } else { Ok(()) }
    }
}
