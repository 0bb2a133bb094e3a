//! What must not compile, and what the compiler says to it.
//!
//! The expected messages are those of one toolchain: after an update look at the new ones, and write them with
//! `TRYBUILD=overwrite cargo test --test ui`.
#![cfg(feature = "derive")]

#[test]
fn errors_explain_themselves() {
    let cases = trybuild::TestCases::new();
    // One that compiles makes trybuild build instead of check, without which errors in constants stay unseen.
    cases.pass("tests/ui/accepted.rs");
    cases.compile_fail("tests/ui/refused/*.rs");
}
