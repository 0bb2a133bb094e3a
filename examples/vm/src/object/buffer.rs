//! Growing storage for items, as a tail object.

use mimalloc_runtime::{GrowError, Mutator, OutOfMemory, Ref, Tail, Trace};

/// Items in a tail object of their own, which grows by doubling. Dropping it takes constant time, whatever its length.
///
/// Places that are not in use hold default values.
///
/// Invariant SOLE: this is the only handle to the tail object, so it can always be changed and grown.
#[derive(Trace)]
pub(crate) struct Buffer<E: Trace + Default> {
    /// The items, and how many of them are in use.
    tail: Option<Ref<Tail<usize, E>>>,
}

/// What a first item makes room for.
const FIRST_CAPACITY: usize = 4;

impl<E: Trace + Default> Buffer<E> {
    /// No items, no storage.
    pub(crate) const fn new() -> Self {
        Buffer { tail: None }
    }

    /// `len` items, each made from its index.
    pub(crate) fn filled(mutator: &Mutator, len: usize, item: impl FnMut(usize) -> E) -> Result<Self, OutOfMemory> {
        if len == 0 {
            return Ok(Buffer::new());
        }
        let tail = mutator.alloc_tail(len, len, item).map_err(|error| error.map(drop))?;
        Ok(Buffer { tail: Some(tail) })
    }

    /// The tail object, if there is one.
    pub(crate) fn storage(&self) -> Option<&Ref<Tail<usize, E>>> {
        self.tail.as_ref()
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.tail.as_ref().map_or(0, |tail| *tail.head())
    }

    /// How many items there is room for.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> usize {
        self.tail.as_ref().map_or(0, |tail| tail.items().len())
    }

    #[inline(always)]
    pub(crate) fn items(&self) -> &[E] {
        match &self.tail {
            Some(tail) => &tail.items()[..*tail.head()],
            None => &[],
        }
    }

    #[inline(always)]
    pub(crate) fn items_mut(&mut self) -> &mut [E] {
        match self.parts_mut() {
            Some((len, items)) => &mut items[..*len],
            None => &mut [],
        }
    }

    /// How many are in use, and all places.
    #[inline(always)]
    fn parts_mut(&mut self) -> Option<(&mut usize, &mut [E])> {
        let tail = self.tail.as_mut()?;
        Some(tail.parts_mut().expect("by SOLE there is one handle"))
    }

    /// Makes room for one more item.
    ///
    /// # Errors
    /// Out of memory; the items are as they were.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, mutator: &Mutator) -> Result<(), OutOfMemory> {
        if self.len() < self.capacity() { Ok(()) } else { self.grow(mutator) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, mutator: &Mutator) -> Result<(), OutOfMemory> {
        let capacity = self.capacity().saturating_mul(2).max(FIRST_CAPACITY);
        let grown = match self.tail.take() {
            None => mutator.alloc_tail(0, capacity, |_| E::default()).map_err(|error| error.map(drop))?,
            Some(tail) => match mutator.grow_tail(tail, capacity, |_| E::default()) {
                Ok(tail) => tail,
                Err(GrowError::OutOfMemory(error)) => {
                    return Err(error.map(|tail| self.tail = Some(tail)));
                }
                Err(error) => unreachable!("by SOLE there is one handle, and one mutator: {error}"),
            },
        };
        self.tail = Some(grown);
        Ok(())
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    /// Out of memory, with the item.
    #[inline]
    pub(crate) fn push(&mut self, mutator: &Mutator, item: E) -> Result<(), OutOfMemory<E>> {
        if let Err(error) = self.reserve(mutator) {
            return Err(error.map(|()| item));
        }
        let (len, items) = self.parts_mut().expect("room was made");
        items[*len] = item;
        *len += 1;
        Ok(())
    }

    /// Takes the last item.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let (len, items) = self.parts_mut()?;
        *len = len.checked_sub(1)?;
        Some(std::mem::take(&mut items[*len]))
    }

    /// Adds an item at `index`, before those from there on.
    ///
    /// # Errors
    /// Out of memory, with the item.
    pub(crate) fn insert(&mut self, mutator: &Mutator, index: usize, item: E) -> Result<(), OutOfMemory<E>> {
        self.push(mutator, item)?;
        self.items_mut()[index..].rotate_right(1);
        Ok(())
    }

    /// Takes the item at `index`, and closes the gap.
    pub(crate) fn remove(&mut self, index: usize) -> E {
        self.items_mut()[index..].rotate_left(1);
        self.pop().expect("there is an item at the index")
    }

    /// Drops all items but the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.len() > len {
            self.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use mimalloc_runtime::{Budget, Runtime};

    #[test]
    fn it_does_what_a_vector_does() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let (mut buffer, mut vector) = (Buffer::<Value>::new(), Vec::new());
        for number in 0..100 {
            let value = Value::from(f64::from(number));
            match number % 5 {
                0 | 1 => {
                    buffer.push(&mutator, value.clone()).unwrap();
                    vector.push(value);
                }
                2 | 3 => {
                    let index = number as usize * 7 % (vector.len() + 1);
                    buffer.insert(&mutator, index, value.clone()).unwrap();
                    vector.insert(index, value);
                }
                _ => {
                    let index = number as usize * 3 % vector.len();
                    assert_eq!(buffer.remove(index), vector.remove(index));
                }
            }
            assert_eq!(buffer.items(), vector);
        }
        buffer.truncate(3);
        vector.truncate(3);
        assert_eq!(buffer.items(), vector);
        while let Some(value) = vector.pop() {
            assert_eq!(buffer.pop(), Some(value));
        }
        assert_eq!(buffer.pop(), None);
        drop(buffer);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().live.now.objects, 0);
    }
}
