//! `--heap-limit`.

use crate::command::{Lox, scratch};

#[test]
fn a_script_that_needs_more_ends_with_a_runtime_error() {
    let script =
        scratch("too-much", "fun grow(list) {\n  while (true) list.add(\"x\" + str(list.len()));\n}\ngrow(List());\n");
    for limit in ["--heap-limit=1MiB", "--heap-limit=100000", "--heap-limit=40MiB:walled"] {
        let run = Lox::with(&[limit]).arg(&script).run();
        assert_eq!((run.code, run.stdout.as_str()), (70, ""), "{limit}");
        assert_eq!(run.stderr, "Out of memory.\n[line 2] in grow()\n[line 4] in script\n", "{limit}");
    }
}

#[test]
fn the_prompt_goes_on_with_the_memory_back() {
    let lines = "var list = List();\n\
                 fun grow() { while (true) list.add(str(list.len())); }\n\
                 grow();\n\
                 print list.len() > 1000;\n\
                 list = nil;\n\
                 list = List();\n\
                 for (var i = 0; i < 1000; i = i + 1) list.add(str(i));\n\
                 print list.len();\n";
    for limit in ["--heap-limit=300KiB", "--heap-limit=300KiB:walled"] {
        let run = Lox::with(&[limit]).input(lines.repeat(3)).run();
        assert_eq!((run.code, run.stdout.as_str()), (0, "true\n1000\n".repeat(3).as_str()), "{limit}: {}", run.stderr);
        assert_eq!(run.stderr, "Out of memory.\n[line 1] in grow()\n[line 1] in script\n".repeat(3));
    }
}

#[test]
fn the_limit_is_reported() {
    let script = scratch("reported", "var l = List(); while (true) l.add(List());\n");
    let run = Lox::with(&["--heap-limit=200KiB", "--metrics"]).arg(&script).run();
    let lines: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("heap limit: 200")).collect();
    assert!(run.code == 70 && lines.len() == 1 && lines[0].contains("; allocations refused: 1;"), "{}", run.stderr);

    let run = Lox::with(&["--heap-limit=200KiB", "--metrics=json"]).arg(&script).run();
    let json: serde_json::Value = serde_json::from_str(run.stderr.lines().last().expect("a line")).expect("JSON");
    let limit = &json["heap_limit"];
    assert_eq!((&limit["bytes"], &limit["refused"]), (&204_800.into(), &1.into()));
    let peak = json["peak_in_use_bytes"].as_u64().expect("a number");
    assert!((150_000..=204_800).contains(&peak), "{peak}");
}

#[test]
fn a_script_that_cannot_be_loaded_has_a_trace_too() {
    let text = format!("print \"{}\";\n", "long ".repeat(100_000));
    let run = Lox::with(&["--heap-limit=100KiB"]).arg(scratch("long-constant", text)).run();
    assert_eq!((run.code, run.stderr.as_str()), (70, "Out of memory.\n[line 1] in script\n"));
}

#[test]
fn what_comes_from_outside_counts() {
    let line = Lox::with(&["--heap-limit=100KiB"]).arg(scratch("long-line", "print len(readLine());\n"));
    let run = line.input("x".repeat(60_000)).run();
    assert_eq!((run.code, run.stderr.as_str()), (70, "Out of memory.\n[line 1] in script\n"));
    let file = scratch("long-file", "x".repeat(1_000_000));
    let run =
        Lox::with(&["--heap-limit=1MiB"]).arg(scratch("read", "print len(readFile(args().get(0)));\n")).arg(file).run();
    assert_eq!((run.code, run.stderr.as_str()), (70, "Out of memory.\n[line 1] in script\n"));
}

#[test]
fn a_limit_below_what_the_machine_needs_is_said_at_once() {
    for limit in ["--heap-limit=0", "--heap-limit=1KiB", "--heap-limit=4KiB:walled"] {
        let run = Lox::with(&[limit]).input("print 1;\n").run();
        assert_eq!((run.code, run.stdout.as_str()), (70, ""), "{limit}");
        assert!(run.stderr.starts_with("Could not start: ") && run.stderr.contains("heap limit"), "{}", run.stderr);
    }
}

#[test]
fn a_full_heap_has_room_for_the_line_that_clears_it() {
    let texts: String = (0..10).map(|n| format!(" print \"{n}: {}\";", "long ".repeat(40))).collect();
    let lines = format!(
        "var last;\nwhile (true) {{ var next = List(); next.add(last); last = next; }}\n\
         last = nil;{texts}\nprint \"cleared\";\n"
    );
    let run = Lox::with(&["--heap-limit=200KiB"]).input(lines).run();
    assert_eq!(run.stderr, "Out of memory.\n[line 1] in script\n");
    assert!(run.stdout.starts_with("0: long ") && run.stdout.ends_with("\ncleared\n"), "{}", run.stdout);
}
