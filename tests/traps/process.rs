//! A process for a test: the hook is the process's, and some facts are that the process crashes or hangs.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The variable that tells a child which test it is to run.
const CASE: &str = "MIMALLOC_RUNTIME_TRAP";

/// Nothing here takes more than seconds on its own; tools make it a hundred times as long.
const LIMIT: Duration = Duration::from_secs(if cfg!(small_tests) { 240 } else { 60 });

/// A process that has not done the next bit of its work for so long does not do it any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exit status of a process that found itself stuck.
const STUCK: i32 = 99;

static BITS_OF_WORK: AtomicU64 = AtomicU64::new(0);

/// Says that another bit of work is done.
pub(crate) fn alive() {
    BITS_OF_WORK.fetch_add(1, Ordering::Relaxed);
}

/// Ends the process when it is stuck.
fn watch() {
    let mut seen = (BITS_OF_WORK.load(Ordering::Relaxed), Instant::now());
    loop {
        thread::sleep(PATIENCE / 10);
        let done = BITS_OF_WORK.load(Ordering::Relaxed);
        if done != seen.0 {
            seen = (done, Instant::now());
        } else if seen.1.elapsed() >= PATIENCE {
            // SAFETY: runs nothing of this process's any more, of which some is stuck.
            unsafe { libc::_exit(STUCK) };
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct End {
    /// The exit status; none for a process that a signal ended.
    pub(crate) code: Option<i32>,
    /// The signal; none for one that exited.
    pub(crate) signal: Option<i32>,
    /// It was stuck, or took too long.
    pub(crate) hung: bool,
    pub(crate) output: String,
}

/// Runs `body` in a process of its own, in which it must come to its end.
pub(crate) fn alone<F: Fn()>(body: F) {
    let end = process(std::any::type_name::<F>(), body);
    assert!(!end.hung && end.code == Some(0), "{end:?}");
}

/// Runs `body`, which says now and then that it is [`alive`], in a process of its own, and says how that ended.
pub(crate) fn end_of<F: Fn()>(body: F) -> End {
    process(std::any::type_name::<F>(), || {
        thread::spawn(watch);
        body();
    })
}

/// The child is this program again, told to run the one test, which the name of its closure tells. There it comes here
/// again, and runs `body`.
fn process(case: &str, body: impl Fn()) -> End {
    if std::env::var(CASE).is_ok_and(|wanted| wanted == case) {
        body();
        // Destructors of the harness are no part of the test.
        std::process::exit(0);
    }
    // `traps::hook::name_of_the_test::{{closure}}`
    let test = case.split_once("::").unwrap().1.split("::{{closure}}").next().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait(child)
}

fn wait(mut child: Child) -> End {
    // The pipes are emptied meanwhile, so that a child that says much does not wait for it.
    let pipes: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    let readers = pipes.map(|mut pipe| {
        thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let deadline = Instant::now() + LIMIT;
    let mut hung = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= deadline {
            hung = true;
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    };
    let output = readers.map(|reader| reader.join().unwrap()).concat();
    hung |= status.code() == Some(STUCK);
    End { code: status.code(), signal: status.signal(), hung, output }
}

/// Resident bytes of this process.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
