//! Operations on a graph of objects, read from bytes, against a model of counts and liveness.
//!
//! The one interpreter of the fuzz target `objects` and of a test that runs on any compiler (`tests/behaviour/fuzzed.rs`).
//! Every string of bytes is a program.

mod blocks;
mod kinds;
mod model;

use std::alloc::Layout;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;

use mimalloc_runtime::{
    Budget, GrowError, Mutator, Object, Pacing, Ref, Runtime, SLACK_UNITS, Stress, Tally, Untyped, When, raw,
};

use blocks::Block;
use kinds::{Dropped, Handle, KINDS};
use model::Model;

use crate::program::Program;

/// The mutators that a program has at a time.
const MUTATORS: usize = 3;

/// Runs the program.
///
/// # Panics
/// When anything is not as the model says.
pub(crate) fn run(program: &[u8]) {
    let mut world = World::new();
    let mut program = Program::new(program);
    while let Some(op) = program.next() {
        world.step(op, &mut program);
        world.check();
    }
    world.end();
}

/// A mutator and its number: each that is attached gets a new one.
struct Attached {
    mutator: Rc<Mutator>,
    number: usize,
    /// Objects that beat handlers have allocated and dropped, of which the model knows nothing else.
    by_handlers: Rc<Cell<u64>>,
    /// Whether an allocation may be refused.
    may_refuse: bool,
    /// The bytes in use when they were looked at last.
    in_use: u64,
}

struct World {
    runtime: Runtime,
    mutators: [Option<Attached>; MUTATORS],
    attached: usize,
    /// References that the program holds.
    handles: Vec<Handle>,
    raw: Vec<NonNull<Object>>,
    blocks: Vec<Block>,
    model: Model,
    /// Where each object lies, or lay.
    places: Vec<NonNull<Object>>,
    dropped: Dropped,
    has_dropped: Vec<bool>,
    /// A large block is made once: it takes its time.
    had_large: bool,
}

impl World {
    fn new() -> World {
        let mut world = World {
            runtime: Runtime::builder().idle_heaps(1).build().unwrap(),
            mutators: [const { None }; MUTATORS],
            attached: 0,
            handles: Vec::new(),
            raw: Vec::new(),
            blocks: Vec::new(),
            model: Model::default(),
            places: Vec::new(),
            dropped: Dropped::default(),
            has_dropped: Vec::new(),
            had_large: false,
        };
        world.attach(0, Pacing::default(), None, 1024);
        world
    }

    fn attach(&mut self, at: usize, pacing: Pacing, stress: Option<Stress>, beat_bytes: u64) {
        if self.mutators[at].is_none() {
            let attach = self.runtime.attaching().pacing(pacing).stress(stress).beat_bytes(beat_bytes).unwrap();
            let mutator = Rc::new(attach.attach().unwrap());
            let by_handlers = Rc::default();
            let attached = Attached { mutator, number: self.attached, by_handlers, may_refuse: false, in_use: 0 };
            self.mutators[at] = Some(attached);
            self.attached += 1;
        }
    }

    fn detach(&mut self, at: usize) {
        let Some(attached) = self.mutators[at].take() else { return };
        let mutator = Rc::into_inner(attached.mutator).expect("handlers know it weakly");
        let allocated = mutator.metrics().allocated.objects;
        let left = mutator.detach().live.objects;
        let mut model = std::mem::take(&mut self.model);
        model.collect(self.roots());
        self.model = model;
        let (alive, dead) = self.model.counts(attached.number);
        assert_eq!(allocated, alive + dead + attached.by_handlers.get());
        // What else lives is held by dead objects of other mutators.
        assert!((alive..=alive + dead).contains(&left));
    }

    /// The mutator with this number.
    fn mutator(&self, number: usize) -> Option<&Mutator> {
        self.mutators.iter().flatten().find(|attached| attached.number == number).map(|attached| &*attached.mutator)
    }

    fn step(&mut self, op: u8, program: &mut Program<'_>) {
        let at = usize::from(program.byte()) % MUTATORS;
        match op % 24 {
            0..=4 => self.alloc(at, program.byte() % KINDS, program),
            5..=8 => self.link(program),
            9 => self.unlink(program),
            10 => self.clone_handle(program),
            11 | 12 => self.drop_handle(program),
            13 => (0..program.byte() % 32).for_each(|_| self.drop_handle(program)),
            14 => self.look(program),
            15 => self.take_apart(program),
            16 => self.put_together(program),
            17 => self.grow(at, program),
            18 | 19 => self.collect(at, program.budget()),
            20 => self.on_beat(at, program),
            21 => self.block(at, program),
            22 => {
                let (pacing, stress) = program.pacing();
                self.attach(at, pacing, stress, 16 << (program.byte() % 12));
            }
            _ => match program.byte() % 8 {
                0 => self.detach(at),
                1 => self.large(at),
                4..=6 => self.limit(at, program),
                _ => self.release_memory(at),
            },
        }
    }

