//! What the end of a full heap costs, for an object: taken apart one by one, proven to be out of reach and destroyed, destroyed
//! unchecked. Time, not instructions: most of it is waiting for memory.

use std::error::Error;
use std::time::{Duration, Instant};

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Mutator, Ref, Residues, Runtime, Trace};

/// All objects of a heap.
const BYTES: usize = 512 << 20;

const OBJECTS: usize = BYTES / 64;

/// Each is measured so often, and the shortest time counts.
const REPEATS: usize = 3;

/// 64 bytes with its header.
#[derive(Trace)]
struct Node {
    next: Cell<Option<Ref<Node>>>,
    _rest: [u64; 5],
}

/// How the objects refer to each other.
#[derive(Clone, Copy)]
enum Shape {
    /// Each to the one that was made before it; the last one is dead.
    List,
    /// The same, in an order that has nothing to do with where they lie.
    Scattered,
    /// The first also to the last: garbage that no count tells of.
    Ring,
}

/// How the heap ends.
#[derive(Clone, Copy)]
enum End {
    Detach,
    Destroy,
    Unchecked(Residues),
}

/// Fills a heap with garbage of a shape.
fn fill(mutator: &Mutator, shape: Shape) -> Result<(), Box<dyn Error>> {
    let node = || mutator.alloc(Node { next: Cell::new(None), _rest: [7; 5] }).map_err(|_| "no memory");
    let mut all = (0..OBJECTS).map(|_| node()).collect::<Result<Vec<_>, _>>()?;
    if let Shape::Scattered = shape {
        let mut random = 1u64;
        for at in (1..OBJECTS).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all.swap(at, (random >> 33) as usize % (at + 1));
        }
    }
    let first = all[0].clone();
    let last = all.into_iter().reduce(|before, node| {
        node.next.set(Some(before));
        node
    });
    if let Shape::Ring = shape {
        first.next.set(last);
    }
    Ok(())
}

fn time(shape: Shape, end: End) -> Result<Duration, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    fill(&mutator, shape)?;
    let start = Instant::now();
    match end {
        End::Detach => assert_eq!(mutator.detach().live.objects, 0),
        End::Destroy => drop(mutator.destroy(0)?),
        // SAFETY: nobody has a handle to an object of it, and there are no raw blocks.
        End::Unchecked(residues) => drop(unsafe { mutator.destroy_unchecked(residues) }?),
    }
    Ok(start.elapsed())
}

pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    println!(
        "The end of a heap of {} MiB in {OBJECTS} objects of 64 bytes, shortest of {REPEATS} times: ns an object, and ms; mimalloc {}.\n\n\
         {:<32}{:>20}{:>20}{:>20}{:>22}",
        BYTES >> 20,
        mimalloc_runtime::engine::version(),
        "",
        "detach",
        "destroy",
        "destroy_unchecked",
        "the same, residues"
    );
    let shapes = [(Shape::List, "a list"), (Shape::Scattered, "a list, scattered"), (Shape::Ring, "a ring")];
    for (shape, name) in shapes {
        print!("{name:<32}");
        for end in [End::Detach, End::Destroy, End::Unchecked(Residues::Leak), End::Unchecked(Residues::Drop)] {
            let mut shortest = Duration::MAX;
            for _ in 0..REPEATS {
                shortest = shortest.min(time(shape, end)?);
            }
            let (millis, nanos) = (shortest.as_secs_f64() * 1e3, shortest.as_secs_f64() * 1e9 / OBJECTS as f64);
            print!("{:>20}", format!("{nanos:.2} ns {millis:.0} ms"));
        }
        println!();
    }
    Ok(())
}
