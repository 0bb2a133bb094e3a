//! What was measured against the crate's targets.

use serde::Serialize;

use crate::cost::{Named as _, Sample};
use crate::drops::{self, DropCost, Layout};
use crate::pairs::{Contender, PairCost, Pattern};

/// A pair costs no more than `mi_malloc`'s. Compared as it is printed, with two decimals.
const PAIR_RATIO: f64 = 1.005;
/// The longest step is so many times shorter than an eager drop ...
const STEP_FACTOR: f64 = 100.0;
/// ... or shorter than this, below which a clock on a shared machine shows its scheduler.
const STEP_FLOOR_MS: f64 = 0.2;
/// All steps together cost so much of an eager drop.
const TOTAL_IN_SEQUENCE: f64 = 1.1;
const TOTAL_SCATTERED: f64 = 1.0;

/// A target beside its figure.
#[derive(Serialize)]
pub(crate) struct Verdict {
    pub(crate) target: &'static str,
    pub(crate) subject: String,
    pub(crate) measured: String,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) enum Outcome {
    #[serde(rename = "met")]
    Met,
    #[serde(rename = "not met")]
    NotMet,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Met => "met",
            Outcome::NotMet => "not met",
        }
    }

    fn of(holds: bool) -> Outcome {
        if holds { Outcome::Met } else { Outcome::NotMet }
    }
}

/// Each of our pairs, at the size at which it fares worst.
pub(crate) fn of_pairs(costs: &[PairCost]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for pattern in Pattern::ALL {
        for contender in Contender::OURS {
            let sizes = costs.iter().filter(|cost| cost.pattern == pattern && cost.contender == contender);
            let Some(worst) = sizes.max_by(|a, b| a.ratio.median.total_cmp(&b.ratio.median)) else { continue };
            verdicts.push(Verdict {
                target: "a pair is no slower than mi_malloc's",
                subject: format!("{}, {}", contender.name(), pattern.name()),
                measured: format!("{:.2}x at its worst size, {} bytes", worst.ratio.median, worst.bytes),
                outcome: Outcome::of(worst.ratio.median < PAIR_RATIO),
            });
        }
    }
    verdicts
}

/// Our incremental contenders against the eager drop of `Rc`.
pub(crate) fn of_drops(costs: &[DropCost]) -> Vec<Verdict> {
    let mut steps = Vec::new();
    let mut totals = Vec::new();
    let incremental = [drops::Contender::OursLazy, drops::Contender::OursPaced];
    for ours in costs.iter().filter(|cost| incremental.contains(&cost.contender)) {
        let eager = costs.iter().find(|cost| cost.contender == drops::Contender::Rc && cost.scene == ours.scene);
        let Some(eager) = eager else { continue };
        let subject = format!("{}, {}", ours.contender.name(), ours.scene);
        steps.extend(step(ours, eager, &subject, "longest step: 1/100 of eager Rc, or 0.2 ms", |sample| {
            sample.longest_ms
        }));
        steps.extend(step(ours, eager, &subject, "longest step by the processor clock: likewise", |sample| {
            sample.longest_cpu_ms
        }));
        let (target, limit) = match ours.scene.layout {
            Layout::Sequence => ("total: at most 1.1 of eager Rc in sequence", TOTAL_IN_SEQUENCE),
            Layout::Scattered => ("total: at most that of eager Rc scattered", TOTAL_SCATTERED),
        };
        totals.extend(total(ours, eager, &subject, target, limit, |sample| Some(sample.total_ms)));
        totals.extend(total(ours, eager, &subject, "total by the processor clock: likewise", limit, |sample| {
            sample.total_cpu_ms
        }));
    }
    steps.append(&mut totals);
    steps
}

fn step(
    ours: &DropCost,
    eager: &DropCost,
    subject: &str,
    target: &'static str,
    longest: impl Fn(&Sample) -> f64,
) -> Option<Verdict> {
    let milliseconds = ours.summary(|sample| Some(longest(sample)))?.median;
    let factor = eager.ratio(ours, |sample| Some(longest(sample)))?.median;
    Some(Verdict {
        target,
        subject: subject.to_owned(),
        measured: format!("{milliseconds:.3} ms, 1/{factor:.0}"),
        outcome: Outcome::of(factor >= STEP_FACTOR || milliseconds < STEP_FLOOR_MS),
    })
}

fn total(
    ours: &DropCost,
    eager: &DropCost,
    subject: &str,
    target: &'static str,
    limit: f64,
    total: impl Fn(&Sample) -> Option<f64>,
) -> Option<Verdict> {
    let ratio = ours.ratio(eager, total)?.median;
    Some(Verdict {
        target,
        subject: subject.to_owned(),
        measured: format!("{ratio:.2}x"),
        outcome: Outcome::of(ratio <= limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Repeat;
    use crate::drops::Scene;

    fn cost(scene: Scene, contender: drops::Contender, longest_ms: f64, total_ms: f64) -> DropCost {
        let sample = Sample {
            longest_ms,
            longest_cpu_ms: longest_ms,
            longest_units: None,
            total_ms,
            total_cpu_ms: Some(total_ms),
            steps: 1,
            resident_mib: 1.0,
            peak_resident_mib: None,
            counted_mib: None,
            peak_counted_mib: None,
        };
        DropCost { scene, contender, repeats: vec![Repeat::Measured(sample); 3] }
    }

    fn outcomes(longest_ms: f64, total_ms: f64, layout: Layout) -> Vec<Outcome> {
        let scene = Scene::all(1).find(|scene| scene.layout == layout).expect("every layout has its scenes");
        let costs = [
            cost(scene, drops::Contender::OursLazy, longest_ms, total_ms),
            cost(scene, drops::Contender::Rc, 100.0, 100.0),
        ];
        of_drops(&costs).iter().map(|verdict| verdict.outcome).collect()
    }

    #[test]
    fn drops_are_judged_by_the_eager_one_in_the_same_scene() {
        use Outcome::{Met, NotMet};
        assert_eq!(outcomes(1.0, 110.0, Layout::Sequence), [Met; 4]);
        assert_eq!(outcomes(1.1, 111.0, Layout::Sequence), [NotMet; 4]);
        assert_eq!(outcomes(0.1, 100.0, Layout::Scattered), [Met; 4]);
        assert_eq!(outcomes(0.1, 101.0, Layout::Scattered), [Met, Met, NotMet, NotMet]);
    }
}
