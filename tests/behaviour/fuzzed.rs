//! The fuzz targets' interpreters (`fuzz/objects`, `fuzz/attached`) on programs from anywhere: from chance, and from the corpus.

use std::path::Path;

use proptest::prelude::*;

use crate::{attached, objects};

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(small_tests) { 20 } else { 500 }, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_agree_with_the_model(program in prop::collection::vec(any::<u8>(), 0..3_000)) {
        alone(objects::run, program);
    }

    #[test]
    fn nothing_is_lost_found_twice_or_resurrected(program in prop::collection::vec(any::<u8>(), 0..600)) {
        alone(attached::run, program);
    }
}

/// On a thread of its own: what a program that has panicked left to its thread would be taken for the next one's.
fn alone(run: fn(&[u8]), program: Vec<u8>) {
    std::thread::spawn(move || run(&program)).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn the_corpus_agrees_with_the_model() {
    run_corpus("objects", objects::run);
    run_corpus("attached", attached::run);
}

fn run_corpus(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut programs = 0;
    for entry in corpus.read_dir().unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
        programs += 1;
    }
    assert!(programs > 10, "{programs}");
}
