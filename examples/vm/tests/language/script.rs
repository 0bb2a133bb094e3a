//! A script and what its comments say it must do.

use crate::diff;
use crate::process::Run;

#[derive(Debug, PartialEq)]
enum Ending {
    Success,
    CompileErrors(Vec<String>),
    RuntimeError { message: String, line: usize, trace: Vec<String> },
}

/// A script's expectations.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) arguments: Vec<String>,
    pub(crate) stdin: String,
    stdout: String,
    ending: Ending,
}

impl Script {
    /// Reads the comments of a script.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script =
            Script { arguments: Vec::new(), stdin: String::new(), stdout: String::new(), ending: Ending::Success };
        let mut trace = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(message) = comment(line, "// expect compile error:") {
                match &mut script.ending {
                    Ending::Success => script.ending = Ending::CompileErrors(vec![message.to_owned()]),
                    Ending::CompileErrors(messages) => messages.push(message.to_owned()),
                    Ending::RuntimeError { .. } => return Err(format!("line {number}: the script would not run")),
                }
            } else if let Some(message) = comment(line, "// expect runtime error:") {
                if script.ending != Ending::Success {
                    return Err(format!("line {number}: a script ends with one error"));
                }
                script.ending = Ending::RuntimeError { message: message.to_owned(), line: number, trace: Vec::new() };
            } else if let Some(text) = comment(line, "// expect:") {
                script.stdout.push_str(text);
                script.stdout.push('\n');
            } else if let Some(frame) = comment(line, "// trace:") {
                trace.push(frame.to_owned());
            } else if let Some(text) = comment(line, "// stdin:") {
                script.stdin.push_str(text);
                script.stdin.push('\n');
            } else if let Some(text) = comment(line, "// args:") {
                script.arguments = text.split_whitespace().map(str::to_owned).collect();
            } else if line.contains("// expect") {
                return Err(format!("line {number}: an expectation that is not understood"));
            }
        }
        match &mut script.ending {
            Ending::RuntimeError { trace: expected, .. } => *expected = trace,
            _ if trace.is_empty() => {}
            _ => return Err("a trace without a run-time error".to_owned()),
        }
        Ok(script)
    }

    /// What a run did otherwise than the script says.
    pub(crate) fn check(&self, run: &Run) -> Vec<String> {
        let mut problems = Vec::new();
        if run.stdout != self.stdout {
            problems.push(format!("stdout\n{}", diff::lines(&self.stdout, &run.stdout)));
        }
        let (code, stderr) = match &self.ending {
            Ending::Success => (0, String::new()),
            Ending::CompileErrors(messages) => (65, lines(messages)),
            Ending::RuntimeError { message, trace, .. } if !trace.is_empty() => {
                (70, format!("{message}\n{}", lines(trace)))
            }
            Ending::RuntimeError { message, line, .. } => {
                let innermost = format!("{message}\n[line {line}] in ");
                if !run.stderr.starts_with(&innermost) {
                    problems.push(format!("stderr\n{}", diff::lines(&innermost, &run.stderr)));
                }
                (70, run.stderr.clone())
            }
        };
        if run.stderr != stderr {
            problems.push(format!("stderr\n{}", diff::lines(&stderr, &run.stderr)));
        }
        if run.code != code {
            problems.push(format!("exit {} instead of {code}", run.code));
        }
        problems
    }
}

/// The text behind a marker and one space.
fn comment<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let (_, text) = line.split_once(marker)?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_misspelt_expectation_is_no_comment() {
    assert!(Script::parse("print 1; // expects: 1").is_err());
    assert!(Script::parse("print 1; // trace: [line 1] in script").is_err());
}

#[test]
fn a_run_is_held_to_everything_the_script_says() {
    let script = Script::parse("print 1; // expect: 1\nprint -nil; // expect runtime error: No.").unwrap();
    let run = |code, stdout: &str, stderr: &str| Run { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
    assert_eq!(script.check(&run(70, "1\n", "No.\n[line 2] in script\n")), [""; 0]);
    assert_eq!(script.check(&run(0, "1\n", "No.\n[line 2] in script\n")).len(), 1);
    assert_eq!(script.check(&run(70, "1", "No.\n[line 2] in script\n")).len(), 1);
    assert_eq!(script.check(&run(70, "1\n", "No.\n[line 1] in script\n")).len(), 1);
    assert_eq!(script.check(&run(70, "1\n", "Yes.\n[line 2] in script\n")).len(), 1);
}
