//! Standard input, which the prompt and the program both read.

use std::io::{self, BufRead, Read};

/// Standard input for the program: takes no more than a line at a time, so that the prompt finds the next one where it
/// looks for it, in the standard library's own buffer; and no more than that buffer holds.
#[derive(Debug, Default)]
pub(crate) struct LineByLine {
    line: Vec<u8>,
    read: usize,
}

impl BufRead for LineByLine {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.line.len() {
            self.line.clear();
            self.read = 0;
            let mut stdin = io::stdin().lock();
            let buffer = stdin.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            self.line.extend_from_slice(&buffer[..end.map_or(buffer.len(), |end| end + 1)]);
            stdin.consume(self.line.len());
        }
        Ok(&self.line[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = self.line.len().min(self.read + amount);
    }
}

impl Read for LineByLine {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
