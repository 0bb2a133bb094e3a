//! Boxes all the way down would be freed by recursion: the number of slots depends on itself.

use mimalloc_runtime::Trace;

#[derive(Trace)]
enum Expression {
    Number(f64),
    Negated(Box<Expression>),
}

fn main() {}
