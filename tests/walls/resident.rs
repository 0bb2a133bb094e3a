//! What a walled mutator takes of the machine's memory: its wall, and a little.

use mimalloc_runtime::{Mutator, Ref, Runtime, Trace};

use crate::process::{alone, resident};
use crate::{Block, MIB, all, attach};

/// What lies outside of the wall: the heap's own data (21 KiB, and 128 KiB for each GiB of the wall), the mutator's, the stack
/// and Rust's heap where the test keeps its lists; and the system may back up to 2 MiB where one page was touched.
const OUTSIDE: usize = 6 * MIB;

#[derive(Trace)]
struct Link(Option<Ref<Link>>, u64);

/// Fills the wall in several ways, one after the other.
fn fill(vm: &Mutator, wall: usize, seen: &mut usize) {
    let mut look = || *seen = (*seen).max(resident());
    // Small objects. The list of them is their own.
    let mut list = None;
    while let Ok(link) = vm.alloc(Link(list.take(), 7)).map_err(|error| list = error.value.0) {
        list = Some(link);
    }
    look();
    assert!(vm.metrics().live.now.bytes > wall as u64 * 8 / 10);
    drop(list);
    // Large blocks.
    let blocks = all(|| Block::of(vm, MIB));
    look();
    drop(blocks);
    // Mixed ones, half of which go and come again in another size.
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for round in 0..20 {
        let sizes = (0..).map(|at| 1_000 + (at * 7_919 + round * 104_729) % 300_000);
        blocks.extend(sizes.map_while(|size| Block::of(vm, size)));
        look();
        let mut at = 0;
        blocks.retain(|_| {
            at += 1;
            at % 2 == 0
        });
    }
    drop(blocks);
    // One that grows.
    let mut block = Block::of(vm, 1_000).unwrap();
    while block.resize(block.layout.size() * 3 / 2).is_ok() {
        look();
    }
}

#[test]
fn a_walled_mutator_takes_no_more_than_its_wall() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        // What the first mutator of a process brings about is not this one's.
        drop(runtime.attach().unwrap().alloc(7));
        let before = resident();
        for _ in 0..3 {
            let mutator = attach(&runtime, 96);
            let mut most = 0;
            fill(&mutator, 96 * MIB, &mut most);
            let taken = most - before;
            assert!(taken > 80 * MIB, "{taken} bytes: was it full?");
            assert!(taken <= 96 * MIB + OUTSIDE, "{taken} bytes more than before");
            // Running into the wall purges. Short of it, pages are kept until they are asked for; then the engine purges whole
            // huge pages of 2 MiB alone, and not those of which a part was purged before.
            drop((0..60).map(|_| Block::of(&mutator, MIB).unwrap()).collect::<Vec<_>>());
            drop(mutator);
            assert!(resident() - before > 48 * MIB);
            runtime.release_idle_heaps();
            let kept = resident().saturating_sub(before);
            assert!(kept <= 24 * MIB, "{kept} bytes more than before when all has been given back");
        }
    });
}
