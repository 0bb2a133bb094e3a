//! Structures of millions of objects, in steps, on a small stack.

use super::*;
use crate::bounds::on_a_small_stack;

/// What a garbage object costs besides its two slots and its free, all passes of a trial together.
const SEARCH_UNITS: u64 = 22;

#[test]
fn a_ring_of_ten_million() {
    on_a_small_stack(|| {
        let mutator = attach();
        let length = 10_000_000 / SCALE;
        let (first, last) = chain(&mutator, length, false);
        last.next.set(Some(first.clone()));
        drop((first, last));
        let units = collect(&mutator, 1000);
        assert_eq!(live(&mutator), 0);
        assert!(units <= length as u64 * (3 + SEARCH_UNITS), "{units}");
    });
}

#[test]
fn a_doubly_linked_list_of_five_million() {
    on_a_small_stack(|| {
        let mutator = attach();
        let length = 5_000_000 / SCALE;
        drop(chain(&mutator, length, true));
        let units = collect(&mutator, 1000);
        assert_eq!(live(&mutator), 0);
        assert!(units <= length as u64 * (3 + SEARCH_UNITS), "{units}");
    });
}

#[test]
fn a_clique_of_three_thousand() {
    on_a_small_stack(|| {
        let mutator = attach();
        let size = if SCALE > 1 { 100 } else { 3_000 };
        let knots: Vec<_> = (0..size).map(|_| knot(&mutator)).collect();
        for from in &knots {
            from.slots.borrow_mut().extend(knots.iter().cloned().map(Some));
        }
        drop(knots);
        let units = collect(&mutator, 1000);
        assert_eq!(live(&mutator), 0);
        // The slots are followed in the marking, in the recount, and when they are given up.
        assert!(units <= 4 * size * size, "{units}");
    });
}

#[test]
fn a_live_graph_of_five_million_that_garbage_leads_to() {
    on_a_small_stack(|| {
        let mutator = attach();
        let length = 5_000_000 / SCALE;
        let (first, last) = chain(&mutator, length, true);
        let garbage = link(&mutator);
        garbage.previous.set(Some(garbage.clone()));
        garbage.next.set(Some(first.clone()));
        drop((garbage, last));
        let units = collect(&mutator, 1000);
        assert_eq!(live(&mutator), length as u64);
        // With what a trial does that allocation has begun.
        assert!(units <= length as u64 * (3 + SEARCH_UNITS), "{units}");
        drop(first);
        collect(&mutator, 1000);
        assert_eq!(live(&mutator), 0);
    });
}
