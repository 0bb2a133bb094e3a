use super::*;

fn parse(arguments: &[&str]) -> Result<Command, UsageError> {
    Command::parse(arguments.iter().map(OsString::from))
}

#[track_caller]
fn options(arguments: &[&str]) -> Options {
    match parse(arguments) {
        Ok(Command::Run(options)) => *options,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

#[track_caller]
fn refused(arguments: &[&str], because: &str) {
    let error = parse(arguments).expect_err("wrong use").to_string();
    assert!(error.contains(because), "{arguments:?}: {error}");
}

#[test]
fn nothing_is_the_prompt_with_defaults() {
    let expected = Options {
        program: Program::Prompt,
        pacing: Pacing::default(),
        beat_bytes: 65_536,
        limits: Limits::default(),
        stress: None,
        heap_limit: None,
        metrics: None,
        pauses: None,
        looks: Looks::default(),
    };
    assert_eq!(options(&[]), expected);
}

#[test]
fn options_end_at_the_script() {
    let script = |path: &str, arguments: &[&str]| Program::Script {
        path: PathBuf::from(path),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
    };
    assert_eq!(options(&["a.lox"]).program, script("a.lox", &[]));
    assert_eq!(options(&["a.lox", "--eager", "--", "-x", ""]).program, script("a.lox", &["--eager", "--", "-x", ""]));
    assert_eq!(options(&["--", "--eager", "x"]).program, script("--eager", &["x"]));
    assert_eq!(options(&["-"]).program, script("-", &[]));
    // An optional value must be attached, so this is the script.
    assert_eq!(options(&["--metrics", "json"]).program, script("json", &[]));
}

#[test]
fn reports_are_asked_for() {
    assert_eq!(options(&["--metrics"]).metrics, Some(MetricsFormat::Text));
    assert_eq!(options(&["--metrics=text"]).metrics, Some(MetricsFormat::Text));
    assert_eq!(options(&["--metrics=json"]).metrics, Some(MetricsFormat::Json));
    assert_eq!(options(&["--pauses", "p.svg"]).pauses, Some(PathBuf::from("p.svg")));
    refused(&["--metrics=xml"], "text or json");
    refused(&["--metrics="], "text or json");
    refused(&["--pauses"], "--pauses");
    refused(&["--pauses="], "empty");
    let looks = Looks { census: true, snapshot: Some(PathBuf::from("a.heapsnapshot")), leaks: true };
    assert_eq!(options(&["--census", "--heap-snapshot", "a.heapsnapshot", "--leaks"]).looks, looks);
    refused(&["--heap-snapshot"], "--heap-snapshot");
    refused(&["--heap-snapshot="], "empty");
    refused(&["--census=json"], "--census");
    refused(&["--pauses", "a", "--heap-snapshot", "a"], "same file");
    for look in ["--census", "--leaks", "--heap-snapshot=a"] {
        refused(&["--disassemble", look, "a.lox"], "runs nothing");
    }
}

#[test]
fn freeing_is_set() {
    let pacing = options(&["--pause-cap=none", "--ratio", "2.5", "--installment=8KiB"]).pacing;
    assert_eq!((pacing.pause_cap(), pacing.ratio(), pacing.installment()), (Budget::Unbounded, 2.5, 8192));
    assert_eq!(options(&["--eager"]).pacing, Pacing::eager());
    let Options { pacing, stress, .. } = options(&["--pause-cap", "7units", "--stress"]);
    assert_eq!((stress, options(&["--eager"]).stress, options(&[]).stress), (Some(Stress::new()), None, None));
    assert_eq!((pacing.pause_cap(), pacing.installment()), (Budget::Units(7), 1));
    assert_eq!(options(&["--beat-bytes", "1MiB"]).beat_bytes, 1 << 20);
}

#[test]
fn limits_are_set() {
    let limits = options(&["--fuel", "1000", "--beats=0", "--timeout=2s"]).limits;
    let expected = Limits { fuel: Some(1000), beats: Some(0), time: Some(std::time::Duration::from_secs(2)) };
    assert_eq!(limits, expected);
    refused(&["--fuel=much"], "no count");
    refused(&["--beats=-1"], "no count");
    refused(&["--timeout=2"], "no time");
}

#[test]
fn the_heap_is_limited() {
    let limit = |bytes, walled| Some(HeapLimit { bytes, walled });
    assert_eq!(options(&["--heap-limit", "1MiB"]).heap_limit, limit(1 << 20, false));
    assert_eq!(options(&["--heap-limit=64MiB:walled"]).heap_limit, limit(64 << 20, true));
    refused(&["--heap-limit=much"], "no size; give a whole number of B, KiB, MiB or GiB");
    refused(&["--heap-limit=1MiB:high"], "size:walled");
    refused(&["--heap-limit"], "--heap-limit");
}

#[test]
fn the_last_of_equal_options_counts() {
    assert_eq!(options(&["--ratio=2", "--ratio=3"]).pacing.ratio(), 3.0);
    assert_eq!(options(&["--stress", "--stress"]).pacing, Pacing::stress());
}

#[test]
fn contradictions_are_refused() {
    refused(&["--eager", "--stress"], "exclude");
    refused(&["--eager", "--ratio=2"], "--eager");
    refused(&["--pause-cap=1ms", "--eager"], "--eager");
    refused(&["--disassemble"], "script");
    refused(&["--disassemble", "--metrics", "a.lox"], "--metrics");
}

#[test]
fn settings_outside_their_range_are_refused() {
    refused(&["--ratio=0.5"], "between 1");
    refused(&["--ratio=nan"], "between 1");
    refused(&["--ratio=much"], "no ratio");
    refused(&["--installment=0"], "between 1 byte");
    refused(&["--installment=2GiB"], "1 GiB");
    refused(&["--pause-cap=0units"], "zero");
}

#[test]
fn what_is_not_understood_is_refused() {
    refused(&["--no-such-option"], "--no-such-option");
    refused(&["-z", "a.lox"], "-z");
    refused(&["--stress=very"], "very");
}

#[test]
fn other_actions() {
    assert_eq!(parse(&["--help", "--no-such-option"]), Ok(Command::Help));
    assert_eq!(parse(&["-h"]), Ok(Command::Help));
    assert_eq!(parse(&["-V"]), Ok(Command::Version));
    assert_eq!(parse(&["--disassemble", "a.lox", "x"]), Ok(Command::Disassemble(PathBuf::from("a.lox"))));
}

#[cfg(unix)]
#[test]
fn arguments_must_be_text_but_paths_need_not() {
    use std::os::unix::ffi::OsStringExt;

    let odd = || OsString::from_vec(vec![b'a', 0xff]);
    assert!(Command::parse([odd()]).is_ok());
    assert!(Command::parse([OsString::from("a.lox"), odd()]).is_err());
}

#[test]
fn help_names_every_option() {
    for option in [
        "--disassemble",
        "--help",
        "--version",
        "--metrics",
        "--pauses",
        "--pause-cap",
        "--ratio",
        "--installment",
        "--beat-bytes",
        "--eager",
        "--stress",
        "--fuel",
        "--beats",
        "--timeout",
        "--heap-limit",
        "Ctrl-C",
    ] {
        assert!(HELP.contains(option), "{option}");
    }
    assert!(HELP.lines().all(|line| line.chars().count() <= 80));
}
