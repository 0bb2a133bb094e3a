//! Limits of the bytecode and of the stacks, on scripts too long to be written by hand.

use std::fmt::Display;

use crate::process::{Run, lox};
use crate::source::Source;

/// Runs a generated script; `name` must be unique among the tests.
pub(crate) fn run(name: &str, text: &str) -> Run {
    let source = Source::new(name, text);
    lox(&[source.path()], "")
}

/// The script runs and prints `stdout`.
#[track_caller]
pub(crate) fn prints(name: &str, text: &str, stdout: &str) {
    let run = run(name, text);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, stdout, ""), "{name}");
}

/// The script does not compile, for this one reason.
#[track_caller]
fn refused(name: &str, text: &str, error: &str) {
    let run = run(name, text);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (65, "", format!("{error}\n").as_str()), "{name}");
}

/// `count` pieces made from their numbers.
fn each<T: Display>(count: usize, piece: impl Fn(usize) -> T) -> String {
    (0..count).map(|number| piece(number).to_string()).collect()
}

/// `count` pieces separated by commas.
fn list(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect::<Vec<_>>().join(", ")
}

#[test]
fn constants() {
    let function = |count| format!("fun f() {{\n{}}}\nprint \"ran\";\n", each(count, |n| format!("{n};\n")));
    prints("constants-256", &function(256), "ran\n");
    refused("constants-257", &function(257), "[line 258] Error at '256': Too many constants in one chunk.");
}

#[test]
fn locals() {
    // One slot of the 256 is the function's own.
    let function = |count| {
        format!(
            "fun f() {{\n{}return v{};\n}}\nprint f();\n",
            each(count, |n| format!("var v{n} = true;\n")),
            count - 1
        )
    };
    prints("locals-255", &function(255), "true\n");
    refused("locals-256", &function(256), "[line 257] Error at 'v255': Too many local variables in function.");
}

#[test]
fn parameters() {
    let function = |count| format!("fun f({}) {{ return p0; }}\nprint \"ran\";\n", list(count, |n| format!("p{n}")));
    prints("parameters-255", &function(255), "ran\n");
    refused("parameters-256", &function(256), "[line 1] Error at 'p255': Can't have more than 255 parameters.");
}

#[test]
fn arguments() {
    let call = |count| {
        format!(
            "fun f({}) {{ return p254; }}\nprint f({});\n",
            list(255, |n| format!("p{n}")),
            list(count, |n| if n == 254 { "true".to_owned() } else { "nil".to_owned() })
        )
    };
    prints("arguments-255", &call(255), "true\n");
    refused("arguments-256", &call(256), "[line 2] Error at 'nil': Can't have more than 255 arguments.");
}

#[test]
fn captured_variables() {
    // No single function has so many locals, so the innermost captures those of two.
    let nested = |count: usize| {
        let half = count / 2;
        let uses = each(count, |n| format!("v{n};\n"));
        format!(
            "fun outer() {{\n{}fun middle() {{\n{}fun inner() {{\n{uses}return v{};\n}}\nreturn inner;\n}}\nreturn middle;\n}}\nprint outer()()();\n",
            each(half, |n| format!("var v{n};\n")),
            each(count - half, |n| format!("var v{} = true;\n", half + n)),
            half,
        )
    };
    prints("captured-256", &nested(256), "true\n");
    // Three heads and 257 declarations come before the uses.
    refused("captured-257", &nested(257), "[line 517] Error at 'v256': Too many closure variables in function.");
}

#[test]
fn jump_distance() {
    let branch = |count| format!("if (true) {{\n{}}}\nprint \"ran\";\n", "nil;\n".repeat(count));
    prints("jump-near", &branch(30_000), "ran\n");
    refused("jump-far", &branch(40_000), "[line 40002] Error at '}': Too much code to jump over.");
}

#[test]
fn loop_distance() {
    let body = |count| format!("while (false) {{\n{}}}\nprint \"ran\";\n", "nil;\n".repeat(count));
    prints("loop-near", &body(30_000), "ran\n");
    refused("loop-far", &body(40_000), "[line 40002] Error at '}': Loop body too large.");
}

#[test]
fn value_stack() {
    // Few frames, each with as many slots and temporaries as the compiler allows.
    let text = format!(
        "fun f(n) {{\n{}return {}f(n){};\n}}\nf(1);\n",
        each(250, |n| format!("var v{n};\n")),
        "n + (".repeat(100),
        ")".repeat(100),
    );
    let run = run("value-stack", &text);
    assert_eq!(run.code, 70);
    assert!(run.stderr.starts_with("Stack overflow.\n[line "), "{}", run.stderr);
}

#[test]
fn stack_overflow_trace_has_every_frame() {
    let run = run("overflow-trace", "fun f() {\n  f();\n}\nf();\n");
    let trace = format!("Stack overflow.\n{}[line 4] in script\n", "[line 2] in f()\n".repeat(63));
    assert_eq!((run.code, run.stderr), (70, trace));
}

#[test]
fn many_lines() {
    let text = format!("{}print -nil;\n", "\n".repeat(200_000));
    let run = run("many-lines", &text);
    assert_eq!((run.code, run.stderr.as_str()), (70, "Operand must be a number.\n[line 200001] in script\n"));
}

#[test]
fn one_long_line() {
    prints("long-line", &format!("{}print 1;", " ".repeat(300_000)), "1\n");
}

#[test]
fn long_string() {
    let word = "long ".repeat(200_000);
    prints("long-string", &format!("var s = \"{word}\";\nprint len(s + s);\nprint s;\n"), &format!("2e+06\n{word}\n"));
}

#[test]
fn long_name() {
    let name = "n".repeat(100_000);
    prints("long-name", &format!("var {name} = 1;\nprint {name} + 1;\n"), "2\n");
    let run = run("long-undefined-name", &format!("print {name};\n"));
    assert_eq!((run.code, run.stderr), (70, format!("Undefined variable '{name}'.\n[line 1] in script\n")));
}

#[test]
fn many_fields_and_methods() {
    // Names are spread over functions: each takes a constant, and a chunk has 256.
    let setters = each(20, |f| {
        format!("fun set{f}(o) {{\n{}}}\nset{f}(o);\n", each(100, |n| format!("o.f{} = {f};\n", f * 100 + n)))
    });
    let methods = each(60, |n| format!("m{n}() {{ return {n}; }}\n"));
    prints(
        "many-fields",
        &format!("class C {{\n{methods}}}\nvar o = C();\n{setters}print o.f0 + o.f1999 + o.m59();\n"),
        "78\n",
    );
}
