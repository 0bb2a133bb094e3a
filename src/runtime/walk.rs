//! A walk over the objects of a mutator, page by page, that can be left anywhere and taken up again.
//!
//! A walk is no more than a place: the page that it has come to, in an order of pages that depends on their addresses alone. It keeps
//! no list of pages, so that whatever the program allocates and frees between two steps cannot make it stale. Neither a page nor an
//! object moves. So an object that lives from the walk's beginning to its end is in one page, and is passed once with it; one that
//! is made or dies meanwhile is passed once or not at all. (A tail that has [grown](crate::Mutator::grow_tail) into another block is a new
//! object here.)

use core::ptr::NonNull;

use crate::deferred::{Budget, Meter, Object, Place, Stop, Tally, Unwalkable};
use crate::error::{Error, ErrorKind};
use crate::sys;
use crate::sys::engine::{self, FoundBlock, FoundPage, WalkPlace};

use super::heap::Heap;
use super::mark::{Content, Marks};
use super::state::State;

/// At most so many pages are looked for at once: not more than the budget has units.
const PAGES: usize = 128;

/// So much of an arena is looked through at once for a page: 1 GiB, of which each 4 MiB are a look.
const LOOKS: usize = 256;

/// A place in a heap's objects.
///
/// A *unit* of a walk is a block in use looked at, a page looked at, or 4 MiB of an arena in which pages of the heap were looked for.
#[derive(Debug)]
pub(super) struct Walk {
    place: WalkPlace,
    marks: Marks,
}

impl Walk {
    /// At the beginning.
    pub(super) fn new() -> Walk {
        Walk { place: WalkPlace::default(), marks: Marks::new() }
    }

    /// The next pages: see [`engine::walk_pages`].
    fn find<'a>(
        &self,
        heap: &Heap,
        place: &mut WalkPlace,
        looks: &mut usize,
        room: &'a mut [FoundPage],
    ) -> Result<&'a [FoundPage], Error> {
        let (engine_heap, local) = heap.walked().ok_or_else(|| unwalkable(heap))?;
        // What is kept at hand is in use for the engine, and no object.
        heap.free_kept_objects();
        // SAFETY: the heap's own, taken up by this thread.
        Ok(unsafe { engine::walk_pages(engine_heap, local, place, looks, room) })
    }

    /// Goes on, for as long as the meter admits, and calls `visit` with each block in use and what is in it, which says how many bytes of
    /// objects it counts for. A page is passed whole: at most the blocks of one page more than the meter admits.
    ///
    /// # Errors
    /// [`ErrorKind::EngineMismatch`]. The walk is behind the last page that was visited, and can be taken up.
    ///
    /// # Safety
    /// 1. `visit` neither allocates from nor frees into the heap, calls nothing of the user's, and does not unwind.
    /// 2. Nothing of the heap is in the hand of a collection: OBJECTS holds, and of each live object's value nothing was given up.
    unsafe fn go_on(
        &mut self,
        heap: &Heap,
        meter: &mut Meter,
        mut visit: impl FnMut(FoundBlock, Content) -> u64,
    ) -> Result<Stop, Error> {
        let mut room = [FoundPage::default(); PAGES];
        while !self.place.is_end() {
            if !meter.admits() {
                return Ok(Stop::Budget);
            }
            let mut place = self.place;
            let most = meter.units_now();
            let mut looks = most;
            let found = self.find(heap, &mut place, &mut looks, &mut room[..most.clamp(1, PAGES)])?;
            meter.visited((most - looks) as u64);
            for (index, page) in found.iter().enumerate() {
                // The first is passed in any case: to find it may have taken all there was, and would again.
                if index > 0 && !meter.admits() {
                    return Ok(Stop::Budget);
                }
                let mut bytes = 0;
                let mut visit_block = |block: FoundBlock| {
                    // SAFETY: in use, and by OBJECTS begins with a word (2).
                    let content = unsafe { self.marks.content(block.pointer) };
                    bytes += visit(block, content);
                };
                // SAFETY: found just now (1); only this thread frees objects (2); OBJECTS (3).
                let blocks = unsafe { engine::walk_page(*page, &mut visit_block) };
                let blocks = blocks.ok_or_else(otherwise_laid_out)?;
                self.place = page.behind;
                meter.freed(Tally { objects: 0, bytes }, blocks + 1);
            }
            self.place = place;
        }
        Ok(Stop::Done)
    }
}

/// Why a heap cannot be walked.
#[cold]
pub(super) fn unwalkable(heap: &Heap) -> Error {
    if heap.is_left() {
        return Error::new(
            ErrorKind::Refused,
            "the thread is ending, and with version 2 of the engine what other threads have left may have come into the heap: do this before \
             thread-local values are destroyed, or detach the mutator",
        );
    }
    Error::new(
        ErrorKind::EngineMismatch,
        "the engine is built with other settings than this crate knows of, and cannot be walked: if the feature `secure` or `debug` of \
         libmimalloc-sys3 is wanted, ask for it by the feature of the same name of this crate",
    )
}

