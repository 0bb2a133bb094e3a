//! Walls: heaps that the engine itself cannot let grow. Walls are the process's, so that each test has one of its own.

#[allow(dead_code, reason = "the tests of traps need more of it")]
#[path = "../traps/process.rs"]
mod process;

mod filling;
mod neighbours;
mod pool;
#[cfg(all(target_os = "linux", not(small_tests)))]
mod resident;

use std::alloc::Layout;
use std::ptr::NonNull;

use mimalloc_runtime::{Mutator, Runtime};

const MIB: usize = 1 << 20;

const V2: bool = cfg!(feature = "v2");

/// Builds that put something behind each block, as those for tools do too.
const HARDENED: bool = cfg!(any(feature = "secure", feature = "debug", small_tests));

/// A mutator in a wall of so many MiB.
fn attach(runtime: &Runtime, mib: usize) -> Mutator {
    let mutator = runtime.attaching().wall(Some((mib * MIB) as u64)).unwrap().attach().unwrap();
    assert!(mutator.wall() >= Some((mib * MIB) as u64));
    mutator
}

/// Walls of the process: all, those that are free, stranded, and lost.
fn walls() -> [usize; 4] {
    let walls = Runtime::walls();
    [walls.reserved, walls.free, walls.stranded, walls.lost]
}

/// A raw block.
struct Block<'a> {
    mutator: &'a Mutator,
    block: NonNull<u8>,
    layout: Layout,
}

impl<'a> Block<'a> {
    /// Full of sevens.
    fn new(mutator: &'a Mutator, layout: Layout) -> Option<Block<'a>> {
        let block = mutator.allocate(layout).ok()?;
        // SAFETY: all of the block.
        unsafe { block.write_bytes(7, layout.size()) };
        Some(Block { mutator, block, layout })
    }

    fn of(mutator: &'a Mutator, size: usize) -> Option<Block<'a>> {
        Block::new(mutator, Layout::from_size_align(size, 8).unwrap())
    }

    /// Larger. `Err` leaves it as it was.
    fn resize(&mut self, size: usize) -> Result<(), ()> {
        // SAFETY: of this mutator, with this layout; the old pointer is not used again if there is a new one.
        self.block = unsafe { self.mutator.reallocate(self.block, self.layout, size) }.map_err(drop)?;
        let old = self.layout.size();
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        // SAFETY: within the block.
        let new = unsafe { self.block.add(old) };
        // SAFETY: what follows the old contents.
        unsafe { new.write_bytes(7, size - old) };
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: all of the block, which was written.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // SAFETY: of this mutator, with this layout.
        unsafe { self.mutator.deallocate(self.block, self.layout) }
    }
}

/// As many as there are.
fn all<T>(make: impl FnMut() -> Option<T>) -> Vec<T> {
    let all: Vec<T> = std::iter::from_fn(make).take(100_000_000).collect();
    assert!(all.len() < 100_000_000, "no end of them");
    all
}
