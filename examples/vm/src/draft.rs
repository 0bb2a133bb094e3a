//! Text in the making.

use std::fmt;

use allocator_api2::vec::Vec;
use mimalloc_runtime::{HeapRef, Mutator, OutOfMemory};

/// What is kept for drafts, so that short ones need no memory of the heap.
const KEPT: usize = 1 << 12;

/// Text that is written piece by piece and of which a string is made in the end. What is longer than a page lies in the heap, and
/// counts.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Never grows.
    kept: Box<[u8; KEPT]>,
    len: usize,
    /// All of it, if it is longer than what is kept.
    spilled: Vec<u8, HeapRef>,
}

impl Draft {
    pub(crate) fn new(mutator: &Mutator) -> Draft {
        Draft { kept: Box::new([0; KEPT]), len: 0, spilled: Vec::new_in(mutator.heap()) }
    }

    /// Starts over, without any memory of the heap.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.spilled = Vec::new_in(self.spilled.allocator().clone());
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.spilled.is_empty() { &self.kept[..self.len] } else { &self.spilled }
    }

    /// Adds to it.
    ///
    /// # Errors
    /// Out of memory; it is as it was.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        if self.spilled.is_empty() {
            if let Some(place) = self.kept.get_mut(self.len..self.len.saturating_add(bytes.len())) {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
                return Ok(());
            }
            self.spill(self.len.saturating_add(bytes.len()))?;
        }
        self.spilled.try_reserve(bytes.len()).map_err(|_| OutOfMemory { value: (), bytes: bytes.len() })?;
        self.spilled.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the last byte away, if it is this one.
    pub(crate) fn drop_last(&mut self, byte: u8) {
        if self.bytes().last() != Some(&byte) {
            return;
        }
        if self.spilled.pop().is_none() {
            self.len -= 1;
        }
        // One that has spilled is longer than one byte, and so still is.
    }

    #[cold]
    fn spill(&mut self, len: usize) -> Result<(), OutOfMemory> {
        self.spilled.try_reserve(len.max(2 * KEPT)).map_err(|_| OutOfMemory { value: (), bytes: len })?;
        self.spilled.extend_from_slice(&self.kept[..self.len]);
        Ok(())
    }
}

/// Fails when there is no memory.
impl fmt::Write for Draft {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mimalloc_runtime::Runtime;

    #[test]
    fn long_ones_lie_in_the_heap_and_short_ones_do_not() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut draft = Draft::new(&mutator);
        for piece in [1, 7, 1000, 5000] {
            let mut text = std::vec::Vec::new();
            while text.len() < 3 * KEPT {
                assert_eq!(mutator.in_use() > 0, text.len() > KEPT);
                draft.push(&vec![b'x'; piece]).unwrap();
                text.extend(vec![b'x'; piece]);
                assert_eq!(draft.bytes(), text);
            }
            draft.clear();
            assert_eq!((draft.bytes(), mutator.in_use()), (&b""[..], 0));
        }
    }

    #[test]
    fn without_memory_it_stays_as_it_was() {
        let mutator = Runtime::new().unwrap().attaching().limit(Some(20_000)).attach().unwrap();
        let mut draft = Draft::new(&mutator);
        let mut len = 0;
        while draft.push(&[1; 500]).is_ok() {
            len += 500;
        }
        assert!(len > KEPT && draft.bytes().len() == len);
        assert!(draft.push(&[1; 100_000]).is_err() && draft.bytes().len() == len);
    }
}
