//! Standard input and output, as scripts and the prompt share them.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::command::{Lox, scratch};

#[test]
fn the_prompt_and_the_program_read_the_same_lines() {
    let run = Lox::with(&[]).input("var a = readLine();\nfirst answer\nprint a + \"!\";\nprint readLine();").run();
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "first answer!\nnil\n", ""));
}

#[test]
fn line_ends_of_either_kind_are_taken_off() {
    let script = scratch("line-ends", "for (var s = readLine(); s != nil; s = readLine()) print \"[\" + s + \"]\";\n");
    let run = Lox::with(&[]).arg(&script).input("unix\nwindows\r\n\r\n bare ").run();
    assert_eq!((run.code, run.stdout.as_str()), (0, "[unix]\n[windows]\n[]\n[ bare ]\n"));
}

#[test]
fn input_that_is_no_text_is_an_error() {
    let script = scratch("binary", "print readLine();\nreadLine();\n");
    let run = Lox::with(&[]).arg(&script).input(b"text\n\xff\xfe\n").run();
    assert_eq!((run.code, run.stdout.as_str()), (70, "text\n"));
    assert!(run.stderr.starts_with("readLine(): could not read a line: "), "{}", run.stderr);

    let run = Lox::with(&[]).input(b"print 1;\n\xff\xfe\n").run();
    assert_eq!((run.code, run.stdout.as_str()), (74, "1\n"));
    assert!(run.stderr.starts_with("Could not read standard input: "), "{}", run.stderr);
}

/// What is left of a line that could not be read is no program, nor the next line that is read. The longer line is more than is taken at a time.
#[test]
fn the_rest_of_a_line_that_could_not_be_read_is_passed_over() {
    let cases = [
        (50, "--fuel=2", "Out of fuel."),
        (3_000, "--fuel=2", "Out of fuel."),
        (3_000, "--heap-limit=32KiB", "Out of memory."),
    ];
    for (rounds, limit, why) in cases {
        let line = "print \"a part\"; ".repeat(rounds);
        let input = format!("readLine();\n{line}\nprint readLine();\nnext\nprint \"last\";\n");
        let run = Lox::with(&[limit]).input(input).run();
        assert_eq!((run.code, run.stdout.as_str()), (0, "next\nlast\n"), "{limit}: {}", run.stderr);
        assert_eq!(run.stderr, format!("{why}\n[line 1] in script\n"));
    }
}

/// A program at the other end of two pipes that waits for each answer would wait for ever if one stayed in a buffer.
#[test]
fn what_was_written_is_seen_before_input_is_awaited() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lox"))
        .arg(scratch("question", "write(\"name?\n\");\nprint \"hello \" + readLine();\nprint readLine();\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a question");
    stdin.write_all(b"Ada\n").expect("it reads");
    stdout.read_line(&mut line).expect("a greeting");
    assert_eq!(line, "name?\nhello Ada\n");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_prompt_answers_each_line() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lox"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    for number in ["1", "2"] {
        writeln!(stdin, "print {number};").expect("it reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("an answer");
        assert_eq!(line.trim_end(), number);
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("Linux has such a device");
    let much = scratch("much", "for (var i = 0; i < 100000; i = i + 1) print i;\n");
    let little = scratch("little", "print 1;\n");
    let failing = scratch("failing", "print 1;\nnil.x;\n");
    for run in [
        Lox::with(&[]).arg(&much).stdout(full()).run(),
        Lox::with(&[]).arg(&little).stdout(full()).run(),
        Lox::with(&[]).input("print 1;\nprint 2;\n").stdout(full()).run(),
        Lox::with(&["--help"]).stdout(full()).run(),
        Lox::with(&["--disassemble"]).arg(&little).stdout(full()).run(),
    ] {
        assert_eq!(run.code, 74);
        assert!(run.stderr.starts_with("Could not write output: "), "{}", run.stderr);
    }
    let run = Lox::with(&[]).arg(&failing).stdout(full()).run();
    assert_eq!(run.code, 74);
    let failed = "Only instances have properties.\n[line 2] in script\nCould not write output: ";
    assert!(run.stderr.starts_with(failed), "{}", run.stderr);
}
