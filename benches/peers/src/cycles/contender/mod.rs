//! Who reclaims garbage in cycles.

mod arena;
mod bacon_rajan;
mod dumpster_sync;
mod dumpster_unsync;
mod ours;
#[cfg(feature = "quickjs")]
mod quickjs;

use std::cell::Cell;
use std::error::Error;
use std::process::Command;

use super::HANDLES;
use super::scene::{Built, Scene};
use crate::cost::{Named, Sample, TURN, Trial};
use crate::word::Word;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contender {
    /// Collected by the program, a thousand units at a time, between which it goes on.
    OursLazy,
    /// Collected at safepoints, as the allocations that the program goes on to make pay for it.
    OursPaced,
    /// Collected at once.
    OursUnbounded,
    /// dumpster, for one thread, whenever it thinks fit.
    DumpsterUnsync,
    /// The same, told to collect.
    DumpsterUnsyncAtOnce,
    /// dumpster, for several threads, told to collect.
    DumpsterSyncAtOnce,
    /// bacon_rajan_cc, told to collect.
    BaconRajan,
    /// gc-arena, collected as the program allocates, with its default pacing.
    ArenaPaced,
    /// gc-arena, one whole cycle at once.
    ArenaCycle,
    /// CPython, told to collect.
    Python,
    /// QuickJS-ng, told to collect.
    QuickJs,
}

const PYTHON: &str = "python3";

impl Contender {
    /// Why it cannot be measured here, if it cannot.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Contender::Python => {
                let found = Command::new(PYTHON).arg("--version").output().is_ok_and(|output| output.status.success());
                (!found).then(|| format!("`{PYTHON}` does not run"))
            }
            Contender::QuickJs if cfg!(not(feature = "quickjs")) => {
                Some("built without the feature `quickjs`".to_owned())
            }
            _ => None,
        }
    }

    /// The interpreter that measures it, if that is not this program.
    pub(super) fn interpreter(self, scene: Scene) -> Option<Command> {
        if self != Contender::Python {
            return None;
        }
        let mut command = Command::new(PYTHON);
        command.args(["-c", include_str!("python.py"), scene.shape.word()]);
        command.args([scene.objects.to_string(), HANDLES.to_string()]);
        Some(command)
    }

    /// Whether it recurses over structures.
    pub(super) fn recurses(self) -> bool {
        use Contender::{BaconRajan, DumpsterSyncAtOnce, DumpsterUnsync, DumpsterUnsyncAtOnce};
        matches!(self, DumpsterUnsync | DumpsterUnsyncAtOnce | DumpsterSyncAtOnce | BaconRajan)
    }

    /// Builds the structures, gives half of them up, and has them reclaimed.
    pub(super) fn measure(self, scene: Scene) -> Result<Sample, Box<dyn Error>> {
        match self {
            Contender::OursLazy => ours::lazy(scene),
            Contender::OursPaced => ours::paced(scene),
            Contender::OursUnbounded => ours::unbounded(scene),
            Contender::DumpsterUnsync => dumpster_unsync::automatic(scene),
            Contender::DumpsterUnsyncAtOnce => dumpster_unsync::at_once(scene),
            Contender::DumpsterSyncAtOnce => dumpster_sync::at_once(scene),
            Contender::BaconRajan => bacon_rajan::at_once(scene),
            Contender::ArenaPaced => arena::paced(scene),
            Contender::ArenaCycle => arena::cycle(scene),
            #[cfg(feature = "quickjs")]
            Contender::QuickJs => quickjs::at_once(scene),
            _ => Err("it is not measured by this program".into()),
        }
    }
}

impl Word for Contender {
    const KIND: &'static str = "contender";
    const ALL: &'static [Contender] = &[
        Contender::OursLazy,
        Contender::OursPaced,
        Contender::OursUnbounded,
        Contender::DumpsterUnsync,
        Contender::DumpsterUnsyncAtOnce,
        Contender::DumpsterSyncAtOnce,
        Contender::BaconRajan,
        Contender::ArenaPaced,
        Contender::ArenaCycle,
        Contender::Python,
        Contender::QuickJs,
    ];

    fn word(self) -> &'static str {
        match self {
            Contender::OursLazy => "ours-lazy",
            Contender::OursPaced => "ours-paced",
            Contender::OursUnbounded => "ours-unbounded",
            Contender::DumpsterUnsync => "dumpster-unsync",
            Contender::DumpsterUnsyncAtOnce => "dumpster-unsync-at-once",
            Contender::DumpsterSyncAtOnce => "dumpster-sync-at-once",
            Contender::BaconRajan => "bacon-rajan",
            Contender::ArenaPaced => "arena-paced",
            Contender::ArenaCycle => "arena-cycle",
            Contender::Python => "python",
            Contender::QuickJs => "quickjs",
        }
    }
}

impl Named for Contender {
    fn name(self) -> &'static str {
        match self {
            Contender::OursLazy => "ours: collect(Units(1000))",
            Contender::OursPaced => "ours: paced, at safepoints",
            Contender::OursUnbounded => "ours: collect(Unbounded)",
            Contender::DumpsterUnsync => "dumpster unsync, by itself",
            Contender::DumpsterUnsyncAtOnce => "dumpster unsync: collect",
            Contender::DumpsterSyncAtOnce => "dumpster sync: collect",
            Contender::BaconRajan => "bacon_rajan_cc: collect_cycles",
            Contender::ArenaPaced => "gc-arena: collect_debt",
            Contender::ArenaCycle => "gc-arena: finish_cycle",
            Contender::Python => "CPython: gc.collect",
            Contender::QuickJs => "QuickJS-ng: JS_RunGC",
        }
    }
}

/// Gives up what is to die, some handles in each step.
fn give_up<N>(trial: &mut Trial, mut dead: Vec<N>) {
    while !dead.is_empty() {
        let handles = dead.split_off(dead.len().saturating_sub(HANDLES));
        trial.watch.step(|| drop(handles));
    }
}

thread_local! {
    static DROPPED: Cell<u64> = const { Cell::new(0) };
}

/// A field by which it is seen that an object is dropped, for contenders that do not count.
#[derive(dumpster::Trace)]
struct Seen;

impl Drop for Seen {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

/// One collection of everything, of a contender that does not count.
fn at_once<N>(scene: Scene, built: Built<N>, collect: fn()) -> Result<Sample, Box<dyn Error>> {
    let Built { live, dead } = built;
    let mut trial = Trial::begin();
    give_up(&mut trial, dead);
    trial.watch.step(collect);
    let sample = trial.end();
    check(scene, DROPPED.get())?;
    drop(live);
    Ok(sample)
}

/// That what died was reclaimed, and nothing else.
fn check(scene: Scene, dropped: u64) -> Result<(), Box<dyn Error>> {
    if dropped == u64::from(scene.objects) {
        return Ok(());
    }
    Err(format!("{dropped} objects were reclaimed of {}", scene.objects).into())
}
