//! Which wall a mutator gets, and what becomes of it.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::thread;

use mimalloc_runtime::{ErrorKind, Mutator, Ref, RemoteFree, Runtime, Trace};

use crate::process::alone;
use crate::{MIB, V2, attach, walls};

/// The constant of the same name in `src/runtime/wall.rs`.
const MOST_ARENAS: usize = 64;

fn wall(mutator: &Mutator) -> usize {
    mutator.wall().unwrap() as usize / MIB
}

fn error(runtime: &Runtime, bytes: u64) -> (ErrorKind, String) {
    let error = runtime.attaching().wall(Some(bytes)).and_then(|attach| attach.attach()).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn a_size_must_be_one() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        for bytes in [0, 1 << 63, u64::MAX] {
            let (kind, text) = error(&runtime, bytes);
            assert_eq!(kind, ErrorKind::InvalidSetting);
            assert!(text.contains(&bytes.to_string()), "{text}");
        }
        assert_eq!(walls(), [0; 4]);
    });
}

#[test]
fn a_wall_is_used_again() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let another = Runtime::new().unwrap();
        for round in 0..200 {
            let runtime = if round % 2 == 0 { &runtime } else { &another };
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mutator = attach(runtime, 32);
                    let objects: Vec<_> = (0..100).map(|_| mutator.alloc([7u64; 100]).unwrap()).collect();
                    assert_eq!(walls(), [1, 0, 0, 0]);
                    drop(objects);
                });
            });
            assert_eq!(walls(), [1, 1, 0, 0]);
        }
        assert_eq!([runtime.idle_heaps(), another.idle_heaps()], [0, 0], "heaps in walls are not pooled");
    });
}

/// Full of live objects and blocks, and whole again for the next.
#[test]
fn the_wall_of_a_mutator_that_was_destroyed_is_free() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mut first = None;
        for _ in 0..20 {
            let mutator = attach(&runtime, 32);
            let block = mutator.allocate(Layout::new::<[u64; 1000]>()).unwrap();
            let mut objects = 0;
            let mut list: Option<Ref<Link>> = None;
            loop {
                match mutator.alloc(Link { next: list.take(), _padding: [7; 20] }) {
                    Ok(link) => list = Some(link),
                    Err(error) => break drop(error.value.next),
                }
                objects += 1;
            }
            assert_eq!(walls(), [1, 0, 0, 0]);
            let gone = mutator.destroy(0).unwrap();
            assert!(gone.live.objects + gone.pending.objects >= objects - 1 && gone.block_bytes >= 8000);
            assert_eq!((walls(), *first.get_or_insert(objects)), ([1, 1, 0, 0], objects), "as much fits each time");
            assert_ne!(block.as_ptr() as usize, 0);
        }
    });
}

#[derive(Trace)]
struct Link {
    next: Option<Ref<Link>>,
    _padding: [u64; 20],
}

#[test]
fn the_same_size_goes_before_a_new_one_and_a_new_one_before_a_larger_one() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        drop([attach(&runtime, 96), attach(&runtime, 64)]);
        assert_eq!(walls(), [2, 2, 0, 0]);
        let same = attach(&runtime, 64);
        assert_eq!((wall(&same), walls()), (64, [2, 1, 0, 0]));
        let new = attach(&runtime, 32);
        assert_eq!((wall(&new), walls()), (32, [3, 1, 0, 0]));
        assert_eq!(Runtime::walls().reserved_bytes, 192 << 20);
        // Until there are no more.
        let mut others: Vec<Mutator> = (3..MOST_ARENAS).map(|_| attach(&runtime, 32)).collect();
        assert!(others.iter().all(|mutator| wall(mutator) == 32));
        assert_eq!(walls(), [MOST_ARENAS, 1, 0, 0]);
        let larger = attach(&runtime, 32);
        assert_eq!((wall(&larger), walls()), (96, [MOST_ARENAS, 0, 0, 0]));
        let (kind, text) = error(&runtime, 1);
        assert_eq!(kind, ErrorKind::NoWall);
        assert!(text.contains("33554432 bytes") && text.contains("detach"), "{text}");
        // The smallest that is large enough; none that is not.
        drop((larger, same, others.pop()));
        assert_eq!(error(&runtime, 97 << 20).0, ErrorKind::NoWall);
        assert_eq!(wall(&attach(&runtime, 33)), 64);
        assert_eq!(wall(&attach(&runtime, 1)), 32);
        assert_eq!(wall(&attach(&runtime, 96)), 96);
        // Nothing of it touches those without walls.
        let plain = runtime.attach().unwrap();
        let blocks: Vec<_> = (0..1_000).map(|_| plain.alloc([7u8; 100_000]).unwrap()).collect();
        assert!(blocks.iter().all(|block| block[99_999] == 7));
    });
}

