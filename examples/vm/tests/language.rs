//! The language, from outside: every script under `tests/lox` run by the `lox` command, and what scripts in files
//! cannot show: limits that take generated source, the command line, and the prompt.
//!
//! A script says in comments what it must do:
//!
//! ```text
//! // expect: text                          the next line of standard output
//! // expect runtime error: message         raised on this line; ends the run with code 70
//! // trace: [line N] in f()                the whole trace, line by line; without any, only its first line is checked
//! // expect compile error: [line N] Error at 'x': message      the next line of standard error; code 65
//! // stdin: line                           the next line of standard input
//! // args: a b c                           arguments behind the script's name
//! ```
//!
//! Each script runs plainly, under stress, with eager frees and with metrics. Memory is managed differently each time
//! and nobody must be able to tell: output, messages and exit code are the same.

#[path = "language/command_line.rs"]
mod command_line;
#[path = "language/diff.rs"]
mod diff;
#[path = "language/interrupt.rs"]
mod interrupt;
#[path = "language/limits.rs"]
mod limits;
#[path = "language/metrics.rs"]
mod metrics;
#[path = "language/nesting.rs"]
mod nesting;
#[path = "language/process.rs"]
mod process;
#[path = "language/repl.rs"]
mod repl;
#[path = "language/script.rs"]
mod script;
#[path = "language/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use metrics::Metrics;
use process::{Mode, Run, lox};
use script::Script;

/// One test for each directory of scripts, so that a failure says where to look and the directories run side by side.
macro_rules! topics {
    ($($topic:ident),+ $(,)?) => {
        const TOPICS: &[&str] = &[$(stringify!($topic)),+];

        $(
            #[test]
            fn $topic() {
                run_topic(stringify!($topic));
            }
        )+
    };
}

topics! {
    classes,
    closures,
    control,
    finalizers,
    functions,
    inheritance,
    input,
    limited,
    lists,
    literals,
    maps,
    memory,
    natives,
    operators,
    printing,
    strings,
    variables,
    weak,
}

/// A directory that nobody runs would look like coverage.
#[test]
fn every_directory_is_a_topic() {
    let mut found: Vec<String> =
        entries(&scripts()).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    found.sort();
    assert_eq!(found, TOPICS);
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lox")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Runs the scripts of one directory, and reports all that fail.
fn run_topic(topic: &str) {
    let paths: Vec<PathBuf> = entries(&scripts().join(topic))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "lox"))
        .collect();
    assert!(!paths.is_empty(), "no scripts in {topic}");

    let failures: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            let problems = run_script(path);
            let name = path.strip_prefix(scripts()).unwrap().display().to_string();
            (!problems.is_empty()).then(|| format!("--- {name}\n{}", problems.join("\n")))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} scripts failed\n\n{}\n", failures.len(), paths.len(), failures.join("\n\n"),);
}

/// What is wrong with one script, in any mode.
fn run_script(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let script = match Script::parse(&text) {
        Ok(script) => script,
        Err(error) => return vec![error],
    };
    let run = |mode: Mode| {
        let mut arguments: Vec<&str> = mode.options().to_vec();
        arguments.push(path.to_str().expect("the path of a test script is UTF-8"));
        arguments.extend(script.arguments.iter().map(String::as_str));
        lox(&arguments, &script.stdin)
    };

    let plain = run(Mode::Plain);
    let mut problems = script.check(&plain);
    for mode in [Mode::Stress, Mode::Eager] {
        problems.extend(same(mode, &plain, &run(mode)));
    }
    match Metrics::split(run(Mode::Metrics)) {
        Ok((rest, metrics)) => {
            problems.extend(same(Mode::Metrics, &plain, &rest));
            problems.extend(metrics.check());
        }
        Err(error) => problems.push(error),
    }
    problems
}

/// What a mode did differently from the plain run.
fn same(mode: Mode, plain: &Run, other: &Run) -> Vec<String> {
    let mut problems = Vec::new();
    if plain.code != other.code {
        problems.push(format!("{mode:?}: exit {} instead of {}", other.code, plain.code));
    }
    for (stream, plain, other) in [("stdout", &plain.stdout, &other.stdout), ("stderr", &plain.stderr, &other.stderr)] {
        if plain != other {
            problems.push(format!("{mode:?}: {stream} differs from the plain run\n{}", diff::lines(plain, other)));
        }
    }
    problems
}
