//! The fuzz target's interpreter (`fuzz/objects`) on programs from anywhere: from chance, and from the corpus.

use std::path::Path;

use proptest::prelude::*;

use crate::objects;

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(small_tests) { 20 } else { 500 }, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_agree_with_the_model(program in prop::collection::vec(any::<u8>(), 0..3_000)) {
        objects::run(&program);
    }
}

#[test]
fn the_corpus_agrees_with_the_model() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/objects");
    let mut programs = 0;
    for entry in corpus.read_dir().unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        objects::run(&std::fs::read(path).unwrap());
        programs += 1;
    }
    assert!(programs > 10, "{programs}");
}
