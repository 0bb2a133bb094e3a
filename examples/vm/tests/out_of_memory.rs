//! Scripts that use up all the memory that their process may have: each ends with a run-time error like any other.

#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::{Command, Stdio};

/// KiB of address space: enough to start in, little enough to be used up soon.
const LIMIT: u32 = 300_000;

/// Runs a script under the limit, paced and eagerly. It must end with this error; which of several allocations fails, and so
/// the innermost lines of the trace, is left open.
#[track_caller]
fn runs_out(name: &str, source: &str, outermost: &str) {
    let path = std::env::temp_dir().join(format!("lox-out-of-memory-{}-{name}.lox", std::process::id()));
    let mut file = std::fs::File::create(&path).expect("a temporary file can be made");
    file.write_all(source.as_bytes()).expect("a temporary file can be written");
    for pacing in [&[][..], &["--eager"]] {
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -v {LIMIT} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_lox")])
            .args(pacing)
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .expect("the command starts");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{name} {pacing:?}: {err}");
        assert!(err.starts_with("Out of memory.\n[line ") && err.ends_with(outermost), "{name} {pacing:?}: {err}");
    }
    std::fs::remove_file(&path).expect("the temporary file is there");
}

#[test]
fn a_string_that_doubles() {
    let source = "fun double(s) {\n  while (true) s = s + s;\n}\ndouble(\"0123456789\");";
    runs_out("string", source, "[line 2] in double()\n[line 4] in script\n");
}

#[test]
fn a_list_that_doubles() {
    let source = "var l = List();\nl.add(l);\nwhile (true) l = l.concat(l);";
    runs_out("list", source, "[line 3] in script\n");
}

#[test]
fn a_map_that_grows() {
    let source = "var m = Map();\nfor (var i = 0; true; i = i + 1) m.set(i, i);";
    runs_out("map", source, "[line 2] in script\n");
}

#[test]
fn a_chain_of_instances() {
    let source = "class Node {\n  init(next) { this.next = next; }\n}\nvar head;\nwhile (true) head = Node(head);";
    runs_out("chain", source, "[line 5] in script\n");
}

#[test]
fn a_chain_of_closures() {
    let source = "fun wrap(f) {\n  fun g() { return f; }\n  return g;\n}\nvar f;\nwhile (true) f = wrap(f);";
    runs_out("closures", source, "[line 6] in script\n");
}
