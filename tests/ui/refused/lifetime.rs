//! An object may outlive any borrow.

use mimalloc_runtime::Trace;

#[derive(Trace)]
struct Token<'source> {
    text: &'source str,
}

#[derive(Trace)]
enum Either<'a, 'b, T> {
    Left(#[trace(skip)] &'a T),
    Right(#[trace(skip)] &'b T),
}

fn main() {}
