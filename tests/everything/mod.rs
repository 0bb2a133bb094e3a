//! Everything that code called by the crate might want to do: the cells of the table "What a handler may do" in the crate's
//! documentation. Shared by the tests of its rows.

use std::alloc::Layout;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mimalloc_runtime::{Budget, Interrupted, Mutator, Ref, Runtime, Stop, Trace, When, engine, register_deferred_free};

/// How `collect` of the mutator ended, and that of another one. All else has succeeded.
pub(crate) type Did = [Stop; 2];

/// Code that is called outside of a step.
pub(crate) const ALL: Did = [Stop::Done; 2];

#[derive(Trace)]
struct Link(Option<Ref<Link>>);

/// Does it, with the mutator that the caller was called for and with another one, which goes.
pub(crate) fn do_everything(own: &Mutator, another: Mutator) -> Did {
    let layout = Layout::from_size_align(100, 8).unwrap();
    let mut collected = [Stop::Budget; 2];
    for (mutator, collected) in [own, &another].into_iter().zip(&mut collected) {
        // Allocate, from the mutator and from Rust's allocator, under another limit; drop references.
        let limit = mutator.limit();
        mutator.set_limit(Some(mutator.in_use() + (1 << 20)));
        let boxed: Vec<_> = (0..1_000).map(|value| mutator.alloc(value).unwrap()).collect();
        assert!(boxed.iter().enumerate().all(|(at, value)| **value == at as i32));
        drop((0..100).fold(None, |next, _| Some(mutator.alloc(Link(next)).unwrap())));
        let block = mutator.allocate(layout).unwrap();
        // SAFETY: of this mutator, with this layout, and not used again.
        unsafe { mutator.deallocate(block, layout) };
        mutator.set_limit(limit);
        *collected = mutator.collect(Budget::Unbounded).stop;
        // A stop is told and stays for the program, and so does a request.
        let (interrupter, ran) = (mutator.interrupter(), Arc::new(AtomicBool::new(false)));
        let runs = Arc::clone(&ran);
        interrupter.run_at_safepoint(move |_| runs.store(true, Ordering::Relaxed)).unwrap();
        interrupter.stop();
        assert_eq!([mutator.poll(1), mutator.poll(1)], [Err(Interrupted::Stopped); 2]);
        mutator.safepoint();
        assert!(mutator.clear_stop() && !ran.load(Ordering::Relaxed));
        assert_eq!(mutator.poll(1), Ok(()));
        // Read what is counted.
        assert_eq!(mutator.metrics(), mutator.watch().metrics());
        assert!(!mutator.areas().unwrap().is_empty());
    }
    own.child().attach().unwrap().detach();
    let runtime = Runtime::new().unwrap();
    let attached = runtime.attach().unwrap();
    assert_eq!((runtime.metrics().attached, runtime.idle_heaps()), (1, 0));
    drop(attached);
    assert_eq!(runtime.metrics().attached, 0);
    // Subscribe and register, and undo it.
    let on_beat = own.on_beat(When::Every(1 << 40), |_, _| ()).unwrap();
    let on_pressure = own.on_pressure(|_, _| ()).unwrap();
    assert!(own.unsubscribe(on_beat) && own.unsubscribe(on_pressure));
    drop(register_deferred_free(|_| ()).unwrap());
    drop(engine::on_message(|_| ()).unwrap());
    own.observe_steps(|_| ()).unwrap();
    another.detach();
    collected
}
