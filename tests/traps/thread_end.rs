//! The forced call of version 2 at the end of a thread, when most of Rust is gone there. Version 3 makes none.

use core::ffi::{c_ulonglong, c_void};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::engine::{self, malloc};
use crate::process::alone;

struct Noted(Cell<u64>);

impl Drop for Noted {
    fn drop(&mut self) {}
}

thread_local! {
    static WITH_DROP: RefCell<Noted> = const { RefCell::new(Noted(Cell::new(7))) };
    static WITHOUT_DROP: Cell<u64> = const { Cell::new(0) };
}
static GONE: AtomicU64 = AtomicU64::new(0);
static READABLE: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn look_at_thread_locals(force: bool, _: c_ulonglong, _: *mut c_void) {
    if force {
        GONE.fetch_add(u64::from(WITH_DROP.try_with(|_| ()).is_err()), Relaxed);
        READABLE.fetch_add(u64::from(WITHOUT_DROP.get() == 5), Relaxed);
    }
}

/// At a thread's end a thread-local with `Drop` is gone, one without can still be read.
#[test]
fn at_the_end_of_a_thread_only_thread_locals_without_drop_are_left() {
    alone(|| {
        engine::register(look_at_thread_locals);
        let thread = thread::spawn(|| {
            malloc(16);
            WITHOUT_DROP.set(5);
            assert_eq!(WITH_DROP.with_borrow(|noted| noted.0.get()), 7);
        });
        thread.join().unwrap();
        assert!(GONE.load(Relaxed) > 0);
        assert_eq!(READABLE.load(Relaxed), GONE.load(Relaxed));
    });
}
