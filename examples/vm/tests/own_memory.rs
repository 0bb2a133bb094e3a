//! Rust's own memory, of which the machine needs little: it goes on where there is none for the roots of its trees of strings.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use lox_vm::machine::{Config, Limits, Machine};
use mimalloc_runtime::Pacing;

/// The system's allocator, save that it has no blocks of words from a certain size on.
struct Short;

static FROM: AtomicUsize = AtomicUsize::new(usize::MAX);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

fn is_refused(layout: Layout, size: usize) -> bool {
    let refused = layout.align() == 8 && size >= FROM.load(Ordering::Relaxed);
    REFUSED.fetch_add(usize::from(refused), Ordering::Relaxed);
    refused
}

// SAFETY: the system's, or nothing.
unsafe impl GlobalAlloc for Short {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout, layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_refused(layout, size) {
            return std::ptr::null_mut();
        }
        // SAFETY: handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Short = Short;

#[test]
fn strings_are_one_also_where_there_is_no_memory_for_more_trees() {
    let config = Config {
        stress: None,
        pacing: Pacing::default(),
        beat_bytes: 64 << 10,
        limits: Limits::default(),
        heap_limit: None,
        script_args: Vec::new(),
        stdin: Box::new(io::empty()),
    };
    let mut machine = Machine::new(config).unwrap();
    let source = "
        var m = Map();
        for (var i = 0; i < 5000; i = i + 1) m.set(\"text \" + str(i), i);
        for (var i = 0; i < 5000; i = i + 1) if (m.get(\"text \" + str(i)) != i) print i;
        print m.len();
    ";
    let (mut out, mut err) = (Vec::new(), Vec::new());
    // The roots are 256 words, and want to be 512.
    FROM.store(512 * 8, Ordering::Relaxed);
    let result = machine.interpret(source, &mut out, &mut err);
    FROM.store(usize::MAX, Ordering::Relaxed);
    assert!(result.is_ok(), "{}", String::from_utf8_lossy(&err));
    assert_eq!(out, b"5000\n");
    assert!(REFUSED.load(Ordering::Relaxed) > 0);
    assert_eq!(machine.shutdown().live.now.objects, 0);
}
