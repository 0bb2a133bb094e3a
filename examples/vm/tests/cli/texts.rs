//! Corners of the natives for strings: empty ones, odd separators, what has no code point.

use crate::command::{Lox, scratch};

#[test]
fn corners_have_values() {
    let script = scratch(
        "corners",
        "print replace(\"ab\", \"\", \"-\");\n\
         print replace(\"\", \"\", \"-\");\n\
         print replace(\"aaa\", \"aa\", \"b\");\n\
         print find(\"\", \"\", 0);\n\
         print find(\"abc\", \"\", 3);\n\
         print split(\",\", \",\").len();\n\
         print substr(\"\", 0, 0) == \"\";\n\
         print upper(\"straße\");\n\
         print lower(\"İ\") == chr(105) + chr(775);\n\
         print ord(chr(0));\n\
         print ord(chr(1114111));\n",
    );
    let run = Lox::with(&[]).arg(&script).run();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(run.stdout, "-a-b-\n-\nba\n0\n3\n2\ntrue\nSTRASSE\ntrue\n0\n1.11411e+06\n");
}

#[test]
fn what_cannot_be_is_an_error() {
    for (number, (call, message)) in [
        ("len(1)", "len(): argument 1 must be a string, a list or a map."),
        ("ord(\"\")", "ord(): argument 1 must not be empty."),
        ("chr(-1)", "chr(): argument 1 must be a code point."),
        ("chr(55296)", "chr(): argument 1 must be a code point."),
        ("chr(1114112)", "chr(): argument 1 must be a code point."),
        ("chr(0.5)", "chr(): argument 1 must be an integer."),
        ("charAt(\"\", 0)", "charAt(): offset out of range."),
        ("find(\"é\", \"é\", 1)", "find(): offset out of range."),
        ("find(\"a\", \"a\", -1)", "find(): offset out of range."),
        ("substr(\"a\", 0, 1/0)", "substr(): argument 3 must be an integer."),
    ]
    .into_iter()
    .enumerate()
    {
        let run = Lox::with(&[]).arg(scratch(&format!("corner-{number}"), format!("{call};\n"))).run();
        assert_eq!((run.code, run.stderr), (70, format!("{message}\n[line 1] in script\n")), "{call}");
    }
}
