//! Limits from the command line, and Ctrl-C.

use std::io::{BufRead, BufReader, Read, Write};
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::process::lox;
use crate::source::Source;

#[track_caller]
fn ends(options: &[&str], script: &Source, stderr: &str) {
    let run = lox(&[options, &[script.path()]].concat(), "");
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (70, "started\n", stderr), "{options:?}");
}

#[test]
fn limits_end_a_script_with_a_runtime_error() {
    let endless = Source::new("endless", "print \"started\";\nwhile (true)\n  List();\n");
    ends(&["--fuel", "1000"], &endless, "Out of fuel.\n[line 3] in script\n");
    ends(&["--beats=2"], &endless, "Deadline of 2 beats passed.\n[line 3] in script\n");
    ends(&["--timeout", "0s"], &endless, "Timed out.\n[line 3] in script\n");
    ends(&["--timeout", "1us", "--fuel=0"], &endless, "Out of fuel.\n[line 3] in script\n");
}

#[test]
fn each_line_at_the_prompt_has_all_of_the_limits() {
    // Two jumps back a round: from the body to the increment, and from there to the condition.
    let lines = "for (var i = 0; i < 50; i = i + 1) {}\n".repeat(3) + "while (true) {}\nprint \"still here\";\n";
    let run = lox(&["--fuel=100"], &lines);
    assert_eq!((run.code, run.stdout.as_str()), (0, "still here\n"));
    assert_eq!(run.stderr, "Out of fuel.\n[line 1] in script\n");
}

/// The command while it runs. What it runs ends by itself in the end, so that a test that fails does not go on for ever.
#[cfg(unix)]
struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

#[cfg(unix)]
impl Running {
    fn start(arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lox"));
        command
            .arg("--fuel=1000000000")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Tests that a shell runs in the background ignore the signal, and so would the command, which leaves it at that.
        let listen = || {
            // SAFETY: it may be called between `fork` and `exec`, and takes no handler of ours.
            let before = unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
            if before == libc::SIG_ERR { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: nothing but a system call.
        unsafe { command.pre_exec(listen) };
        let mut child = command.spawn().expect("the command starts");
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let stderr = child.stderr.take().expect("standard error is a pipe");
        Running { child, stdin, stdout, stderr }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the command reads");
    }

    /// Reads lines up to this one.
    fn wait_for(&mut self, line: &str) {
        let mut read = String::new();
        while read.trim_end() != line {
            read.clear();
            assert!(self.stdout.read_line(&mut read).expect("the command writes text") > 0, "no line '{line}'");
        }
    }

    fn press_ctrl_c(&self) {
        let process = libc::pid_t::try_from(self.child.id()).expect("a process");
        // SAFETY: a process of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(process, libc::SIGINT) }, 0);
    }

    fn press_ctrl_c_until_it_ends(&mut self) {
        for _ in 0..10_000 {
            if self.child.try_wait().expect("it can be asked").is_some() {
                return;
            }
            self.press_ctrl_c();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.child.kill().expect("it can be ended");
        panic!("Ctrl-C does not end it");
    }

    /// Its exit code, when it has ended, and what it has said on standard error.
    fn end(self) -> (Option<i32>, String) {
        let Running { mut child, stdin, mut stdout, mut stderr } = self;
        drop(stdin);
        std::io::copy(&mut stdout, &mut std::io::sink()).expect("the command writes");
        let mut said = String::new();
        stderr.read_to_string(&mut said).expect("the command writes text");
        (child.wait().expect("the command ends").code(), said)
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_script_with_a_runtime_error() {
    let endless = Source::new("endless-output", "while (true)\n  print \"running\";\n");
    let mut running = Running::start(&[endless.path()]);
    running.wait_for("running");
    running.press_ctrl_c();
    assert_eq!(running.end(), (Some(70), "Interrupted.\n[line 2] in script\n".to_owned()));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_line_at_the_prompt_and_the_next_one_runs() {
    let mut running = Running::start(&[]);
    running.types("fun run() { while (true) print \"running\"; }");
    for round in ["one", "two"] {
        running.types("run();");
        running.wait_for("running");
        running.press_ctrl_c();
        running.types(&format!("print \"{round}\";"));
        running.wait_for(round);
    }
    running.types("while (true) missing;");
    let interrupted = "Interrupted.\n[line 1] in run()\n[line 1] in script\n";
    let missing = "Undefined variable 'missing'.\n[line 1] in script\n";
    assert_eq!(running.end(), (Some(0), interrupted.repeat(2) + missing));
}

/// Where no program runs, and where one does not stop because it waits.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_command_where_no_program_can_end() {
    let waits = Source::new("waits", "print \"waiting\";\nreadLine();\n");
    for arguments in [&[][..], &[waits.path()]] {
        let mut running = Running::start(arguments);
        if arguments.is_empty() {
            running.types("print \"waiting\";");
        }
        running.wait_for("waiting");
        // Once or twice: the line may not have ended.
        running.press_ctrl_c_until_it_ends();
        assert_eq!(running.end(), (Some(130), String::new()));
    }
}
