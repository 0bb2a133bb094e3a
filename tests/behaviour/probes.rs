//! Small trials between others, in the midst of a program that does anything: nothing in use goes, and all garbage is found.

use std::collections::HashSet;

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Budget, Mutator, Ref, Runtime, Trace};

use crate::SCALE;

#[derive(Trace, Default)]
struct Link {
    next: Cell<Option<Ref<Link>>>,
    previous: Cell<Option<Ref<Link>>>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Each link refers to the next one, and each but the first to the one before.
fn chain(mutator: &Mutator, length: usize) -> Vec<Ref<Link>> {
    let links: Vec<Ref<Link>> = (0..length).map(|_| mutator.alloc(Link::default()).unwrap()).collect();
    for pair in links.windows(2) {
        pair[0].next.set(Some(pair[1].clone()));
        pair[1].previous.set(Some(pair[0].clone()));
    }
    links
}

fn reachable(roots: impl Iterator<Item = Ref<Link>>) -> u64 {
    let (mut seen, mut todo) = (HashSet::new(), roots.collect::<Vec<_>>());
    while let Some(at) = todo.pop() {
        if seen.insert(std::ptr::from_ref::<Link>(&at).addr()) {
            for cell in [&at.next, &at.previous] {
                let found = cell.take();
                todo.extend(found.clone());
                cell.set(found);
            }
        }
    }
    seen.len() as u64
}

/// One thing that a program may do. `kept` is in use, and suspected, so that trials are fruitless.
fn act(mutator: &Mutator, random: &mut Random, roots: &mut Vec<Ref<Link>>, kept: &[Ref<Link>]) {
    match random.below(23) {
        0..4 => roots.extend(chain(mutator, 1)),
        4..6 => {
            let circle = chain(mutator, 1 + random.below(5));
            circle[circle.len() - 1].next.set(Some(circle[0].clone()));
        }
        6..10 if !roots.is_empty() => drop(roots.swap_remove(random.below(roots.len()))),
        10..14 if !roots.is_empty() => {
            let (from, to) = (random.of(roots), random.of(roots).clone());
            let cell = if random.below(2) == 0 { &from.next } else { &from.previous };
            cell.set(Some(to));
        }
        14 if !roots.is_empty() => roots.extend(random.of(roots).next.take()),
        15 if !roots.is_empty() => random.of(roots).next.set(None),
        16..18 => (0..random.below(100)).for_each(|_| drop(random.of(kept).clone())),
        18..20 => mutator.charge([1_000, 30_000, 300_000, 1_300_000][random.below(4)]),
        20 => mutator.safepoint(),
        21 => _ = mutator.collect(Budget::Units(random.below(40) as u64)),
        22 => {
            mutator.charge(1 + random.below(100) as u64);
            mutator.poll(1).unwrap();
        }
        _ => {}
    }
    if roots.len() > 40 {
        roots.truncate(20);
    }
}

#[test]
fn a_program_that_does_anything_while_probes_are_under_way() {
    let mut probes = 0;
    for seed in 1..3 + 117 / SCALE as u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let (kept, mut roots) = (chain(&mutator, [20, 300, 3_000][random.below(3)]), Vec::new());
        for _ in 0..3_000 {
            act(&mutator, &mut random, &mut roots, &kept);
            if random.below(1_000) == 0 {
                mutator.collect(Budget::Unbounded);
                let in_use = reachable(roots.iter().chain(&kept).cloned());
                assert_eq!(mutator.metrics().live.now.objects, in_use, "{seed}");
                assert_eq!(mutator.verify().unwrap().problems, [], "{seed}");
            }
        }
        probes += mutator.metrics().trials.probes;
        // In the midst of whatever is under way.
        if seed % 3 == 0 {
            drop(mutator);
            drop((roots, kept));
        } else {
            drop((roots, kept));
            while seed % 3 == 1 && !mutator.collect(Budget::Units(3)).is_done() {}
            let _ = seed % 3 == 1 || mutator.collect(Budget::Unbounded).is_done();
            let metrics = mutator.metrics();
            assert_eq!((metrics.live.now.objects, metrics.pending.now.objects), (0, 0), "{seed}");
            drop(mutator);
        }
        let metrics = runtime.metrics();
        assert_eq!((metrics.lingering, metrics.live.objects, metrics.pending.objects), (0, 0, 0), "{seed}");
    }
    assert!(probes > 100 || SCALE > 1, "{probes}");
}
