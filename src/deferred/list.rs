//! A list of objects whose growth can fail, and never moves what it holds.

use core::ptr::NonNull;

use crate::aside::aside;

use super::object::Object;

/// Objects in a chunk: 32 KiB.
const CHUNK: usize = 4096;

/// Objects, in chunks: eight bytes each. Its memory is Rust's own, not the heap's. At most one chunk is empty: what goes up and down takes no
/// memory each time.
#[derive(Debug, Default)]
pub(super) struct List {
    chunks: Vec<Vec<NonNull<Object>>>,
    len: usize,
}

/// No memory for another chunk, or there are to be no more.
#[derive(Debug)]
pub(crate) struct Full;

impl List {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an object at the end, if there are fewer than `most`.
    #[inline(always)]
    pub(super) fn push(&mut self, object: NonNull<Object>, most: usize) -> Result<(), Full> {
        if self.len >= most {
            return Err(Full);
        }
        match self.chunks.last_mut() {
            // Those before it are full.
            Some(chunk) if chunk.len() < CHUNK => chunk.push(object),
            _ => self.push_chunk(object)?,
        }
        self.len += 1;
        Ok(())
    }

    /// Adds a chunk with one object.
    #[cold]
    #[inline(never)]
    fn push_chunk(&mut self, object: NonNull<Object>) -> Result<(), Full> {
        let mut chunk = Vec::new();
        // Of nobody's allocation: how much a program is charged does not depend on searches.
        aside(|| chunk.try_reserve_exact(CHUNK)).map_err(|_| Full)?;
        aside(|| self.chunks.try_reserve(1)).map_err(|_| Full)?;
        chunk.push(object);
        self.chunks.push(chunk);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<NonNull<Object>> {
        let len = self.len.checked_sub(1)?;
        let object = self.chunks[len / CHUNK].pop()?;
        self.chunks.truncate(len / CHUNK + 1);
        self.len = len;
        Some(object)
    }

    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> NonNull<Object> {
        self.chunks[index / CHUNK][index % CHUNK]
    }

    pub(super) fn set(&mut self, index: usize, object: NonNull<Object>) {
        self.chunks[index / CHUNK][index % CHUNK] = object;
    }

    /// Drops what is behind the first `len`, a chunk at most. True when nothing is any more.
    pub(super) fn trim(&mut self, len: usize) -> bool {
        if let Some(last) = self.chunks.last_mut().filter(|_| self.len > len) {
            let kept = last.len().saturating_sub(self.len - len);
            self.len -= last.len() - kept;
            last.truncate(kept);
            if kept == 0 {
                self.chunks.pop();
            }
        }
        self.len <= len
    }
}
