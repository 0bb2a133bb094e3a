//! Two texts compared line by line.

use std::fmt::Write;

/// The lines that differ, `-` before the expected and `+` before the actual ones, with the equal lines at both ends
/// left out: the outputs here are short, and differ in one place.
pub(crate) fn lines(expected: &str, actual: &str) -> String {
    let expected: Vec<&str> = expected.lines().collect();
    let actual: Vec<&str> = actual.lines().collect();
    let start = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let end = expected[start..].iter().rev().zip(actual[start..].iter().rev()).take_while(|(a, b)| a == b).count();

    let mut text = format!("  at line {}:", start + 1);
    for (sign, lines) in [('-', &expected[start..expected.len() - end]), ('+', &actual[start..actual.len() - end])] {
        for line in lines {
            write!(text, "\n  {sign} {line}").expect("writing to a string does not fail");
        }
    }
    text
}

#[test]
fn only_what_differs_is_shown() {
    assert_eq!(lines("a\nb\nc\nd", "a\nx\nd"), "  at line 2:\n  - b\n  - c\n  + x");
    assert_eq!(lines("a\n", "a\na\n"), "  at line 2:\n  + a");
}
