//! Memory of Rust's own heap, with an answer when there is none. The standard library ends the process then.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::error::{Error, ErrorKind};

/// `value` in a box. Out of memory it is dropped.
pub(crate) fn boxed<T>(value: T) -> Result<Box<T>, Error> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value)); // allocates nothing
    }
    // SAFETY: not of no size.
    let place = unsafe { std::alloc::alloc(layout) };
    let place = NonNull::new(place).ok_or_else(out_of_memory)?.cast::<T>();
    // SAFETY: fresh memory of this layout.
    unsafe { place.write(value) };
    // SAFETY: allocated by the global allocator with the layout of the value that it holds.
    Ok(unsafe { Box::from_raw(place.as_ptr()) })
}

pub(crate) fn out_of_memory() -> Error {
    Error::new(ErrorKind::OutOfMemory, "Rust's global allocator has no memory: free some, or give the process more")
}
