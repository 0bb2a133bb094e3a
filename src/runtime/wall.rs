//! Walls: memory of the engine that one heap at a time is confined to.
//!
//! A wall is an exclusive arena. The engine takes no memory for a heap that was made in it from anywhere else, so its end is
//! the heap's. An arena cannot be given back, and there are few; but it is whole again when its heap was destroyed. Hence this
//! pool, which all runtimes share.

#[cfg(doc)]
use super::{Attach, Mutator, Runtime};
use crate::error::{Error, ErrorKind};
use crate::fallible;
use crate::lock::Mutex;
use crate::sys::engine;

use super::heap::IdleHeap;
use super::leftovers::Leftovers;

/// The walls of the process, as [`Runtime::walls`] counts them. Those that are none of these are in use by a mutator, or by what
/// lives on of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Walls {
    /// All of them.
    pub reserved: usize,
    /// The bytes of all of them.
    pub reserved_bytes: u64,
    /// Of all, those that wait for a mutator.
    pub free: usize,
    /// Of all, those of which raw blocks were left in use. They are free when these have been freed ([`RemoteFree`](crate::RemoteFree)),
    /// as is found out whenever a wall is wanted.
    pub stranded: usize,
    /// Of all, those that never become free: nobody can free what was left in them, or (version 2) tell.
    pub lost: usize,
}

/// So many arenas at most are walls.
///
/// Version 2 has 132 arenas for everything, version 3 160, and neither makes an ordinary one when all but four are taken. Nor does
/// their number alone count: with every eight that there are, the engine doubles the address space that it takes for the next
/// ordinary one. After 64 that is 256 GiB (version 3: its most, 16 GiB), so that a few more are all a program needs; after 96 it
/// would be 4 TiB, which a system may well refuse.
const MOST_ARENAS: usize = 64;

/// An exclusive arena, of which no heap is made but that of whoever has this.
#[derive(Debug)]
pub(super) struct Wall {
    arena: engine::Arena,
    /// What the mutator asked for, which may be less.
    asked: u64,
}

struct Reserved {
    arenas: usize,
    count: Walls,
    free: Vec<Wall>,
    /// Invariant STRANDED: heaps in walls, of which blocks are in use only if their leftovers are not gone.
    stranded: Vec<(IdleHeap, Leftovers)>,
}

static RESERVED: Mutex<Reserved> = Mutex::new(Reserved {
    arenas: 0,
    count: Walls { reserved: 0, reserved_bytes: 0, free: 0, stranded: 0, lost: 0 },
    free: Vec::new(),
    stranded: Vec::new(),
});

impl Wall {
    /// The size of a wall for so many bytes.
    pub(super) fn size(bytes: u64) -> Result<usize, Error> {
        rounded(bytes).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidSetting,
                format!("a wall of {bytes} bytes was asked for: give at least 1, and less than the address space"),
            )
        })
    }

    /// A wall of at least so many bytes: a free one of that size, a new one, or the smallest free one that is larger.
    pub(super) fn take(asked: u64) -> Result<Wall, Error> {
        let bytes = Wall::size(asked)?;
        free_stranded();
        let mut all = RESERVED.lock();
        if let Some(at) = all.free.iter().position(|wall| wall.arena.bytes() == bytes) {
            return Ok(all.take(at, asked));
        }
        // For when it is given back, or stranded: to detach must not fail.
        let walls = all.count.reserved + 1;
        let room = all.free.try_reserve(walls).and_then(|()| all.stranded.try_reserve(walls));
        room.map_err(|_| fallible::out_of_memory())?;
        let mut refusal = None;
        if all.arenas + engine::Arena::count_for(bytes) <= MOST_ARENAS {
            match engine::Arena::reserve_exclusive(bytes) {
                Ok(arena) => {
                    let enough = arena.bytes() >= bytes;
                    let at = all.add(arena);
                    if enough {
                        return Ok(all.take(at, asked));
                    }
                }
                Err(number) => refusal = Some(std::io::Error::from_raw_os_error(number)),
            }
        }
        let larger = (0..all.free.len()).filter(|at| all.free[*at].arena.bytes() > bytes);
        match larger.min_by_key(|at| all.free[*at].arena.bytes()) {
            Some(at) => Ok(all.take(at, asked)),
            None => Err(all.none(bytes, refusal)),
        }
    }

    pub(super) fn arena(&self) -> &engine::Arena {
        &self.arena
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> u64 {
        self.arena.bytes() as u64
    }

    /// How large it was asked to be.
    pub(super) fn asked(&self) -> u64 {
        self.asked
    }

    /// It is free for the next heap. The one before must have been destroyed.
    pub(super) fn give_back(self) {
        RESERVED.lock().free.push(self);
    }

    /// Its heap can neither be destroyed nor be used again.
    pub(super) fn lose(self) {
        RESERVED.lock().count.lost += 1;
    }
}

