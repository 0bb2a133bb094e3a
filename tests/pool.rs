//! The pool of heaps: thousands of threads come and go, and memory stays where it was. A process of its own, whose resident
//! size is looked at.

use std::thread;

use mimalloc_runtime::{Budget, Ref, Runtime, Trace};

#[derive(Trace)]
struct Link {
    next: Option<Ref<Link>>,
    text: String,
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Attaches, allocates, and detaches with work pending, under a live chain that dies only with the detach.
fn visit(runtime: &Runtime) {
    let mutator = runtime.attach().unwrap();
    let chain = |length: u32| {
        let link = |next, index: u32| mutator.alloc(Link { next, text: index.to_string() }).unwrap();
        (0..length).fold(None, |next, index| Some(link(next, index)))
    };
    let kept = chain(100);
    drop(chain(2_000));
    mutator.collect(Budget::Units(50));
    assert!(mutator.metrics().pending.now.objects > 0);
    drop(kept);
    assert_eq!(mutator.detach().live.objects, 0);
}

/// Two threads at a time, so that the pool is used from both ends.
fn visits(runtime: &Runtime, threads: usize) {
    for _ in 0..threads / 2 {
        thread::scope(|scope| {
            scope.spawn(|| visit(runtime));
            scope.spawn(|| visit(runtime));
        });
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
#[cfg_attr(small_tests, ignore = "resident memory is the tool's")]
fn twenty_thousand_threads_leave_memory_flat() {
    let threads = 20_000;
    let runtime = Runtime::new().unwrap();
    visits(&runtime, threads / 10);
    let after_a_tenth = resident();
    visits(&runtime, threads);
    let after_all = resident();
    // Were each thread to leave a kilobyte behind, it would be 20 MiB; a heap in use takes 250 of them. Version 2 itself
    // keeps some 300 bytes a thread.
    let bound = after_a_tenth + (16 << 10);
    assert!(after_all <= bound, "{after_a_tenth} KiB resident after a tenth of the threads, {after_all} after all");

    // What waits for the next mutator can be given back.
    let idle = runtime.idle_heaps();
    assert!(idle <= 2);
    assert_eq!(idle > 0, !cfg!(feature = "v2"), "heaps of version 2 end with their thread");
    assert_eq!((runtime.release_idle_heaps(), runtime.idle_heaps()), (idle, 0));
    visit(&runtime);
}

/// A heap of 8 MiB that is destroyed, over and over.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
#[cfg_attr(small_tests, ignore = "resident memory is the tool's")]
fn a_thousand_destroyed_heaps_leave_memory_flat() {
    let runtime = Runtime::new().unwrap();
    let destroy = |times: u64| {
        for _ in 0..times {
            let mutator = runtime.attach().unwrap();
            let mut head = None;
            for index in 0..100_000u32 {
                // Some have something to drop.
                let text = if index % 100 == 0 { index.to_string() } else { String::new() };
                head = Some(mutator.alloc(Link { next: head, text }).unwrap());
            }
            let block = mutator.allocate(std::alloc::Layout::new::<[u64; 1000]>()).unwrap();
            // SAFETY: of at least so many bytes.
            unsafe { block.write_bytes(1, 8000) };
            drop(head);
            assert_eq!(mutator.destroy(0).unwrap().residues, 100_000);
        }
    };
    destroy(100);
    let before = resident();
    destroy(1_000);
    // Were one of a hundred heaps to stay, it would be 80 MiB.
    assert!(
        resident() <= before + (16 << 10),
        "{before} KiB resident after a hundred, {} after a thousand",
        resident()
    );
}
