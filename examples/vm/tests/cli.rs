//! The `lox` command's options and reports.

#[path = "cli/command.rs"]
mod command;
#[path = "cli/heap_limit.rs"]
mod heap_limit;
#[path = "cli/looks.rs"]
mod looks;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/texts.rs"]
mod texts;

use command::{Lox, scratch};

#[test]
fn help_and_version_go_to_standard_output() {
    for flag in ["--help", "-h"] {
        let run = Lox::with(&[flag]).run();
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert!(run.stdout.contains("Usage: lox [options] [script [arguments...]]\n"), "{}", run.stdout);
    }
    let run = Lox::with(&["--version"]).run();
    assert_eq!((run.code, run.stdout), (0, format!("lox {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_use_is_explained() {
    for (arguments, word) in [
        (&["--heap-size=3"][..], "--heap-size"),
        (&["--metrics=xml"], "xml"),
        (&["--pause-cap", "5"], "100us or 500units"),
        (&["--pause-cap", "0us"], "zero"),
        (&["--ratio", "0.9"], "between 1"),
        (&["--installment", "1 KB"], "KiB"),
        (&["--beat-bytes", "1B"], "16 bytes"),
        (&["--beat-bytes"], "--beat-bytes"),
        (&["--heap-limit", "64MB"], "B, KiB, MiB or GiB"),
        (&["--heap-limit=64MiB:hard"], "size:walled"),
        (&["--heap-limit=0:walled"], "at least 1"),
        (&["--stress", "--eager"], "exclude"),
        (&["--disassemble"], "script"),
        (&["--disassemble", "--leaks", "a.lox"], "could look at"),
        (&["--heap-snapshot=a", "--pauses=a"], "the same file"),
    ] {
        let run = Lox::with(arguments).run();
        assert_eq!((run.code, run.stdout.as_str()), (64, ""), "{arguments:?}");
        assert!(run.stderr.starts_with("lox: ") && run.stderr.contains(word), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.ends_with("\nTry `lox --help`.\n"), "{}", run.stderr);
    }
}

#[test]
fn code_is_shown_instead_of_run() {
    let script = scratch("shown", "fun greet() { print \"hello\"; }\ngreet();\n");
    let run = Lox::with(&["--disassemble"]).arg(&script).run();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.starts_with("== <script>: ") && run.stdout.contains("\n== greet: "), "{}", run.stdout);
    assert!(!run.stdout.lines().any(|line| line == "hello"));

    let broken = scratch("not-shown", "print;\n");
    let run = Lox::with(&["--disassemble"]).arg(&broken).run();
    assert_eq!((run.code, run.stdout.as_str()), (65, ""));
    assert_eq!(run.stderr, "[line 1] Error at ';': Expect expression.\n");
}

#[test]
fn a_script_must_be_text() {
    let script = scratch("latin-1", b"print \"caf\xe9\";\n");
    let run = Lox::with(&[]).arg(&script).run();
    assert_eq!((run.code, run.stdout.as_str()), (74, ""));
    assert!(run.stderr.contains("UTF-8"), "{}", run.stderr);
}

#[test]
fn all_pacing_gives_the_same_output() {
    let script = scratch(
        "pacing",
        "class Node { init(next) { this.next = next; } }\n\
         var n = 0;\n\
         for (var round = 0; round < 20; round = round + 1) {\n\
           var head = nil;\n\
           for (var i = 0; i < 500; i = i + 1) head = Node(head);\n\
           for (var node = head; node != nil; node = node.next) n = n + 1;\n\
         }\n\
         print n;\n",
    );
    for options in [
        &[][..],
        &["--pause-cap=none", "--ratio=1", "--installment=1MiB"],
        &["--pause-cap=1us", "--installment=16B"],
        &["--pause-cap=1unit", "--ratio=1000"],
        &["--pause-cap=3units", "--beat-bytes=16"],
        &["--stress"],
        &["--eager"],
    ] {
        let run = Lox::with(options).arg(&script).run();
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "10000\n", ""), "{options:?}");
    }
}
