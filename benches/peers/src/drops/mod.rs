//! How long a program stands still when a large structure dies.
//!
//! Each drop happens in a child process of its own: what one contender leaves behind in the allocator does not help or
//! hinder the next, the resident memory is one contender's alone, and one that overflows its stack takes nobody with it.

mod contender;
mod graph;

use std::error::Error;

pub(crate) use contender::Contender;
use contender::Descent;
pub(crate) use graph::{Layout, Scene, Shape};

use crate::arguments;
use crate::cost::{Cost, Named as _, Sample};
use crate::process;

/// A contender's repeats in one scene.
pub(crate) type DropCost = Cost<Scene, Contender>;

/// All contenders in all scenes, in turn.
pub(crate) fn compare(nodes: u32, repeats: usize) -> Result<Vec<DropCost>, Box<dyn Error>> {
    let mut costs: Vec<DropCost> = Scene::all(nodes).flat_map(Cost::of_all).collect();
    for repeat in 1..=repeats {
        for cost in &mut costs {
            eprintln!("drop: {}, {}, {repeat} of {repeats}", cost.scene, cost.contender.name());
            let child = process::child(arguments::child_words(cost.scene, cost.contender))?;
            cost.repeats.push(process::measure(child, stack(cost.scene, cost.contender))?);
        }
    }
    Ok(costs)
}

/// The stack on which a contender needs to run, if not the one of the main thread.
fn stack(scene: Scene, contender: Contender) -> Option<usize> {
    let recurses = contender.descent() == Descent::Recurses && scene.shape == Shape::List;
    recurses.then(|| process::stack(scene.nodes))
}

/// One drop in this process.
pub(crate) fn measure(scene: Scene, contender: Contender) -> Result<Sample, Box<dyn Error>> {
    process::on_stack(stack(scene, contender), || contender.measure(scene))
}