#[cold]
fn otherwise_laid_out() -> Error {
    Error::new(
        ErrorKind::EngineMismatch,
        "a block of the objects' heap begins with words of the engine's that this crate does not know: the engine has aligned it, has put \
         a guard page behind it, or notes its profiler's samples in another way. Build with a version of libmimalloc-sys3 that this \
         crate was tested with, and leave the heaps of mutators to it",
    )
}

/// A step of a walk, as [`Memory`](crate::deferred::Memory) has it.
///
/// # Safety
/// 1. As for [`Walk::go_on`].
pub(super) unsafe fn walk_on(
    heap: &Heap,
    from: Place,
    mut visit: impl FnMut(NonNull<Object>),
) -> Result<(Option<Place>, u64), Unwalkable> {
    let mut walk = Walk { place: WalkPlace::at(from.0), marks: Marks::new() };
    let mut room = [FoundPage::default()];
    let mut looks = LOOKS;
    let mut pass = || {
        let mut behind = walk.place;
        let found = walk.find(heap, &mut behind, &mut looks, &mut room)?;
        let mut blocks = 0;
        for page in found {
            let mut visit_object = |block: FoundBlock| {
                // SAFETY: in use, and by OBJECTS begins with a word (1).
                if let Content::Live(object) | Content::Over(object) = unsafe { walk.marks.content(block.pointer) } {
                    visit(object);
                }
            };
            // SAFETY: found just now (1); only this thread frees objects (2); OBJECTS (3).
            blocks += unsafe { engine::walk_page(*page, &mut visit_object) }.ok_or_else(otherwise_laid_out)?;
        }
        walk.place = behind;
        Ok::<_, Error>(blocks)
    };
    let blocks = pass().map_err(|_| Unwalkable)?;
    let next = (!walk.place.is_end()).then(|| Place(walk.place.words()));
    Ok((next, blocks))
}

impl State {
    /// Goes on with a walk over this state's live objects, of each of which `visit` says how many bytes it has: see [`Walk::go_on`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Safety
    /// 1. `visit` neither allocates from nor frees into the heap, calls nothing of the user's, and does not unwind.
    pub(super) unsafe fn walk(
        &self,
        walk: &mut Walk,
        budget: Budget,
        mut visit: impl FnMut(NonNull<Object>) -> u64,
    ) -> Result<Stop, Error> {
        if self.is_collecting() {
            return Ok(Stop::Busy);
        }
        let mut meter = Meter::new(budget);
        let visit = |_, content| match content {
            Content::Live(object) => visit(object),
            Content::Over(_) | Content::Unfinished => 0,
        };
        // SAFETY: handed on (1); no collection is running.
        unsafe { walk.go_on(&self.heap, &mut meter, visit) }
    }

    /// Visits all blocks of the objects' heap that are in use, and says what is in each.
    ///
    /// `visit` neither allocates from nor frees into the heap, and does not unwind.
    ///
    /// # Errors
    /// As [`Walk::go_on`]; then some may have been visited.
    pub(super) fn visit_blocks(&self, mut visit: impl FnMut(FoundBlock, Content)) -> Result<(), Error> {
        let visit = |block, content| {
            visit(block, content);
            0
        };
        // SAFETY: nothing is allocated or freed meanwhile; objects in hand are where they were.
        unsafe { Walk::new().go_on(&self.heap, &mut Meter::new(Budget::Unbounded), visit) }.map(|_| ())
    }

    /// Visits all objects, alive and dead: also those of which only the memory is left.
    ///
    /// # Errors
    /// As [`visit_blocks`](State::visit_blocks), and `visit` is under the same rules.
    pub(super) fn visit_objects(&self, mut visit: impl FnMut(NonNull<Object>)) -> Result<(), Error> {
        self.visit_blocks(|_, content| match content {
            Content::Live(object) | Content::Over(object) => visit(object),
            Content::Unfinished => {}
        })
    }

    /// All blocks of the objects' heap that are in use. `None` if a collection is running, or the heap cannot be walked.
    pub(super) fn count_blocks(&self) -> Option<Blocks> {
        if self.is_collecting() {
            return None;
        }
        let mut found = Blocks::default();
        let visited = self.visit_blocks(|block, content| {
            found.blocks += 1;
            // For a sample the engine takes a larger block than was asked for, and leaves room at its end too.
            if block.before == 0 {
                // SAFETY: a block of the engine in use.
                found.bytes += unsafe { sys::mi_usable_size(block.pointer.as_ptr().cast()) } as u64;
            }
            if let Content::Over(object) = content {
                // SAFETY: its memory is in use.
                let word = unsafe { object.as_ref() }.word();
                found.moved += u64::from(word.is_husk() && word.is_moved());
            }
        });
        visited.is_ok().then_some(found)
    }
}

/// What a walk has found in use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blocks {
    pub(super) blocks: u64,
    /// Of these, husks of objects that live in another place.
    pub(super) moved: u64,
    /// Of those that the engine's profiler has not sampled, as the engine says.
    pub(super) bytes: u64,
}

