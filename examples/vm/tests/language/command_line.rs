//! The command line: options, exit codes, files that cannot be read.

use crate::process::lox;
use crate::source::Source;

/// A script that prints how many arguments it has.
const ARGS: &str = "tests/lox/input/no_args.lox";

#[track_caller]
fn usage(arguments: &[&str]) {
    let run = lox(arguments, "");
    assert_eq!((run.code, run.stdout.as_str()), (64, ""), "{arguments:?}");
    assert!(!run.stderr.is_empty(), "{arguments:?}: no word of what is wrong");
}

#[track_caller]
fn unreadable(path: &str) {
    let run = lox(&[path], "");
    assert_eq!((run.code, run.stdout.as_str()), (74, ""), "{path}");
    assert!(run.stderr.contains(path), "the message does not name the file: {}", run.stderr);
}

#[test]
fn unknown_options_are_refused() {
    usage(&["--no-such-option"]);
    usage(&["--no-such-option", ARGS]);
    usage(&["--stress", "--no-such-option", ARGS]);
    usage(&["-z", ARGS]);
}

#[test]
fn options_without_sense_are_refused() {
    usage(&["--metrics=xml", ARGS]);
    usage(&["--metrics=", ARGS]);
    usage(&["--pause-cap=", ARGS]);
    usage(&["--pause-cap=soon", ARGS]);
    usage(&["--pause-cap=-1", ARGS]);
    usage(&["--pause-cap=99999999999999999999999", ARGS]);
    usage(&["--stress=very", ARGS]);
    usage(&["--eager=no", ARGS]);
}

#[test]
fn options_combine() {
    let run = lox(&["--stress", "--metrics=json", ARGS], "");
    assert_eq!((run.code, run.stdout.as_str()), (0, "0\n"));
    assert!(run.stderr.trim_end().ends_with('}'), "{}", run.stderr);
}

#[test]
fn a_missing_file_is_an_input_error() {
    unreadable("tests/lox/no-such-file.lox");
}

#[test]
fn a_directory_is_no_script() {
    unreadable("tests/lox");
}

#[test]
fn options_end_at_the_script() {
    let run = lox(&["tests/lox/input/args_are_fresh.lox", "--no-such-option"], "");
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "[--no-such-option]\n", ""));
}

#[test]
fn errors_end_with_their_own_codes() {
    let compile = lox(&["tests/lox/operators/unary_plus.lox"], "");
    assert_eq!((compile.code, compile.stdout.as_str()), (65, ""));
    let run = lox(&["tests/lox/variables/undefined_read.lox"], "");
    assert_eq!((run.code, run.stdout.as_str()), (70, "1\n"));
}

#[test]
fn read_file_says_why_it_could_not() {
    let source = Source::new("read-missing", "readFile(\"no/such/file\");\n");
    // The reason is in the system's words, so a script cannot expect it exactly.
    let run = lox(&[source.path()], "");
    assert_eq!(run.code, 70);
    assert!(run.stderr.starts_with("readFile(): could not read 'no/such/file': "), "{}", run.stderr);
    assert!(run.stderr.ends_with(".\n[line 1] in script\n"), "{}", run.stderr);
}

#[test]
fn standard_input_may_be_anything() {
    let reader = Source::new("read-all", "var n = 0;\nwhile (readLine() != nil) n = n + 1;\nprint n;\n");
    let read = |stdin: &str| lox(&[reader.path()], stdin).stdout;
    assert_eq!(read(""), "0\n");
    assert_eq!(read("\n"), "1\n");
    assert_eq!(read("last line without a break"), "1\n");
    assert_eq!(read(&"line\n".repeat(20_000)), "20000\n");
}
