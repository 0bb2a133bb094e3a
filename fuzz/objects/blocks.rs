//! Raw blocks: each filled with bytes of its own, which are looked at whenever it is touched.

use std::alloc::Layout;
use std::ptr::NonNull;

use mimalloc_runtime::{Mutator, RemoteFree, counted_bytes};

pub(super) struct Block {
    /// The mutator that it was allocated by.
    pub(super) owner: usize,
    remote: RemoteFree,
    place: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

impl Block {
    /// None if there is no memory.
    pub(super) fn new(mutator: &Mutator, owner: usize, layout: Layout, fill: u8, zeroed: bool) -> Option<Block> {
        let place = if zeroed { mutator.allocate_zeroed(layout) } else { mutator.allocate(layout) }.ok()?;
        let mut block = Block { owner, remote: mutator.remote_free(), place, layout, fill: 0 };
        assert_eq!(place.as_ptr() as usize % layout.align(), 0);
        if zeroed {
            block.check(layout.size());
        }
        block.write(fill);
        Some(block)
    }

    /// The bytes that are counted for it.
    pub(super) fn counted(&self) -> u64 {
        counted_bytes(self.layout)
    }

    fn write(&mut self, fill: u8) {
        self.fill = fill;
        // SAFETY: a block of this size.
        unsafe { self.place.write_bytes(fill, self.layout.size()) }
    }

    fn check(&self, len: usize) {
        // SAFETY: a block of at least this size, all of it written.
        let bytes = unsafe { core::slice::from_raw_parts(self.place.as_ptr(), len) };
        assert!(bytes.iter().all(|byte| *byte == self.fill));
    }

    /// False if there is no memory: then it is as it was.
    pub(super) fn resize(&mut self, mutator: &Mutator, size: usize) -> bool {
        self.check(self.layout.size());
        // SAFETY: allocated by this mutator with this layout; the old place is not used again.
        let Ok(place) = (unsafe { mutator.reallocate(self.place, self.layout, size) }) else {
            assert!(size > self.layout.size(), "to make a block smaller is not refused");
            self.check(self.layout.size());
            return false;
        };
        self.place = place;
        let kept = size.min(self.layout.size());
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        self.check(kept);
        self.write(self.fill.wrapping_add(1));
        true
    }

    /// Frees it, through its mutator if that is there.
    pub(super) fn free(self, mutator: Option<&Mutator>) {
        self.check(self.layout.size());
        match mutator {
            // SAFETY: allocated by this mutator with this layout, and not used again.
            Some(mutator) => unsafe { mutator.deallocate(self.place, self.layout) },
            // SAFETY: as above, by the mutator that `remote` is of.
            None => unsafe { self.remote.free(self.place, self.layout) },
        }
    }
}
