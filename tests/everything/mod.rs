//! Everything that code called by the crate might want to do: the cells of the table "What a handler may do" in the crate's
//! documentation. Shared by the tests of its rows.

use std::alloc::Layout;

use mimalloc_runtime::{Budget, ErrorKind, Mutator, Ref, Stop, Trace, When, engine, register_deferred_free};

/// What came of what may be refused. All else has succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Did {
    /// How `collect` of the mutator ended, and that of another one.
    pub(crate) collected: [Stop; 2],
    /// Why attaching was refused, if it was.
    pub(crate) attached: Result<(), ErrorKind>,
    /// Why the walk was refused, if it was.
    pub(crate) areas: Result<(), ErrorKind>,
}

/// Code that is called outside of a step and of the engine.
pub(crate) const ALL: Did = Did { collected: [Stop::Done; 2], attached: Ok(()), areas: Ok(()) };

#[derive(Trace)]
struct Link(Option<Ref<Link>>);

/// Does it, with the mutator that the caller was called for and with another one, which goes.
pub(crate) fn do_everything(own: &Mutator, another: Mutator) -> Did {
    let layout = Layout::from_size_align(100, 8).unwrap();
    let mut collected = [Stop::Budget; 2];
    for (mutator, collected) in [own, &another].into_iter().zip(&mut collected) {
        // Allocate, from the mutator and from Rust's allocator; drop references.
        let boxed: Vec<_> = (0..1_000).map(|value| mutator.alloc(value).unwrap()).collect();
        assert!(boxed.iter().enumerate().all(|(at, value)| **value == at as i32));
        drop((0..100).fold(None, |next, _| Some(mutator.alloc(Link(next)).unwrap())));
        let block = mutator.allocate(layout).unwrap();
        // SAFETY: of this mutator, with this layout, and not used again.
        unsafe { mutator.deallocate(block, layout) };
        *collected = mutator.collect(Budget::Unbounded).stop;
    }
    let attached = own.child().attach().map(drop);
    let areas = own.areas().map(drop);
    // Subscribe and register, and undo it.
    let subscription = own.on_beat(When::Every(1 << 40), |_, _| ()).unwrap();
    assert!(own.unsubscribe(subscription));
    drop(register_deferred_free(|_| ()).unwrap());
    drop(engine::on_message(|_| ()).unwrap());
    another.detach();
    Did { collected, attached: attached.map_err(|error| error.kind()), areas: areas.map_err(|error| error.kind()) }
}
