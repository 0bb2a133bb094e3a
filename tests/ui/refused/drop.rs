//! The type's own `Drop` would see references that are gone.

use mimalloc_runtime::{Ref, Trace};

#[derive(Trace)]
struct Plain {
    next: Option<Ref<Plain>>,
}

impl Drop for Plain {
    fn drop(&mut self) {}
}

#[derive(Trace)]
enum Generic<T: Clone, const N: usize> {
    Items([T; N]),
}

impl<T: Clone, const N: usize> Drop for Generic<T, N> {
    fn drop(&mut self) {}
}

fn main() {}
