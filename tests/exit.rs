//! Threads and processes that end with a mutator attached, each in a process of its own: what the hook does then is seen by
//! whether the process ends as it should.

use std::cell::RefCell;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mimalloc_runtime::{Budget, Mutator, Ref, Runtime, Trace, register_deferred_free};

const CASE: &str = "MIMALLOC_RUNTIME_EXIT_CASE";

/// Fewer under tools that run a hundred times slower.
const THREADS: usize = if cfg!(small_tests) { 30 } else { 300 };

#[derive(Trace)]
struct Node {
    next: Option<Ref<Node>>,
}

fn leave_work_pending(mutator: &Mutator) {
    let mut head = None;
    for _ in 0..10_000 {
        head = Some(mutator.alloc(Node { next: head }).unwrap());
    }
    drop(head);
    mutator.collect(Budget::Units(10));
}

thread_local! {
    static KEPT: RefCell<Option<(Mutator, Ref<Node>)>> = const { RefCell::new(None) };
}

fn keep_in_a_thread_local(runtime: &Runtime) {
    let mutator = runtime.attach().unwrap();
    leave_work_pending(&mutator);
    let node = mutator.alloc(Node { next: None }).unwrap();
    KEPT.set(Some((mutator, node)));
}

/// Runs in the child. The handler allocates, as a careless one would.
fn run(case: &str) {
    std::mem::forget(register_deferred_free(|_| drop(vec![0u8; 1000])));
    let runtime = Runtime::new().unwrap();
    match case {
        "process exit" => {
            leave_work_pending(&runtime.attach().unwrap());
            let mutator = runtime.attach().unwrap();
            leave_work_pending(&mutator);
            std::process::exit(7);
        }
        "return with a forgotten mutator" => {
            let mutator = runtime.attach().unwrap();
            leave_work_pending(&mutator);
            std::mem::forget(mutator);
            std::process::exit(7);
        }
        "threads that forget their mutators" => {
            for _ in 0..THREADS {
                let runtime = runtime.clone();
                let thread = thread::spawn(move || {
                    let mutator = runtime.attach().unwrap();
                    leave_work_pending(&mutator);
                    std::mem::forget(mutator);
                });
                thread.join().unwrap();
            }
            std::process::exit(7);
        }
        "threads that keep their mutators in a thread-local" => {
            for _ in 0..THREADS {
                let runtime = runtime.clone();
                thread::spawn(move || keep_in_a_thread_local(&runtime)).join().unwrap();
            }
            std::process::exit(7);
        }
        "threads that panic" => {
            for _ in 0..THREADS / 6 {
                let runtime = runtime.clone();
                let thread = thread::spawn(move || {
                    let mutator = runtime.attach().unwrap();
                    leave_work_pending(&mutator);
                    panic!("a thread's panic");
                });
                assert!(thread.join().is_err());
            }
            std::process::exit(7);
        }
        "process exit while another thread allocates" => {
            // No channel: ThreadSanitizer takes the standard library's for a race.
            static BUSY: AtomicBool = AtomicBool::new(false);
            thread::spawn(move || {
                let mutator = runtime.attach().unwrap();
                loop {
                    leave_work_pending(&mutator);
                    BUSY.store(true, Ordering::Relaxed);
                }
            });
            while !BUSY.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            std::process::exit(7);
        }
        other => panic!("no such case: {other}"),
    }
}

fn in_a_process(case: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CASE, case)
        .output()
        .unwrap()
        .status
}

#[test]
fn child() {
    if let Ok(case) = std::env::var(CASE) {
        run(&case);
    }
}

#[test]
fn threads_and_processes_end_as_they_should_with_mutators_attached() {
    for case in [
        "process exit",
        "return with a forgotten mutator",
        "threads that forget their mutators",
        "threads that keep their mutators in a thread-local",
        "threads that panic",
        "process exit while another thread allocates",
    ] {
        let status = in_a_process(case);
        assert_eq!(status.code(), Some(7), "{case}: {status}");
    }
}