#[cfg(test)]
pub(super) mod tests {
    /// Blocks of a page: the smallest that the engine has, 64 KiB, in the smallest blocks.
    const MOST_BLOCKS: u64 = 4096;

    use std::collections::HashMap;

    use super::*;
    use crate::{Mutator, Ref, Runtime, Tail};

    /// What a walk in steps of one unit passes, and how often. Between its steps the program makes and drops objects.
    fn passed(mutator: &Mutator, mut between: impl FnMut()) -> HashMap<usize, u32> {
        let mut walk = Walk::new();
        let mut passed = HashMap::new();
        loop {
            let visit = |object: NonNull<Object>| {
                *passed.entry(object.as_ptr() as usize).or_default() += 1;
                0
            };
            // SAFETY: allocates from Rust's own heap alone.
            match unsafe { mutator.state().walk(&mut walk, Budget::Units(1), visit) }.unwrap() {
                Stop::Done => return passed,
                _ => between(),
            }
        }
    }

    /// Each object by itself, and not in sum.
    #[test]
    fn what_lives_throughout_is_passed_once() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let tail = |len| -> Ref<Tail<(), u8>> { mutator.alloc_tail((), len, |_| 1).unwrap() };
        let mut kept = Vec::new();
        let mut others = Vec::new();
        for index in 0..if cfg!(small_tests) { 300 } else { 30_000usize } {
            let object = tail([5, 50, 500, 5_000, 70_000][index % 5] >> (index % 3));
            if index % 4 == 0 { kept.push(object) } else { others.push(object) }
        }
        let mut turn = 0usize;
        let passed = passed(&mutator, || {
            turn += 1;
            others.truncate(others.len() - others.len() / 50);
            others.push(tail(turn * 37 % 20_000));
            mutator.collect(Budget::Unbounded);
        });
        assert!(turn > 10);
        for object in &kept {
            assert_eq!(passed.get(&(Ref::as_raw(object).as_ptr() as usize)), Some(&1));
        }
    }

    /// A walk that was not going on while the heap was emptied and filled anew.
    #[test]
    fn a_place_stays_good_whatever_becomes_of_the_pages() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut all: Vec<Ref<[u64; 4]>> = (0..10_000).map(|value| mutator.alloc([value; 4]).unwrap()).collect();
        let mut emptied = 0;
        passed(&mutator, || {
            all.clear();
            mutator.release_memory();
            emptied += 1;
            let len = emptied * 100;
            drop(mutator.alloc_tail((), len, |_| 0u8).unwrap());
        });
        assert!(emptied > 0);
        let kept = mutator.alloc(7).unwrap();
        assert_eq!(passed(&mutator, || {}), HashMap::from([(Ref::as_raw(&kept).as_ptr() as usize, 1)]));
    }

    /// No step has more than a page to pass beyond its budget, and no page more blocks than the promise says.
    #[test]
    fn a_page_has_no_more_blocks_than_is_said() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let kept: Vec<_> = (0..20_000u64).map(|value| mutator.alloc(value).unwrap()).collect();
        let mut walk = Walk::new();
        let mut most = 0;
        loop {
            let mut passed = 0;
            let visit = |_| {
                passed += 1;
                0
            };
            // SAFETY: allocates nothing.
            let stop = unsafe { mutator.state().walk(&mut walk, Budget::Units(1), visit) }.unwrap();
            most = most.max(passed);
            if stop == Stop::Done {
                break;
            }
        }
        assert!((1_000..=MOST_BLOCKS).contains(&most), "{most}");
        drop(kept);
    }

    /// Nothing is visited of a page with a block that is not laid out as it should be; and all is well when it has gone.
    pub(in crate::runtime) fn is_refused(mutator: &Mutator) {
        let mut census = mutator.census();
        let error = census.step(Budget::Unbounded).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EngineMismatch);
        let before = census.total();
        assert_eq!(census.step(Budget::Unbounded).unwrap_err(), error);
        assert_eq!(census.total(), before, "it does not come beyond the page, nor count what is in it");
        assert_eq!(mutator.verify().unwrap_err().kind(), ErrorKind::EngineMismatch);
    }

    /// Somebody has the engine allocate what this crate never does.
    #[test]
    fn blocks_that_the_engine_has_aligned_are_refused() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let kept: Vec<_> = (0..1_000u64).map(|value| mutator.alloc(value).unwrap()).collect();
        let [objects, _] = mutator.state().heap.engine_heaps();
        let aligned: Vec<_> = (0..20)
            .map(|_| {
                // SAFETY: this thread's heap, which is alive.
                let block = unsafe { sys::mi_heap_malloc_aligned(objects.as_ptr(), 5_000, 4_096) };
                let block = NonNull::new(block.cast::<u64>()).unwrap();
                // SAFETY: of so many bytes.
                unsafe { block.write(0) };
                block
            })
            .collect();
        is_refused(&mutator);
        for block in aligned {
            // SAFETY: allocated above, and not used again.
            unsafe { sys::mi_free(block.as_ptr().cast()) };
        }
        assert_eq!(mutator.census().step(Budget::Unbounded), Ok(Stop::Done));
        drop(kept);
    }
}
