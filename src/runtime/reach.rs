//! What keeps each object alive: a shortest path to it from what is held outside, or else from a cycle.

use crate::error::Error;

use super::graph::{Graph, filled, push};

/// In place of a number: none.
pub(super) const NONE: u32 = u32::MAX;

/// What an object is kept alive by that nothing else before it on its path keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    /// So many references that lie in no object that could be looked into.
    Outside(u32),
    /// It is not counted.
    Uncounted,
    /// It is part of a cycle that nothing outside refers to.
    Cycle,
    /// What is dead and not freed yet refers to it, and nothing else.
    Dying,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) node: u32,
    pub(super) hold: Hold,
}

/// A path to each live object.
#[derive(Debug)]
pub(super) struct Reach {
    /// Those that paths begin with: first those held outside, then the others, each in the order of nodes.
    pub(super) entries: Vec<Entry>,
    /// Live objects in the order in which they were reached: by the length of their paths, first those held outside.
    pub(super) order: Vec<u32>,
    /// The object before on the path, and its slot; [`NONE`] for an entry.
    before: Vec<(u32, u32)>,
    /// Some object that refers to one that nothing outside leads to, and its slot.
    referrer: Vec<(u32, u32)>,
    is_reached: Vec<bool>,
}

impl Reach {
    pub(super) fn new(graph: &Graph) -> Result<Reach, Error> {
        let len = graph.nodes.len();
        let mut reach = Reach {
            entries: Vec::new(),
            order: Vec::new(),
            before: filled(len, (NONE, 0))?,
            referrer: filled(len, (NONE, 0))?,
            is_reached: filled(len, false)?,
        };
        // There is room for all, so that none of them fails on the way.
        reach.order.try_reserve_exact(len).map_err(|_| crate::fallible::out_of_memory())?;
        for (number, node) in graph.live() {
            let hold = match (node.count, node.outside()) {
                (None, _) => Hold::Uncounted,
                (_, 0) => continue,
                (_, outside) => Hold::Outside(outside),
            };
            reach.enter(number, hold)?;
        }
        reach.follow(graph, 0);
        for (number, node) in graph.live().filter(|(number, _)| !reach.is_reached[*number as usize]) {
            for edge in graph.edges(node) {
                let referrer = &mut reach.referrer[edge.to as usize];
                if referrer.0 == NONE && graph.nodes[edge.to as usize].is_live {
                    *referrer = (number, edge.slot);
                }
            }
        }
        // In how manyeth search an object was passed, so that it is known again.
        let mut passed = filled(len, 0u32)?;
        for (number, _) in graph.live() {
            if reach.is_reached[number as usize] {
                continue;
            }
            // Backwards to where it goes round, or does not go on.
            let search = number + 1;
            let mut at = number;
            let hold = loop {
                passed[at as usize] = search;
                let (referrer, _) = reach.referrer[at as usize];
                if referrer == NONE {
                    break Hold::Dying;
                }
                at = referrer;
                if passed[at as usize] == search {
                    break Hold::Cycle;
                }
            };
            // All that was passed is reached from there, so no search passes it again.
            let from = reach.order.len();
            reach.enter(at, hold)?;
            reach.follow(graph, from);
        }
        Ok(reach)
    }

    fn enter(&mut self, node: u32, hold: Hold) -> Result<(), Error> {
        push(&mut self.entries, Entry { node, hold })?;
        self.is_reached[node as usize] = true;
        self.order.push(node);
        Ok(())
    }

    /// Reaches what those lead to that were reached from `at` on.
    fn follow(&mut self, graph: &Graph, mut at: usize) {
        while let Some(&from) = self.order.get(at) {
            at += 1;
            for edge in graph.edges(&graph.nodes[from as usize]) {
                let is_reached = &mut self.is_reached[edge.to as usize];
                if !*is_reached && graph.nodes[edge.to as usize].is_live {
                    *is_reached = true;
                    self.before[edge.to as usize] = (from, edge.slot);
                    self.order.push(edge.to);
                }
            }
        }
    }

    /// The object before on the path to a node, and the slot in which it refers to that.
    pub(super) fn before(&self, node: u32) -> Option<(u32, u32)> {
        Some(self.before[node as usize]).filter(|(before, _)| *before != NONE)
    }

    /// Some object that refers to one that nothing outside leads to, and its slot. Of an entry by a cycle: the one before in the cycle.
    pub(super) fn referrer(&self, node: u32) -> (u32, u32) {
        self.referrer[node as usize]
    }
}