const LEFT: Layout = Layout::new::<[u8; 100]>();

fn leave(mutator: &Mutator) -> (NonNull<u8>, RemoteFree) {
    (mutator.allocate(LEFT).unwrap(), mutator.remote_free())
}

fn free((block, remote): (NonNull<u8>, RemoteFree)) {
    // SAFETY: allocated by the mutator that made `remote`, with this layout; freed once.
    unsafe { remote.free(block, LEFT) }
}

/// On version 2 the heap stays with its thread.
#[test]
fn a_wall_is_stranded_until_the_blocks_left_in_it_are_freed() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 32);
        let left = [leave(&mutator), leave(&mutator)];
        drop((mutator, runtime));
        let stranded = if V2 { [1, 0, 0, 1] } else { [1, 0, 1, 0] };
        assert_eq!(walls(), stranded);
        let [first, second] = left;
        // SAFETY: in use.
        unsafe { first.0.cast::<[u8; 100]>().write([7; 100]) };
        free(second);
        assert_eq!(walls(), stranded);
        // The next mutator gets another one.
        let runtime = Runtime::new().unwrap();
        assert_eq!(wall(&attach(&runtime, 32)), 32);
        assert_eq!(walls()[..2], [2, 1]);
        // SAFETY: as above.
        assert_eq!(unsafe { first.0.cast::<[u8; 100]>().read() }, [7; 100]);
        free(first);
        if V2 {
            return;
        }
        let mutators = [attach(&runtime, 32), attach(&runtime, 32)];
        assert_eq!(walls(), [2, 0, 0, 0], "both are free again");
        let lost = mutators[0].allocate(LEFT).unwrap();
        drop(mutators);
        assert_eq!(walls(), [2, 1, 0, 1], "nobody can free {lost:?}");
    });
}

/// Objects that live on keep the heap for themselves.
#[test]
fn a_wall_is_in_use_while_an_object_lives() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 32);
        let object = mutator.alloc([7u64; 10]).unwrap();
        assert_eq!(mutator.detach().live.objects, 1);
        assert_eq!(walls(), [1, 0, 0, 0]);
        assert_eq!(*object, [7; 10]);
        drop(object);
        assert_eq!(walls(), [1, 1, 0, 0]);
        // One that is leaked with its thread keeps it for good.
        thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(attach(&runtime, 32)));
        });
        assert_eq!(walls(), [1, 0, 0, 0]);
    });
}

/// A system that has no more address space says so, and the next smaller wall is to be had.
#[cfg(all(target_os = "linux", not(small_tests)))]
#[test]
fn a_wall_that_the_system_refuses_is_an_error() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        drop(attach(&runtime, 32));
        let limit = libc::rlimit { rlim_cur: 8 << 30, rlim_max: 8 << 30 };
        // SAFETY: a limit of this process.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        let (kind, text) = error(&runtime, 64 << 30);
        assert_eq!(kind, ErrorKind::Refused);
        assert!(text.contains("68719476736 bytes") && text.contains("memory"), "{text}");
        assert_eq!(walls(), [1, 1, 0, 0]);
        assert_eq!([wall(&attach(&runtime, 64)), wall(&attach(&runtime, 32))], [64, 32]);
    });
}

/// One arena of version 3 has 16 GiB at most: a larger wall is several of them.
#[cfg(all(target_pointer_width = "64", not(small_tests)))]
#[test]
fn a_wall_may_be_larger_than_an_arena() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let mutator = attach(&runtime, 17 << 10);
        assert_eq!(wall(&mutator), 17 << 10);
        // Nothing of it is touched. Blocks of that size take up to 256 MiB.
        let layout = Layout::from_size_align(200 * MIB, 16).unwrap();
        let blocks = std::iter::from_fn(|| mutator.allocate(layout).ok()).count();
        assert!(blocks * 256 * MIB > 16 << 30, "{blocks}");
        let others: Vec<Mutator> =
            (0..MOST_ARENAS).map_while(|_| runtime.attaching().wall(Some(1)).unwrap().attach().ok()).collect();
        assert_eq!(others.len(), MOST_ARENAS - if V2 { 1 } else { 2 });
    });
}