impl Reserved {
    fn add(&mut self, arena: engine::Arena) -> usize {
        self.arenas += engine::Arena::count_for(arena.bytes());
        self.count.reserved += 1;
        self.count.reserved_bytes += arena.bytes() as u64;
        self.free.push(Wall { arena, asked: 0 });
        self.free.len() - 1
    }

    fn take(&mut self, at: usize, asked: u64) -> Wall {
        Wall { asked, ..self.free.swap_remove(at) }
    }

    fn count(&self) -> Walls {
        let lost = self.stranded.iter().filter(|(_, left)| left.are_for_good()).count();
        let Walls { reserved, reserved_bytes, lost: at_once, .. } = self.count;
        let stranded = self.stranded.len() - lost;
        Walls { reserved, reserved_bytes, free: self.free.len(), stranded, lost: at_once + lost }
    }

    fn none(&self, bytes: usize, refusal: Option<std::io::Error>) -> Error {
        let Walls { reserved, reserved_bytes, free, stranded, lost } = self.count();
        let have = format!(
            "there are {reserved} of {reserved_bytes} bytes together, of which {free} are free and smaller, {stranded} have blocks \
             left in use by mutators that have gone, and {lost} are lost that way for good"
        );
        match refusal {
            Some(why) => Error::new(
                ErrorKind::Refused,
                format!(
                    "a wall of {bytes} bytes could not be reserved: {why}; ask for less, or see what limits the process's memory; {have}"
                ),
            ),
            None => Error::new(
                ErrorKind::NoWall,
                format!(
                    "no wall of {bytes} bytes is free, and no more can be reserved: detach a mutator that has one, free the blocks \
                     that were left in one, or ask for less; {have}"
                ),
            ),
        }
    }
}

/// A multiple of what arenas are made of. `None` for nothing at all, and for more than can be addressed.
fn rounded(bytes: u64) -> Option<usize> {
    let bytes = usize::try_from(bytes).ok()?.checked_next_multiple_of(engine::ARENA_STEP)?;
    (1..=isize::MAX as usize).contains(&bytes).then_some(bytes)
}

/// Takes a heap in a wall, which is destroyed as soon as it is empty: now, or when next somebody looks.
///
/// # Safety
/// 1. Blocks of it are in use only if `left` are not gone.
pub(super) unsafe fn give_up(heap: IdleHeap, left: Leftovers) {
    if left.are_gone() {
        // SAFETY: nothing in it is in use (1).
        unsafe { heap.destroy() }
    } else {
        RESERVED.lock().stranded.push((heap, left));
    }
}

/// Destroys the heaps whose last blocks have been freed since they were given up; their walls are free then.
pub(super) fn free_stranded() {
    let next = || {
        let mut all = RESERVED.lock();
        let at = all.stranded.iter_mut().position(|(_, left)| left.look())?;
        Some(all.stranded.swap_remove(at).0)
    };
    while let Some(heap) = next() {
        // SAFETY: STRANDED: nothing in it is in use.
        unsafe { heap.destroy() }
    }
}

/// The walls of the process, after a look at those that were left with blocks in use.
pub(super) fn count() -> Walls {
    free_stranded();
    RESERVED.lock().count()
}
