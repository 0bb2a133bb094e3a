//! Threads and processes that end with a mutator attached, each in a process of its own: what the hook does then is seen by
//! whether the process ends as it should.

use std::alloc::Layout;
use std::cell::RefCell;
use std::process::{Command, ExitStatus};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use mimalloc_runtime::{Budget, Mutator, Ref, RemoteFree, Runtime, Trace, register_deferred_free};

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
    std::mem::forget(register_deferred_free(|_| drop(vec![0u8; 1000])).unwrap());
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
        "process exit with mutators attached on several threads" => {
            static READY: AtomicU32 = AtomicU32::new(0);
            for kind in 0..4 {
                let runtime = runtime.clone();
                thread::spawn(move || {
                    let mutator = runtime.attach().unwrap();
                    leave_work_pending(&mutator);
                    match kind {
                        0 => std::mem::forget(mutator),
                        1 => KEPT.set(Some((mutator, runtime.attach().unwrap().alloc(Node { next: None }).unwrap()))),
                        _ => {
                            READY.fetch_add(1, Ordering::Release);
                            // Neither working nor done: its mutator is on its stack when the process ends.
                            loop {
                                thread::park();
                            }
                        }
                    }
                    READY.fetch_add(1, Ordering::Release);
                });
            }
            while READY.load(Ordering::Acquire) < 4 {
                thread::yield_now();
            }
            keep_in_a_thread_local(&runtime);
            let mutator = runtime.attach().unwrap();
            leave_work_pending(&mutator);
            std::process::exit(7);
        }
        "fork" => fork_and_go_on(&runtime),
        other => panic!("no such case: {other}"),
    }
}

/// Forks while other threads have mutators attached and rest. The child has this thread alone: its mutator works on, it can
/// attach others and end as any process; what the others had is stranded, and blocks of theirs may be freed.
fn fork_and_go_on(runtime: &Runtime) -> ! {
    static READY: AtomicU32 = AtomicU32::new(0);
    static BLOCKS: Mutex<Vec<(RemoteFree, usize)>> = Mutex::new(Vec::new());
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..3 {
        let runtime = runtime.clone();
        thread::spawn(move || {
            let mutator = runtime.attach().unwrap();
            leave_work_pending(&mutator);
            let blocks = (0..100).map(|_| {
                let block = mutator.allocate(layout).unwrap();
                (mutator.remote_free(), block.as_ptr().expose_provenance())
            });
            BLOCKS.lock().unwrap().extend(blocks);
            READY.fetch_add(1, Ordering::Release);
            loop {
                thread::park();
            }
        });
    }
    let mutator = runtime.attach().unwrap();
    leave_work_pending(&mutator);
    let kept = mutator.alloc(Node { next: None }).unwrap();
    while READY.load(Ordering::Acquire) < 3 {
        thread::yield_now();
    }
    // SAFETY: the other threads rest and hold no lock, so that the child may do what any thread may.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    // Parent and child do the same; the child then ends as a program does, and the parent waits for it.
    leave_work_pending(&mutator);
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(mutator.metrics().live.now.objects, 1);
    let other = runtime.attach().unwrap();
    leave_work_pending(&other);
    assert_eq!(other.detach().live.objects, 0);
    for (remote, block) in BLOCKS.lock().unwrap().drain(..) {
        let block = NonNull::new(std::ptr::with_exposed_provenance_mut(block)).unwrap();
        // SAFETY: allocated with this layout by the mutator that made `remote`; in each process freed once.
        unsafe { remote.free(block, layout) };
    }
    // A thread of the child's own.
    let inner = runtime.clone();
    thread::spawn(move || leave_work_pending(&inner.attach().unwrap())).join().unwrap();
    drop(kept);
    assert_eq!(mutator.detach().live.objects, 0);
    if child > 0 {
        let mut status = 0;
        // SAFETY: the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 7));
    }
    std::process::exit(7);
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
        "process exit with mutators attached on several threads",
    ] {
        let status = in_a_process(case);
        assert_eq!(status.code(), Some(7), "{case}: {status}");
    }
}

#[test]
fn after_a_fork_the_thread_that_made_it_goes_on_in_both_processes() {
    let status = in_a_process("fork");
    assert_eq!(status.code(), Some(7), "{status}");
}