    // ---- objects ----

    fn alloc(&mut self, at: usize, kind: u8, program: &mut Program<'_>) {
        let len = match program.byte() {
            long @ 250.. => usize::from(long) * 17,
            len => usize::from(len % 40),
        };
        self.alloc_len(at, kind, len);
    }

    fn alloc_len(&mut self, at: usize, kind: u8, len: usize) {
        let Some(attached) = &self.mutators[at] else { return };
        let id = self.model.add(attached.number, kinds::slots(kind, len));
        let Some(handle) = Handle::new(&attached.mutator, kind, len, id, &self.dropped) else {
            assert!(attached.may_refuse);
            self.model.forget_last();
            // What was to be in it has been given back, and dropped.
            self.dropped.borrow_mut().retain(|dropped| *dropped != id);
            return;
        };
        self.places.push(Ref::as_raw(&handle.untyped()));
        self.has_dropped.push(false);
        self.handles.push(handle);
    }

    /// An object that is freed where it may wait.
    fn large(&mut self, at: usize) {
        if self.mutators[at].is_some() && !std::mem::replace(&mut self.had_large, true) {
            self.alloc_len(at, 5, 16 << 20);
        }
    }

    fn link(&mut self, program: &mut Program<'_>) {
        let Some(to) = program.index(self.handles.len()) else { return };
        let reference = self.handles[to].untyped();
        self.set(program, Some((self.handles[to].id(), reference)));
    }

    fn unlink(&mut self, program: &mut Program<'_>) {
        self.set(program, None);
    }

    fn set(&mut self, program: &mut Program<'_>, to: Option<(usize, Ref<Untyped>)>) {
        let Some(from) = program.index(self.handles.len()) else { return };
        let from = &self.handles[from];
        let Some(slot) = program.index(from.slots().len()) else { return };
        let (id, reference) = to.unzip();
        self.model.set(from.id(), slot, id);
        drop(from.slots()[slot].replace(reference));
    }

    fn clone_handle(&mut self, program: &mut Program<'_>) {
        let Some(at) = program.index(self.handles.len()) else { return };
        let handle = Handle::typed(self.handles[at].untyped());
        self.model.retain(handle.id());
        self.handles.push(handle);
    }

    fn drop_handle(&mut self, program: &mut Program<'_>) {
        let Some(at) = program.index(self.handles.len()) else { return };
        let handle = self.handles.swap_remove(at);
        self.model.release(handle.id());
        drop(handle);
    }

    /// Whether a handle is the only one. A dead object that has not been freed still counts for the object, not for the model; a
    /// garbage cycle that has been freed, the other way round.
    fn look(&mut self, program: &mut Program<'_>) {
        let Some(at) = program.index(self.handles.len()) else { return };
        let handle = &mut self.handles[at];
        let id = handle.id();
        if handle.is_unique() {
            assert_eq!(self.least_count(id), 1);
        }
    }

    /// References to an object, those of garbage cycles not counted.
    fn least_count(&self, id: usize) -> u32 {
        if self.model.objects[id].count == 1 {
            return 1;
        }
        let mut least = self.model.clone();
        least.collect(self.roots());
        least.objects[id].count
    }

    fn take_apart(&mut self, program: &mut Program<'_>) {
        let Some(at) = program.index(self.handles.len()) else { return };
        let handle = &self.handles[at];
        let object = Ref::into_raw(handle.untyped());
        self.model.retain(handle.id());
        self.raw.push(object);
    }

    fn put_together(&mut self, program: &mut Program<'_>) {
        let Some(at) = program.index(self.raw.len()) else { return };
        let object = self.raw.swap_remove(at);
        let id = self.id_at(object);
        if program.byte() % 2 == 0 {
            self.model.release(id);
            // SAFETY: the reference that `take_apart` has taken.
            unsafe { raw::release(object) }
        } else {
            // SAFETY: as above.
            let handle = Handle::typed(unsafe { Ref::from_raw(object) });
            assert_eq!(handle.id(), id);
            self.handles.push(handle);
        }
    }

    /// The number of an object that is alive.
    fn id_at(&self, object: NonNull<Object>) -> usize {
        // SAFETY: alive, and the handle, which owns nothing, does not outlive this.
        ManuallyDrop::new(Handle::typed(unsafe { Ref::from_raw(object) })).id()
    }

