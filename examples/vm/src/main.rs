//! The `lox` command: runs scripts and a prompt on the machine of the library, and reports what its memory did.

mod ctrl_c;
mod exit;
mod options;
mod repl;
mod report;
mod stdin;

use std::env;
use std::fmt::Display;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use lox_vm::compiler::compile;
use lox_vm::disassembler::disassemble;
use lox_vm::error::{InterpretError, StartError};
use lox_vm::machine::{Config, Machine};
use mimalloc_runtime::ErrorKind;

use ctrl_c::CtrlC;
use exit::Exit;
use options::{Command, HELP, Looks, MetricsFormat, Options, Program};
use repl::Broken;
use report::{Census, Figures, Recorder};
use stdin::LineByLine;

fn main() -> ExitCode {
    match Command::parse(env::args_os().skip(1)) {
        Err(error) => misused(error),
        Ok(Command::Help) => show(HELP),
        Ok(Command::Version) => show(concat!("lox ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Disassemble(path)) => list(&path),
        Ok(Command::Run(options)) => run(*options),
    }
    .into()
}

/// Shows the code of a script.
fn list(path: &Path) -> Exit {
    let source = match read(path) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    match compile(&source) {
        Ok(script) => show(&disassemble(&script)),
        Err(errors) => {
            say(errors);
            Exit::BadSource
        }
    }
}

/// Runs a program and reports on it.
fn run(options: Options) -> Exit {
    let (name, source, script_args) = match options.program {
        Program::Prompt => ("the prompt".to_owned(), None, Vec::new()),
        Program::Script { path, arguments } => match read(&path) {
            Ok(source) => (path.display().to_string(), Some(source), arguments),
            Err(exit) => return exit,
        },
    };
    let config = Config {
        pacing: options.pacing,
        stress: options.stress,
        beat_bytes: options.beat_bytes,
        limits: options.limits,
        heap_limit: options.heap_limit,
        script_args,
        stdin: Box::new(LineByLine::default()),
    };
    let mut machine = match Machine::new(config) {
        Ok(machine) => machine,
        // A setting whose range only the runtime knows.
        Err(StartError::Runtime(error)) if error.kind() == ErrorKind::InvalidSetting => return misused(error),
        Err(error) => return could_not_start(error),
    };
    let watched = options.metrics.is_some() || options.pauses.is_some();
    let recorder = match watched.then(|| Recorder::watch(machine.mutator())).transpose() {
        Ok(recorder) => recorder,
        Err(error) => return could_not_start(error),
    };

    let exit = execute(&mut machine, source.as_deref());
    let steps = recorder.map(|recorder| recorder.finish(machine.mutator()));
    let exit = exit.then(look(&machine, &options.looks));
    if steps.is_none() && !options.looks.leaks {
        return exit;
    }
    let mutator = machine.end();
    let exit = if options.looks.leaks { exit.then(tell(mutator.survey().leaks())) } else { exit };
    let Some(steps) = steps else { return exit };
    let figures = Figures { name, pacing: options.pacing, steps, end: mutator.metrics() };
    exit.then(report(&figures, options.metrics, options.pauses.as_deref()))
}

/// Looks at what a program that has ended has left in its globals.
fn look(machine: &Machine, looks: &Looks) -> Exit {
    let counted = if looks.census { tell(Census::of(machine.mutator())) } else { Exit::Success };
    counted.then(match &looks.snapshot {
        None => Exit::Success,
        Some(path) => match fs::File::create(path).and_then(|mut file| machine.write_heap_snapshot(&mut file)) {
            Ok(()) => Exit::Success,
            Err(error) => unwritable(&format!("\"{}\"", path.display()), error),
        },
    })
}

/// Writes a report to standard error.
fn tell(report: Result<impl Display, mimalloc_runtime::Error>) -> Exit {
    match report {
        Ok(report) => match write!(io::stderr().lock(), "{report}") {
            Ok(()) => Exit::Success,
            Err(_) => Exit::Io,
        },
        Err(error) => {
            say(format_args!("Could not look at the heap: {error}."));
            Exit::Failed
        }
    }
}

/// Runs a script, or without one the prompt, on the process's own streams.
fn execute(machine: &mut Machine, source: Option<&str>) -> Exit {
    let stdout = io::stdout().lock();
    // A terminal is shown each line at once; files and pipes are written in larger pieces.
    let mut out: Box<dyn Write> =
        if io::stdout().is_terminal() { Box::new(stdout) } else { Box::new(BufWriter::new(stdout)) };
    let mut err = io::stderr();
    let ctrl_c = CtrlC::watch(machine.mutator().interrupter());

    match source {
        Some(source) => match ctrl_c.interpret(machine, source, &mut out, &mut err) {
            Ok(()) => Exit::Success,
            Err(InterpretError::Compile) => Exit::BadSource,
            Err(InterpretError::Runtime) => Exit::Failed,
            Err(InterpretError::Output(error)) => unwritable("output", error),
        },
        None => match repl::run(machine, &ctrl_c, &mut out, &mut err) {
            Ok(()) => Exit::Success,
            Err(Broken::Input(error)) => {
                say(format_args!("Could not read standard input: {error}."));
                Exit::Io
            }
            Err(Broken::Output(error)) => unwritable("output", error),
        },
    }
}

/// Reports what was asked for.
fn report(figures: &Figures, metrics: Option<MetricsFormat>, pauses: Option<&Path>) -> Exit {
    let drawn = match pauses {
        None => Exit::Success,
        Some(path) => match report::draw(figures).and_then(|svg| fs::write(path, svg)) {
            Ok(()) => Exit::Success,
            Err(error) => unwritable(&format!("\"{}\"", path.display()), error),
        },
    };
    // Last, so that nothing follows the object.
    let mut err = io::stderr().lock();
    let told = match metrics {
        None => Ok(()),
        Some(MetricsFormat::Text) => write!(err, "{figures}"),
        Some(MetricsFormat::Json) => writeln!(err, "{}", figures.json()),
    };
    drawn.then(if told.is_ok() { Exit::Success } else { Exit::Io })
}

fn read(path: &Path) -> Result<String, Exit> {
    fs::read_to_string(path).map_err(|error| {
        say(format_args!("Could not read \"{}\": {error}.", path.display()));
        Exit::Io
    })
}

/// Writes to standard output.
fn show(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Success,
        Err(error) => unwritable("output", error),
    }
}

fn unwritable(what: &str, error: io::Error) -> Exit {
    say(format_args!("Could not write {what}: {error}."));
    Exit::Io
}

fn could_not_start(error: impl Display) -> Exit {
    say(format_args!("Could not start: {error}."));
    Exit::Failed
}

fn misused(error: impl Display) -> Exit {
    say(format_args!("lox: {error}.\nTry `lox --help`."));
    Exit::Usage
}

/// Writes a line to standard error. Where that is closed, the exit code has to do.
fn say(message: impl Display) {
    drop(writeln!(io::stderr(), "{message}"));
}
