//! The crate's behaviour, through its public API. Nothing here looks at a clock to decide: work is counted in units.

mod beats;
mod bounds;
mod counts;
mod graph;
mod handlers;
mod handles;
mod lost;
mod space;
mod tails;
mod threads;
