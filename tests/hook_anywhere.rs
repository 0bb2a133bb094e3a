//! The engine may call its hook in any allocation, so also in those that the crate makes for itself. Here it does so in every
//! one: none may be made where a handler that does all it may would wait for a lock, or find something borrowed.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::OnceLock;

use mimalloc_runtime::engine::{self, EngineOptions, ProfilerSettings, Purge};
use mimalloc_runtime::{
    Budget, ChargingAlloc, ErrorKind, HookCall, Mutator, Ref, Runtime, Trace, When, register_deferred_free, sys,
};

thread_local! {
    static CALLING: Cell<bool> = const { Cell::new(false) };
    /// The mutator that the handler uses.
    static OWN: RefCell<Option<Rc<Mutator>>> = const { RefCell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Has the engine call before each allocation.
struct Calls;

impl Calls {
    fn call(&self) {
        if CALLING.get() {
            // SAFETY: may be called by anyone at any time. Not forced, it is the routine call of the hook.
            unsafe { sys::mi_collect(false) }
        }
    }
}

// SAFETY: that of `ChargingAlloc`.
unsafe impl GlobalAlloc for Calls {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.call();
        // SAFETY: handed on.
        unsafe { ChargingAlloc.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.call();
        // SAFETY: handed on.
        unsafe { ChargingAlloc.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: handed on.
        unsafe { ChargingAlloc.dealloc(block, layout) }
    }
}

#[global_allocator]
static GLOBAL: Calls = Calls;

/// The runtime that mutators come and go of.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

const LEFT: Layout = Layout::new::<[u8; 100]>();

#[derive(Trace)]
struct Link(Option<Ref<Link>>);

fn chain<const LINKS: usize>(mutator: &Mutator) {
    drop((0..LINKS).fold(None, |next, _| Some(mutator.alloc(Link(next)).unwrap())));
}

/// What a handler of the hook may do, wherever the call comes.
fn everything(call: HookCall) {
    let Some(own) = OWN.with_borrow(Option::clone) else { return };
    if call == HookCall::Routine {
        CALLS.set(CALLS.get() + 1);
    }
    chain::<10>(&own);
    own.collect(Budget::Units(20));
    own.safepoint();
    own.poll(1).unwrap();
    assert!(own.interrupter().run_at_safepoint(|own| drop(own.alloc(Link(None)).unwrap())).is_ok());
    assert_eq!(own.child().attach().err().map(|error| error.kind()), Some(ErrorKind::InHandler));
    let subscription = own.on_beat(When::Every(1), |_, _| ()).unwrap();
    assert!(own.unsubscribe(subscription));
    drop(register_deferred_free(|_| ()).unwrap());
    drop(engine::on_message(|_| ()).unwrap());
    engine::deliver_messages();
    assert!(RUNTIME.get().unwrap().metrics().attached >= 1 && own.watch().is_attached());
    Runtime::new().unwrap().release_idle_heaps();
    assert!(Runtime::walls().free <= 2);
    // Refused, with a text that is made under the lock of the options.
    let other = EngineOptions::new().purge(Purge::AtOnce);
    assert_eq!(Runtime::builder().engine(other).build().unwrap_err().kind(), ErrorKind::SettingConflict);
    assert_eq!(ProfilerSettings::new("\0").start().unwrap_err().kind(), ErrorKind::InvalidSetting);
}

/// How many calls there were while `f` ran.
fn called(f: impl FnOnce()) -> u32 {
    let before = CALLS.get();
    CALLING.set(true);
    f();
    CALLING.set(false);
    CALLS.get() - before
}

#[test]
fn a_handler_may_do_all_it_may_in_every_allocation() {
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let own = Rc::new(runtime.attaching().beat_bytes(1024).unwrap().attach().unwrap());
    OWN.set(Some(Rc::clone(&own)));
    let registration = register_deferred_free(everything).unwrap();
    assert_eq!(called(|| drop(black_box(Box::new(1u64)))), 1, "the engine calls in an allocation of Rust");

    called(|| drop(register_deferred_free(|_| ()).unwrap()));
    called(|| {
        let handlers: Vec<_> = (0..20).map(|_| engine::on_message(|_| ()).unwrap()).collect();
        // SAFETY: null, as it must be.
        unsafe { sys::mi_stats_print(std::ptr::null_mut()) };
        engine::deliver_messages();
        drop(handlers);
    });
    called(|| {
        let subscriptions: Vec<_> = (0..20).map(|_| own.on_beat(When::Every(1), |_, _| ()).unwrap()).collect();
        own.observe_steps(|_| drop(black_box(Box::new(1u64)))).unwrap();
        chain::<1_000>(&own);
        subscriptions.into_iter().for_each(|subscription| assert!(own.unsubscribe(subscription)));
    });
    called(|| {
        for _ in 0..20 {
            assert!(own.interrupter().run_at_safepoint(|_| drop(black_box(Box::new(1u64)))).is_ok());
            own.poll(1).unwrap();
        }
    });
    called(|| {
        let other = EngineOptions::new().purge(Purge::AtOnce);
        assert!(Runtime::builder().engine(other).build().is_err());
        assert!(ProfilerSettings::new("\0").start().is_err());
    });
    called(|| {
        #[derive(Trace)]
        struct New(u8, Option<Ref<Link>>);
        let others: Vec<_> = (0..20).map(|_| runtime.attach().unwrap()).collect();
        for mutator in &others {
            assert_eq!(mutator.alloc(New(7, None)).unwrap().0, 7);
            mutator.areas().unwrap();
            mutator.engine_stats().ok();
        }
        others.into_iter().for_each(|mutator| _ = mutator.detach());
        runtime.release_idle_heaps();
    });
    called(|| {
        let walled = |bytes| runtime.attaching().wall(Some(bytes)).unwrap().attach();
        let mutators = [walled(1).unwrap(), walled(1).unwrap()];
        // With a text that is made under the lock of the walls.
        let kind = walled(1 << 62).unwrap_err().kind();
        assert_eq!(kind, if cfg!(feature = "v2") { ErrorKind::Refused } else { ErrorKind::NoWall });
        let left = mutators.each_ref().map(|mutator| (mutator.allocate(LEFT).unwrap(), mutator.remote_free()));
        mutators.into_iter().for_each(|mutator| _ = mutator.detach());
        for (block, remote) in left {
            // SAFETY: of the mutator that made `remote`, with this layout.
            unsafe { remote.free(block, LEFT) }
        }
        let walls = Runtime::walls();
        assert_eq!((walls.reserved, walls.free + walls.lost), (2, 2));
    });
    // During a walk no handler may come to make a `RemoteFree`, with which another thread could free into the heap.
    assert_eq!(called(|| assert!(!own.areas().unwrap().is_empty())), 0);
    called(|| _ = own.release_memory());
    OWN.take();
    drop(registration);
    own.observe_steps(|_| ()).unwrap();
    assert!(own.collect(Budget::Unbounded).is_done());
    assert_eq!(own.metrics().live.now.objects, 0);
}
