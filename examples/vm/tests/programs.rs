//! The example programs, at sizes that take little time: each prints what its file under `tests/programs` holds, and
//! leaves no object behind unless it is about leaving some.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A program with its arguments.
#[derive(Clone, Copy, Debug)]
struct Example {
    /// The file with the expected output, without its extension.
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// A file under `programs` for standard input.
    stdin: Option<&'static str>,
}

impl Example {
    const fn new(name: &'static str, program: &'static str, arguments: &'static [&'static str]) -> Self {
        Example { name, program, arguments, stdin: None }
    }

    const fn reading(self, stdin: &'static str) -> Self {
        Example { stdin: Some(stdin), ..self }
    }
}

const EXAMPLES: &[Example] = &[
    Example::new("brainfuck", "brainfuck.lox", &[]),
    Example::new("brainfuck_reverse", "brainfuck.lox", &["data/reverse.bf"]).reading("data/sums.txt"),
    Example::new("brainfuck_triangle", "brainfuck.lox", &["data/triangle.bf"]),
    Example::new("calc", "calc.lox", &[]).reading("data/sums.txt"),
    Example::new("closures", "closures.lox", &[]),
    Example::new("cycles", "cycles.lox", &["10"]),
    Example::new("drop_millions", "drop_millions.lox", &["10000"]),
    Example::new("json", "json.lox", &["data/orchard.json"]),
    Example::new("json", "json.lox", &[]).reading("data/orchard.json"),
    Example::new("life", "life.lox", &["30", "data/glider_gun.txt"]),
    Example::new("life_small", "life.lox", &["50"]),
    Example::new("lru_cache", "lru_cache.lox", &["10", "3000"]),
    Example::new("mandelbrot", "mandelbrot.lox", &["40"]),
    Example::new("nbody", "nbody.lox", &["1000"]),
    Example::new("plugins", "plugins.lox", &["3"]),
    Example::new("queue_churn", "queue_churn.lox", &["200", "3000"]),
    Example::new("sieve", "sieve.lox", &["5000"]),
    Example::new("sort", "sort.lox", &["1000"]),
    Example::new("string_builder", "string_builder.lox", &["100"]),
    Example::new("weak_cache", "weak_cache.lox", &["3", "10", "1000"]),
    Example::new("word_count", "word_count.lox", &["data/tale.txt"]),
    Example::new("word_count", "word_count.lox", &[]).reading("data/tale.txt"),
    Example::new("word_count_three", "word_count.lox", &["data/tale.txt", "3"]),
];

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

fn run(example: &Example, options: &[&str]) -> Output {
    let stdin = match example.stdin {
        Some(path) => Stdio::from(File::open(programs().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))),
        None => Stdio::null(),
    };
    Command::new(env!("CARGO_BIN_EXE_lox"))
        .args(options)
        .arg(example.program)
        .args(example.arguments)
        .current_dir(programs())
        .stdin(stdin)
        .output()
        .expect("the command starts")
}

/// What is wrong with a run of one program.
fn problems(example: &Example) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(example.name).with_extension("out");
    let expected = match fs::read_to_string(&path) {
        Ok(expected) => expected,
        Err(error) => return vec![format!("{}: {error}", path.display())],
    };
    let output = run(example, &["--metrics=json"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);

    let mut problems = Vec::new();
    if output.status.code() != Some(0) {
        problems.push(format!("{}\n{stderr}", output.status));
    }
    if stdout != expected {
        problems.push(format!("expected\n{expected}\nbut it printed\n{stdout}"));
    }
    match serde_json::from_str::<Value>(stderr.trim_end()).map(|metrics| metrics["leaked_objects"].as_u64()) {
        Ok(Some(0)) => {}
        Ok(leaked) => problems.push(format!("leaked_objects is {leaked:?}")),
        Err(error) => problems.push(format!("the metrics are not JSON ({error}): {stderr}")),
    }
    problems
}

#[test]
fn programs_do_what_they_say() {
    let failures: Vec<String> = EXAMPLES
        .iter()
        .filter_map(|example| {
            let problems = problems(example);
            (!problems.is_empty())
                .then(|| format!("--- {} {}\n{}", example.program, example.arguments.join(" "), problems.join("\n")))
        })
        .collect();
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

/// A program that is not run, or not in the table, would rot.
#[test]
fn every_program_is_run_and_listed() {
    let readme = fs::read_to_string(programs().join("README.md")).expect("the programs have a README");
    let run: BTreeSet<&str> = EXAMPLES.iter().map(|example| example.program).collect();
    let mut found = 0;
    for entry in fs::read_dir(programs()).expect("the programs are there") {
        let name = entry.expect("the directory can be read").file_name().to_string_lossy().into_owned();
        if name.ends_with(".lox") {
            assert!(run.contains(name.as_str()), "{name} is not run");
            assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in the README");
            found += 1;
        }
    }
    assert_eq!(found, run.len(), "a program that is run is missing");
}

#[test]
fn mistakes_in_input_end_with_a_message() {
    let output = run(&Example::new("", "json.lox", &["data/tale.txt"]), &[]);
    assert_eq!(output.status.code(), Some(70));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("JSON, at byte 0: expected a value\n[line "), "{stderr}");
}
