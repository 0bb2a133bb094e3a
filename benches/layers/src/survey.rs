//! How long a look at all objects of a heap takes: to verify them, to say what keeps them alive, and to write them down. Time, as most of
//! it is waiting for memory.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use mimalloc_runtime::{Mutator, Ref, Runtime, Trace};

/// Objects of a scene, with two slots each.
const OBJECTS: usize = 1_000_000;

/// The shortest of so many times.
const REPEATS: usize = 3;

#[derive(Trace)]
struct Node {
    left: Option<Ref<Node>>,
    right: Option<Ref<Node>>,
}

/// Nodes, each of which refers to the one before and to another one: that before it too, or any.
fn fill(mutator: &Mutator, scattered: bool) -> Ref<Node> {
    let mut nodes: Vec<Ref<Node>> = Vec::new();
    let mut random = 1usize;
    for number in 0..OBJECTS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = if scattered { (random >> 33) % number.max(1) } else { number.saturating_sub(1) };
        let (left, right) = (nodes.last().cloned(), nodes.get(other).cloned());
        nodes.push(mutator.alloc(Node { left, right }).expect("memory"));
    }
    nodes.pop().expect("a node")
}

/// Counts what is written.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shortest(mut look: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut shortest = Duration::MAX;
    for _ in 0..REPEATS {
        let start = Instant::now();
        look()?;
        shortest = shortest.min(start.elapsed());
    }
    Ok(shortest.as_secs_f64() * 1e9 / OBJECTS as f64)
}

pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    println!(
        "A survey of {OBJECTS} objects and twice as many references, shortest of {REPEATS} times, ns an object; mimalloc {}.\n\n\
         references   verify  words    leaks  heap snapshot  its bytes an object",
        mimalloc_runtime::engine::version()
    );
    for (scattered, name) in [(false, "near"), (true, "anywhere")] {
        let mutator = Runtime::new()?.attach()?;
        let root = fill(&mutator, scattered);
        let survey = || mutator.survey().root(&root).complete();
        let in_order = |survey: mimalloc_runtime::Survey<'_>| {
            if survey.verify()?.problems.is_empty() { Ok(()) } else { Err("the heap is not in order".into()) }
        };
        let verify = shortest(|| in_order(survey()))?;
        let words = shortest(|| in_order(survey().words()))?;
        let leaks = shortest(|| Ok(survey().leaks().map(drop)?))?;
        let mut written = Sink(0);
        let snapshot = shortest(|| {
            written = Sink(0);
            Ok(survey().write_heap_snapshot(&mut written, &mut ())?)
        })?;
        let bytes = written.0 / OBJECTS as u64;
        println!("{name:<10} {verify:>8.0} {words:>6.0} {leaks:>8.0} {snapshot:>14.0} {bytes:>20}");
    }
    Ok(())
}
