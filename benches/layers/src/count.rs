//! Counting instructions: this program runs itself under callgrind.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::{Command, Stdio};

use mimalloc_runtime::Attach;
use serde::Serialize;

use crate::arguments;
use crate::layer::Layer;
use crate::pair::Scene;
use crate::program::{Program, Types};

/// Valgrind is not installed.
#[derive(Debug)]
pub(crate) struct NoValgrind;

impl fmt::Display for NoValgrind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("valgrind, which counts the instructions, was not found: install the package `valgrind`")
    }
}

impl Error for NoValgrind {}

/// What valgrind calls itself.
///
/// # Errors
/// [`NoValgrind`] when there is none.
pub(crate) fn valgrind_version() -> Result<String, Box<dyn Error>> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(output) => Err(format!("valgrind does not run: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NoValgrind.into()),
        Err(error) => Err(error.into()),
    }
}

/// Counts within [`pair::repeat`](crate::pair) alone, or a loop of [`program`](crate::program), with all that it calls: what a process
/// does before and after differs by an instruction now and then. The name as the symbol table has it, mangled or not, is between
/// the stars.
const PAIRS: &str = "--toggle-collect=*layers*pair*repeat*";
const ROUNDS: &str = "--toggle-collect=*layers*program*repeat_*";

/// Instructions of the loop in a process of this program with this command line.
fn of_process(within: &str, words: &[String]) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", within])
        .arg(std::env::current_exe()?)
        .args(words)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} failed: {}", words.join(" "), said.trim()).into());
    }
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    // None at all: the loop was not found.
    collected
        .filter(|count| *count > 0)
        .ok_or_else(|| format!("valgrind did not say what it counted: {}", said.trim()).into())
}

/// Instructions of so many pairs in the steady state: a process with twice as many, less one with as many. What only the first
/// pairs take cancels.
pub(crate) fn of_pairs(scene: Scene, pairs: u64) -> Result<i64, Box<dyn Error>> {
    let of = |pairs| of_process(PAIRS, &arguments::child_words(scene, pairs));
    Ok(of(2 * pairs)? as i64 - of(pairs)? as i64)
}

/// The same of so many rounds of a program.
pub(crate) fn of_rounds(program: Program, types: Types, rounds: u64) -> Result<i64, Box<dyn Error>> {
    let of = |rounds| of_process(ROUNDS, &arguments::program_words(program, types, rounds));
    Ok(of(2 * rounds)? as i64 - of(rounds)? as i64)
}

/// What a layer costs at a size.
#[derive(Serialize)]
pub(crate) struct Count {
    #[serde(serialize_with = "by_name")]
    pub(crate) layer: Layer,
    pub(crate) bytes: usize,
    pub(crate) pairs: u64,
    /// A pair, without the loop around it.
    pub(crate) instructions: f64,
}

fn by_name<S: serde::Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(layer.name())
}

/// What each layer costs at a size: as many pairs as allocate so many beats.
pub(crate) fn of_size(bytes: usize, beats: u64) -> Result<Vec<Count>, Box<dyn Error>> {
    let beat_bytes = Attach::BEAT_BYTES;
    let pairs = beats.checked_mul(beat_bytes).ok_or("so many beats cannot be counted")? / bytes as u64;
    let of = |layer| of_pairs(Scene { layer, bytes, beat_bytes }, pairs);
    let around = of(Layer::Loop)?;
    let counted = Layer::shown().map(|layer| {
        eprintln!("{bytes} bytes: {}", layer.name());
        let instructions = (of(layer)? - around) as f64 / pairs as f64;
        Ok(Count { layer, bytes, pairs, instructions })
    });
    counted.collect()
}
