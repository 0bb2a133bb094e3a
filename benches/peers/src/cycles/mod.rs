//! How long a program stands still when garbage in cycles is reclaimed, while as many objects live.
//!
//! Each measurement has a process of its own, as the drops have.

mod contender;
mod scene;

use std::error::Error;

use crate::arguments;
use crate::cost::{Cost, Failure, Named as _, Repeat, Sample};
use crate::process;
use crate::word::Word as _;
pub(crate) use contender::Contender;
pub(crate) use scene::Scene;

/// A contender's repeats in one scene.
pub(crate) type CycleCost = Cost<Scene, Contender>;

/// Handles that are given up in one step, as a program might in a turn.
const HANDLES: usize = 1000;

/// All contenders in all scenes, in turn.
pub(crate) fn compare(objects: u32, repeats: usize) -> Result<Vec<CycleCost>, Box<dyn Error>> {
    let mut costs: Vec<CycleCost> = Scene::all(objects).flat_map(Cost::of_all).collect();
    let missing: Vec<(Contender, String)> =
        Contender::ALL.iter().filter_map(|&contender| Some((contender, contender.missing()?))).collect();
    for (contender, why) in &missing {
        eprintln!("cycles: {} is skipped: {why}", contender.name());
    }
    for repeat in 1..=repeats {
        for cost in &mut costs {
            if let Some((_, why)) = missing.iter().find(|(contender, _)| *contender == cost.contender) {
                cost.repeats.push(Repeat::Failed(Failure::Skipped(why.clone())));
                continue;
            }
            eprintln!("cycles: {}, {}, {repeat} of {repeats}", cost.scene, cost.contender.name());
            let child = match cost.contender.interpreter(cost.scene) {
                Some(interpreter) => interpreter,
                None => process::child(arguments::cycle_words(cost.scene, cost.contender))?,
            };
            cost.repeats.push(process::measure(child, stack(cost.scene, cost.contender))?);
        }
    }
    Ok(costs)
}

/// The stack on which a contender needs to run, if not the one of the main thread.
fn stack(scene: Scene, contender: Contender) -> Option<usize> {
    contender.recurses().then(|| process::stack(scene.objects.saturating_mul(2)))
}

/// One measurement in this process.
pub(crate) fn measure(scene: Scene, contender: Contender) -> Result<Sample, Box<dyn Error>> {
    process::on_stack(stack(scene, contender), || contender.measure(scene))
}
