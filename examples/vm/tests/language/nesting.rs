//! Source that nests: as deep as a person would write runs, deeper is refused, and never kills the compiler.

use crate::limits::{prints, run};

/// What the compiler must take.
const FAIR: usize = 60;
/// What it must refuse.
const DEEP: usize = 300;
/// What would overrun a thread's stack, if each level took a hundred bytes of it.
const ABSURD: usize = 200_000;

/// A script that nests `open` and `close` around `inside`, runs at a fair depth and is refused deeper down.
#[track_caller]
fn nests(name: &str, before: &str, open: &str, inside: &str, close: &str, after: &str, stdout: &str) {
    let text = |depth| format!("{before}{}{inside}{}{after}", open.repeat(depth), close.repeat(depth));
    prints(&format!("{name}-fair"), &text(FAIR), stdout);
    for (depth, kind) in [(DEEP, "deep"), (ABSURD, "absurd")] {
        let run = run(&format!("{name}-{kind}"), &text(depth));
        assert_eq!((run.code, run.stdout.as_str()), (65, ""), "{name} {kind}");
        let first = run.stderr.lines().next().unwrap_or_default();
        assert!(first.ends_with(": Too much nesting."), "{name} {kind}: {first}");
    }
}

#[test]
fn groups() {
    nests("groups", "print ", "(", "1", ")", ";", "1\n");
}

#[test]
fn negations() {
    nests("negations", "print ", "- ", "1", "", ";", "1\n");
}

#[test]
fn assignments() {
    nests("assignments", "{ var a; print ", "a = ", "1", "", "; }", "1\n");
}

#[test]
fn arguments() {
    nests("arguments", "fun id(x) { return x; } { var f = id; print ", "f(", "1", ")", "; }", "1\n");
}

#[test]
fn operands() {
    nests("operands", "{ var t = true; print ", "t == (", "t", ")", "; }", "true\n");
}

#[test]
fn blocks() {
    nests("blocks", "", "{", "print 1;", "}", "", "1\n");
}

#[test]
fn conditions() {
    nests("conditions", "", "if (true) ", "print 1;", "", "", "1\n");
}

#[test]
fn loops() {
    nests("loops", "{ var go = true; ", "while (go) ", "{ print 1; go = false; }", "", "}", "1\n");
}

#[test]
fn functions() {
    nests("functions", "", "fun f() {", "print 1;", "}", "print 2;", "2\n");
}

#[test]
fn classes() {
    nests("classes", "", "class A { m() {", "print 1;", "} }", "print 2;", "2\n");
}

#[test]
fn chains_do_not_nest() {
    // Left to right, each step builds on the one before: no depth, however long.
    let sum = format!("fun f(n) {{ return n{}; }} print f(1);", " + n".repeat(5_000));
    prints("long-sum", &sum, "5001\n");
    let calls = format!("fun f() {{ return f; }} {{ var g = f; print g{} == f; }}", "()".repeat(5_000));
    prints("long-calls", &calls, "true\n");
    let either = format!("fun f(n) {{ return n{}; }} print f(nil);", " or n".repeat(200));
    prints("long-or", &either, "nil\n");
    let blocks = format!("{}print 1;", "{ }".repeat(5_000));
    prints("many-blocks", &blocks, "1\n");
}