    fn grow(&mut self, at: usize, program: &mut Program<'_>) {
        let Some(attached) = &self.mutators[at] else { return };
        let Some(which) = program.index(self.handles.len()) else { return };
        let more = usize::from(program.byte());
        let id = self.handles[which].id();
        let (count, own) = (self.least_count(id), self.model.objects[id].owner == attached.number);
        let handle = self.handles.swap_remove(which);
        fn outcome<H, E>(
            result: Result<Ref<mimalloc_runtime::Tail<H, E>>, GrowError<H, E>>,
            count: u32,
            own: bool,
            may_refuse: bool,
        ) -> (Ref<mimalloc_runtime::Tail<H, E>>, bool) {
            match result {
                Ok(tail) => {
                    assert!(count == 1 && own);
                    (tail, true)
                }
                Err(GrowError::Shared(tail)) => (tail, false),
                Err(GrowError::Foreign(tail)) => {
                    assert!(!own);
                    (tail, false)
                }
                Err(GrowError::OutOfMemory(error)) => {
                    assert!(may_refuse && count == 1 && own);
                    (error.value, false)
                }
            }
        }
        let handle = match handle {
            Handle::Array(array) if more > 0 => {
                let len = array.items().len() + more;
                let grown = attached.mutator.grow_tail(array, len, |_| kinds::Slot::default());
                let (array, grown) = outcome(grown, count, own, attached.may_refuse);
                if grown {
                    self.model.objects[id].edges.resize(len, None);
                }
                Handle::Array(array)
            }
            Handle::Text(text) if more > 0 => {
                let len = text.items().len() + more * 5;
                let grown = attached.mutator.grow_tail(text, len, |index| kinds::byte(id, index));
                Handle::Text(outcome(grown, count, own, attached.may_refuse).0)
            }
            other => other,
        };
        self.places[id] = Ref::as_raw(&handle.untyped());
        self.handles.push(handle);
    }

    // ---- mutators ----

    fn collect(&mut self, at: usize, budget: Budget) {
        let Some(attached) = &self.mutators[at] else { return };
        let progress = attached.mutator.collect(budget);
        if let Budget::Units(units) = budget {
            assert!(progress.units <= units + SLACK_UNITS);
        }
        assert!(!progress.is_done() || progress.pending.objects == progress.large.objects);
    }

    fn release_memory(&mut self, at: usize) {
        let Some(attached) = &self.mutators[at] else { return };
        let progress = attached.mutator.release_memory();
        assert_eq!(progress.pending, Tally::default());
    }

    /// Sets a limit, or takes it away, or lets an allocation to come fail.
    fn limit(&mut self, at: usize, program: &mut Program<'_>) {
        let Some(attached) = &mut self.mutators[at] else { return };
        let word = program.word() as u64;
        attached.may_refuse = true;
        match word % 4 {
            0 => attached.mutator.set_limit(Some(word)),
            1 => attached.mutator.set_limit(Some(attached.mutator.in_use() + word / 16)),
            2 => _ = attached.mutator.fail_allocation(1 + word / 4 % 8),
            _ => {
                attached.mutator.set_limit(None);
                attached.mutator.fail_allocation(0);
                attached.may_refuse = false;
            }
        }
    }

    /// From now on a handler on every so many beats allocates some, drops them, and collects a little.
    fn on_beat(&mut self, at: usize, program: &mut Program<'_>) {
        let Some(attached) = &self.mutators[at] else { return };
        let (count, budget) = (program.byte() % 8, program.budget());
        let allocated = Rc::clone(&attached.by_handlers);
        let subscribed = attached.mutator.on_beat(When::Every(1 + u64::from(count) / 2), move |mutator, _| {
            let mut last: Option<Ref<Untyped>> = None;
            for _ in 0..count {
                let Ok(object) = mutator.alloc((0u64, last.take(), [(); 3])) else { break };
                last = Some(Ref::erase(object));
                allocated.set(allocated.get() + 1);
            }
            drop(last);
            mutator.collect(budget);
        });
        subscribed.expect("every so many beats, from now on");
    }

    // ---- raw blocks ----

    fn block(&mut self, at: usize, program: &mut Program<'_>) {
        let size = [0, 1, 16, 100, 1_000, 1_024, 1_040, 5_000][usize::from(program.byte() % 8)];
        let size = size + usize::from(program.byte() % 32);
        match (program.byte() % 4, &self.mutators[at]) {
            (0 | 1, Some(attached)) => {
                let layout = Layout::from_size_align(size, 1 << (program.byte() % 8)).unwrap();
                let (fill, zeroed) = (program.byte(), program.byte() % 2 == 0);
                let block = Block::new(&attached.mutator, attached.number, layout, fill, zeroed);
                assert!(block.is_some() || attached.may_refuse);
                self.blocks.extend(block);
            }
            (2, _) => {
                let Some(at) = program.index(self.blocks.len()) else { return };
                let mut block = self.blocks.swap_remove(at);
                if let Some(mutator) = self.mutator(block.owner) {
                    let resized = block.resize(mutator, size);
                    assert!(resized || self.mutators.iter().flatten().any(|attached| attached.may_refuse));
                }
                self.blocks.push(block);
            }
            _ => {
                let Some(at) = program.index(self.blocks.len()) else { return };
                let block = self.blocks.swap_remove(at);
                let mutator = if program.byte() % 2 == 0 { self.mutator(block.owner) } else { None };
                block.free(mutator);
            }
        }
    }

