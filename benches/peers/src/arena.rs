//! What the drops and the cycles have alike of gc-arena.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gc_arena::arena::Root;
use gc_arena::{Arena, Collect, Gc, Rootable};

use crate::cost::TURN;

/// Tells when it is dropped.
#[derive(Collect)]
#[collect(require_static)]
pub(crate) struct Sentinel(pub(crate) Rc<Cell<bool>>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Short-lived: 32 bytes with its header.
type Small = [u64; 2];

/// A turn of the program, which allocates, and then calls the collector as its documentation asks: how long that took.
pub(crate) fn turn<R>(arena: &mut Arena<R>) -> Duration
where
    R: for<'a> Rootable<'a>,
    for<'a> Root<'a, R>: Collect<'a>,
{
    arena.mutate(|mc, _| {
        for value in 0..TURN as u64 {
            let small: Gc<'_, Small> = Gc::new(mc, [value; 2]);
            std::hint::black_box(small);
        }
    });
    let start = Instant::now();
    arena.collect_debt();
    start.elapsed()
}
