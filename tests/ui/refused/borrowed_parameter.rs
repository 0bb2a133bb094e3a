//! A parameter that is not `'static`, in a skipped field.

use mimalloc_runtime::{Runtime, Trace};

#[derive(Trace)]
struct Skipping<T>(#[trace(skip)] T);

fn main() {
    let text = String::from("text");
    let mutator = Runtime::new().unwrap().attach().unwrap();
    mutator.alloc(Skipping(&text)).unwrap();
}
