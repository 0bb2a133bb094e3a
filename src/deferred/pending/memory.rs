//! Where objects' memory comes from, and how it is walked through.

use core::ptr::NonNull;

use crate::deferred::object::Object;

/// Where objects' memory comes from. The drain's only way to the outside.
///
/// # Safety
/// 1. `free` takes any block of an object that was allocated from this memory and runs no code of the user's.
pub(crate) unsafe trait Memory {
    /// Whether a step of a walk looks at all pages, so that a whole walk takes a time that grows with the square of them.
    const LOOKS_AT_ALL_PAGES: bool;

    /// Whether freeing such a block is a long call, to be made from a place that may wait.
    fn is_large(&self, bytes: usize) -> bool;

    /// Frees a block.
    ///
    /// # Safety
    /// 1. `block` was allocated here with this size and alignment and is not used again.
    unsafe fn free(&self, block: NonNull<u8>, bytes: usize, align: usize);

    /// Whether an object of this thread, whose memory has not been freed, came from here.
    ///
    /// # Safety
    /// 1. `object` is an object of this thread whose memory has not been freed.
    unsafe fn owns(&self, object: NonNull<Object>) -> bool;

    /// Whether its blocks can be [walked through](Memory::walk_on).
    fn can_be_walked(&self) -> bool;

    /// Visits the objects in a page, dead ones too, and says where the next one begins, `None` at the end, and how many blocks were looked
    /// at: not more than there are in a page of 64 KiB. It may be called for it whatever was allocated and freed since. What is there throughout a walk is visited once.
    ///
    /// # Errors
    /// [`Unwalkable`]: there is something in the page that this crate does not know. Nothing in it was visited.
    ///
    /// # Safety
    /// 1. [`can_be_walked`](Memory::can_be_walked), and no object is being freed just now.
    /// 2. `visit` neither allocates from here nor frees, and does not unwind.
    unsafe fn walk_on(
        &self,
        from: Place,
        visit: impl FnMut(NonNull<Object>),
    ) -> Result<(Option<Place>, u64), Unwalkable>;

    /// Frees a block of at most [`SMALL`](crate::deferred::size::SMALL) bytes and of no larger alignment than all objects have, by the
    /// bytes that are [`counted`](crate::deferred::size::counted) for it.
    ///
    /// # Safety
    /// 1. As for `free`.
    unsafe fn free_small(&self, block: NonNull<u8>, bytes: usize);
}

/// Where a walk has come to; what the words say the [`Memory`] knows. The beginning is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place(pub(crate) [usize; 3]);

/// A walk cannot go on.
#[derive(Debug)]
pub(crate) struct Unwalkable;
