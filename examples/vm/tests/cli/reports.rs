//! What `--metrics` and `--pauses` tell.

use std::fs;
use std::path::PathBuf;

use mimalloc_runtime::SLACK_UNITS;
use serde_json::Value;

use crate::command::{Lox, Run, scratch, scratch_path};

/// Drops a list of nodes, and allocates afterwards.
fn dropping(name: &str) -> PathBuf {
    scratch(
        name,
        "class Node { init(next) { this.next = next; } }\n\
         fun chain(n) { var head = nil; while (n > 0) { head = Node(head); n = n - 1; } return head; }\n\
         var big = chain(30000);\n\
         var wide = List();\n\
         for (var i = 0; i < 30000; i = i + 1) wide.add(Node(nil));\n\
         big = nil;\n\
         wide = nil;\n\
         for (var i = 0; i < 1000; i = i + 1) chain(50);\n\
         print \"done\";\n",
    )
}

fn json(run: &Run) -> Value {
    let last = run.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", run.stderr))
}

#[track_caller]
fn number(json: &Value, path: &str) -> u64 {
    json.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {json}"))
}

#[test]
fn no_step_is_longer_than_its_budget() {
    let script = dropping("budget");
    for budget in [1, 20, 500] {
        let run = Lox::with(&["--metrics=json", &format!("--pause-cap={budget}units")]).arg(&script).run();
        assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"));
        let json = json(&run);
        assert_eq!(number(&json, "/steps/budget_units"), budget);
        assert_eq!(number(&json, "/steps/slack_units"), SLACK_UNITS);
        let longest = number(&json, "/steps/max_units");
        assert!((budget..=budget + SLACK_UNITS).contains(&longest), "{longest} units under a budget of {budget}");
        assert!(number(&json, "/steps/count") > 1000);
    }
}

#[test]
fn eager_steps_have_no_budget() {
    let json = json(&Lox::with(&["--metrics=json", "--eager"]).arg(dropping("eager")).run());
    assert!(json["steps"]["budget_units"].is_null());
    assert!(number(&json, "/steps/max_units") > 30_000);
    let of = |cause| number(&json, &format!("/steps/by_cause/{cause}"));
    assert_eq!(of("death") + of("search"), number(&json, "/steps/count"));
}

#[test]
fn the_final_collection_is_no_step_of_the_program() {
    let script = scratch(
        "kept",
        "class Node { init(next) { this.next = next; } }\n\
         var kept = nil;\n\
         for (var i = 0; i < 30000; i = i + 1) kept = Node(kept);\n",
    );
    let json = json(&Lox::with(&["--metrics=json"]).arg(&script).run());
    assert!(number(&json, "/steps/max_units") <= 10_000 + SLACK_UNITS);
    assert_eq!(number(&json, "/steps/by_cause/request"), 0);
    assert!(number(&json, "/live/peak_bytes") > 30_000 * 24);
    for nothing in ["/leaked_objects", "/live/objects", "/live/bytes", "/pending/objects", "/pending/bytes"] {
        assert_eq!(number(&json, nothing), 0, "{nothing}");
    }
    for same in ["objects", "bytes"] {
        assert_eq!(json["allocated"][same], json["freed"][same]);
    }
}

#[test]
fn cycles_are_freed_by_the_end() {
    let script = scratch("cycle", "class C {}\nvar c = C();\nc.self = c;\nc = nil;\n");
    let run = Lox::with(&["--metrics=json"]).arg(&script).run();
    assert_eq!(number(&json(&run), "/leaked_objects"), 0);
    let run = Lox::with(&["--metrics"]).arg(&script).run();
    assert!(!run.stderr.contains("leaked"), "{}", run.stderr);
}

#[test]
fn searches_and_finalizers_are_told() {
    let script = scratch(
        "searched",
        "class C {}\nfun gone() { print \"gone\"; }\n\
         for (var i = 0; i < 3; i = i + 1) { var c = C(); c.self = c; onFinalize(c, gone); }\n\
         var kept = C();\nonFinalize(kept, gone);\n\
         for (var i = 0; i < 20000; i = i + 1) C();\n",
    );
    let run = Lox::with(&["--metrics=json"]).arg(&script).run();
    assert_eq!((run.code, run.stdout.as_str()), (0, "gone\ngone\ngone\n"));
    let told = json(&run);
    assert!(number(&told, "/trials/begun") > 0 && number(&told, "/trials/members") >= number(&told, "/trials/garbage"));
    assert!(number(&told, "/trials/garbage") >= 3);
    // The fourth when the machine ended, where it calls nothing any more.
    let finalizers = ["registered", "due", "run"].map(|name| number(&told, &format!("/finalizers/{name}")));
    assert_eq!(finalizers, [0, 0, 4]);
    let run = Lox::with(&["--metrics"]).arg(&script).run();
    for start in ["garbage cycles: ", "finalizers: 4 run, 0 due, 0 of objects that live"] {
        assert!(run.stderr.lines().any(|line| line.starts_with(start)), "{start}: {}", run.stderr);
    }
    let plain = Lox::with(&["--metrics"]).arg(scratch("unfinalized", "print 1;\n")).run();
    assert!(!plain.stderr.contains("finalizers"), "{}", plain.stderr);
}

#[test]
fn metrics_follow_errors_and_keep_their_code() {
    for (name, text, code, message) in [
        ("metrics-compile", "print;\n", 65, "[line 1] Error at ';': Expect expression.\n"),
        ("metrics-run", "print nil + 1;\n", 70, "Operands must be two numbers or two strings.\n[line 1] in script\n"),
    ] {
        let run = Lox::with(&["--metrics=json"]).arg(scratch(name, text)).run();
        assert_eq!(run.code, code);
        assert!(run.stderr.starts_with(message), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), message.lines().count() + 1);
        json(&run);
    }
}

#[test]
fn text_has_a_table_and_a_line_on_pauses() {
    for flag in ["--metrics", "--metrics=text"] {
        let run = Lox::with(&[flag, "--pause-cap=50us"]).arg(dropping("text")).run();
        assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"));
        for start in ["allocated ", "freed ", "pending ", "live ", "heartbeats: ", "steps: ", "pauses: half up to "] {
            assert!(run.stderr.lines().any(|line| line.starts_with(start)), "{start}: {}", run.stderr);
        }
        assert!(run.stderr.contains("; limit 50.0 us\n"), "{}", run.stderr);
    }
}

#[test]
fn the_prompt_is_reported_on_at_its_end() {
    let run = Lox::with(&["--metrics=json"]).input("var a = List();\na.add(a);\na = nil;\n").run();
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(number(&json(&run), "/leaked_objects"), 0);
}

#[test]
fn pauses_are_drawn() {
    let path = scratch_path("pauses.svg");
    drop(fs::remove_file(&path));
    let run = Lox::with(&["--pauses"]).arg(&path).arg(dropping("drawn")).run();
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "done\n", ""));
    let svg = fs::read_to_string(&path).expect("the drawing is there");
    assert!(svg.starts_with("<svg ") && svg.contains("drawn.lox") && svg.contains("number of steps"));
}

#[test]
fn a_drawing_that_cannot_be_kept_is_an_output_error() {
    let path = scratch_path("no-such-directory/pauses.svg");
    let run = Lox::with(&["--metrics=json", "--pauses"]).arg(&path).arg(scratch("undrawn", "print 1;\n")).run();
    assert_eq!((run.code, run.stdout.as_str()), (74, "1\n"));
    assert!(run.stderr.starts_with("Could not write \"") && run.stderr.contains("pauses.svg"), "{}", run.stderr);
    json(&run);
}