    // ---- what must be true ----

    /// What the program holds.
    fn roots(&self) -> impl Iterator<Item = usize> {
        let raw = self.raw.iter().map(|object| self.id_at(*object));
        self.handles.iter().map(Handle::id).chain(raw)
    }

    /// What the model knows of the counts, after any step.
    fn check(&mut self) {
        // Without the garbage cycles, of which the mutators may have found some.
        let mut least = self.model.clone();
        least.collect(self.roots());
        for id in self.dropped.take() {
            assert!(!least.objects[id].is_alive(), "{id} was dropped while it was in use");
            assert!(!std::mem::replace(&mut self.has_dropped[id], true), "{id} was dropped twice");
        }
        for attached in self.mutators.iter_mut().flatten() {
            let metrics = attached.mutator.metrics();
            let in_use = metrics.in_use_bytes;
            assert!(metrics.limit.is_none_or(|limit| in_use <= limit.max(attached.in_use)));
            attached.in_use = in_use;
            let (alive, dead) = least.counts(attached.number);
            let by_handlers = attached.by_handlers.get();
            assert_eq!(metrics.allocated.objects, alive + dead + by_handlers);
            // What only dead objects refer to is live until the drain comes to it.
            assert!(
                metrics.live.now.objects >= alive,
                "{} objects live, {alive} in the model",
                metrics.live.now.objects
            );
            assert!(metrics.freed.objects + metrics.pending.now.objects <= dead + by_handlers);
            assert_eq!((metrics.abandoned.objects, metrics.panics), (0, 0));
            let blocks = self.blocks.iter().filter(|block| block.owner == attached.number);
            assert_eq!(metrics.block_bytes, blocks.map(Block::counted).sum::<u64>());
        }
    }

    /// Frees everything dead. An object of one mutator may hold the last reference to one of another.
    fn drain(&mut self) {
        loop {
            let mut units = 0;
            for attached in self.mutators.iter().flatten() {
                units += attached.mutator.collect(Budget::Unbounded).units;
            }
            if units == 0 {
                break;
            }
        }
        let mut model = std::mem::take(&mut self.model);
        model.collect(self.roots());
        self.model = model;
        self.check();
        for attached in self.mutators.iter().flatten() {
            let metrics = attached.mutator.metrics();
            let (alive, dead) = self.model.counts(attached.number);
            assert_eq!(metrics.live.now.objects, alive);
            assert_eq!(metrics.freed.objects, dead + attached.by_handlers.get());
            assert_eq!(metrics.pending.now, Tally::default());
        }
        for handle in &mut self.handles {
            let count = self.model.objects[handle.id()].count;
            assert_eq!(handle.is_unique(), count == 1);
        }
    }

    /// Gives up everything that the program holds: exactly the cycles through several mutators are left. Then cuts these, and
    /// nothing is.
    fn end(mut self) {
        self.drain();
        for block in std::mem::take(&mut self.blocks) {
            let mutator = self.mutator(block.owner);
            block.free(mutator);
        }
        for object in std::mem::take(&mut self.raw) {
            let id = self.id_at(object);
            self.model.release(id);
            // SAFETY: the reference that `take_apart` has taken.
            unsafe { raw::release(object) }
        }
        for handle in std::mem::take(&mut self.handles) {
            self.model.release(handle.id());
            drop(handle);
        }
        self.drain();
        for id in 0..self.model.objects.len() {
            for slot in 0..self.model.objects[id].edges.len() {
                // A cut may kill the object itself.
                if self.model.objects[id].edges.get(slot).is_some_and(Option::is_some) {
                    self.cut(id, slot);
                    self.drain();
                }
            }
        }
        self.drain();
        assert!(self.model.objects.iter().all(|known| !known.is_alive()));
        for at in 0..MUTATORS {
            self.detach(at);
        }
        self.check();
    }

    fn cut(&mut self, id: usize, slot: usize) {
        // SAFETY: alive, as the model says: it has an edge.
        unsafe { raw::retain(self.places[id]) };
        self.model.retain(id);
        // SAFETY: with the reference just taken.
        let handle = Handle::typed(unsafe { Ref::from_raw(self.places[id]) });
        assert_eq!(handle.id(), id);
        self.model.set(id, slot, None);
        drop(handle.slots()[slot].take());
        self.model.release(id);
        drop(handle);
    }
}
