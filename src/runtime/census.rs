//! What lives in a mutator, by type and by size.

use core::fmt;
use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::{Budget, Object, Stop, Tally, TypeKey, counted};
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::fallible;

use super::mutator::Mutator;
use super::walk::Walk;

/// A count of the objects that live, by type and by size. Made by [`Mutator::census`].
///
/// It is taken in steps, between which the program runs: what lives from the first step to the last is counted once; what was made or
/// has died since, once or not at all. If nothing happens between the steps, the [total](Census::total) is that of
/// [`Metrics::live`](crate::Metrics::live). It can be left at any time: drop it.
///
/// ```
/// use mimalloc_runtime::{Budget, Runtime, Stop};
/// let mutator = Runtime::new()?.attach()?;
/// let numbers: Vec<_> = (0..1000u64).map(|number| mutator.alloc(number).expect("memory")).collect();
/// let text = mutator.alloc_tail_copy((), b"a text").expect("memory");
///
/// let mut census = mutator.census();
/// while census.step(Budget::Units(100))? != Stop::Done {
///     mutator.alloc(1.5f64).expect("memory"); // the program goes on
/// }
/// let numbers_found = census.types().find(|found| found.name == "u64").expect("a type");
/// assert_eq!(numbers_found.live.objects, 1000);
/// assert_eq!(numbers_found.live.bytes, 16_000); // with their headers
/// # drop((numbers, text));
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
pub struct Census<'a> {
    mutator: &'a Mutator,
    walk: Walk,
    /// In the order of types and sizes.
    rows: Vec<Row>,
    total: Tally,
    /// There was no memory for a row, and so the rows are not all.
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    key: TypeKey,
    bytes: u64,
    objects: u64,
}

impl Row {
    fn place(&self) -> (u16, u64) {
        (self.key.get(), self.bytes)
    }
}

/// The live objects of one type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeCount {
    /// The type's key, as [`raw::key`](crate::raw::key) gives it.
    pub key: TypeKey,
    /// The type's name, for people.
    pub name: &'static str,
    /// Its objects, and the bytes that they [count for](crate::counted_bytes).
    pub live: Tally,
}

/// The live objects of one type and one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeCount {
    /// The type's key, as [`raw::key`](crate::raw::key) gives it.
    pub key: TypeKey,
    /// The type's name, for people.
    pub name: &'static str,
    /// The bytes that each of them [counts for](crate::counted_bytes).
    pub bytes_each: u64,
    /// How many.
    pub objects: u64,
}

impl Mutator {
    /// Begins to count what lives, by type and by size. Nothing is done before the first [step](Census::step).
    pub fn census(&self) -> Census<'_> {
        Census { mutator: self, walk: Walk::new(), rows: Vec::new(), total: Tally::default(), failed: false }
    }
}

impl Census<'_> {
    /// Goes on with the count for as long as `budget` admits. After [`Stop::Done`] it does nothing.
    ///
    /// A unit is an object looked at, or another block or a page of the heap, or 4 MiB of the engine's memory in which pages of
    /// the heap were looked for. With [`Budget::Units(b)`](Budget::Units) it does at most `b` units, and those of one page more, which
    /// are at most 4,097; with [`Budget::Bytes`], until so many bytes of objects were counted, and those of one page more.
    ///
    /// [`Stop::Busy`]: a collection of the mutator is running further up this call stack. Nothing was done.
    ///
    /// # Errors
    /// - [`ErrorKind::EngineMismatch`] when the engine is built otherwise than this crate was told, or puts something into blocks of objects
    ///   that the crate does not know of. (What its [profiler](crate::engine::Profiler) notes of objects is known.)
    /// - [`ErrorKind::OutOfMemory`], as the table is Rust's own; then the count is lost.
    ///
    /// # Cost
    /// Some nanoseconds a block. Not divisible are: one page, with the list of its free blocks; the free blocks that are kept at hand, which
    /// go back to the engine first; the list of pages that lie in no arena of the engine, as huge objects do, and on version 2 that
    /// of all pages of the heap, which each step goes through. `cargo run --release -p layers -- --walk` measures them.
    pub fn step(&mut self, budget: Budget) -> Result<Stop, Error> {
        let Census { mutator, walk, rows, total, failed } = self;
        let mut last = 0;
        let count = |object: NonNull<Object>| {
            // SAFETY: alive.
            let key = unsafe { object.as_ref() }.word().key();
            let info = key.info();
            // SAFETY: alive, of this type.
            let bytes = counted(unsafe { info.bytes_of(object) }, info.align);
            let place = (key.get(), bytes);
            let found = match rows.get(last) {
                Some(row) if row.place() == place => Ok(last),
                _ => rows.binary_search_by_key(&place, Row::place),
            };
            last = found.unwrap_or_else(|at| at);
            if found.is_err() {
                if rows.try_reserve(1).is_err() {
                    *failed = true;
                    return bytes;
                }
                rows.insert(last, Row { key, bytes, objects: 0 });
            }
            rows[last].objects += 1;
            *total = total.plus(bytes);
            bytes
        };
        // SAFETY: allocates from Rust's own heap alone, and calls what this crate has made of a type to say its size.
        let stop = aside(|| unsafe { mutator.state().walk(walk, budget, count) });
        if *failed { Err(fallible::out_of_memory()) } else { stop }
    }

    /// What was counted so far.
    pub fn total(&self) -> Tally {
        self.total
    }

    /// What was counted so far of each type.
    pub fn types(&self) -> impl Iterator<Item = TypeCount> {
        let types = self.rows.chunk_by(|row, next| row.key == next.key);
        types.map(|rows| {
            let count = |live: Tally, row: &Row| Tally {
                objects: live.objects + row.objects,
                bytes: live.bytes + row.objects * row.bytes,
            };
            let live = rows.iter().fold(Tally::default(), count);
            let key = rows[0].key;
            TypeCount { key, name: key.info().name(), live }
        })
    }

    /// What was counted so far of each type and size, smaller sizes of a type first.
    pub fn sizes(&self) -> impl Iterator<Item = SizeCount> {
        self.rows.iter().map(|row| SizeCount {
            key: row.key,
            name: row.key.info().name(),
            bytes_each: row.bytes,
            objects: row.objects,
        })
    }
}

impl fmt::Debug for Census<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").field("total", &self.total).finish_non_exhaustive()
    }
}
