//! QuickJS-ng, through rquickjs. It allocates from the C library, as it does where it is used by itself.

use std::error::Error;

use rquickjs::{Context, Function, Runtime};

use super::{HANDLES, check};
use crate::cost::{Sample, Trial};
use crate::cycles::scene::Scene;
use crate::word::Word as _;

/// One collection of everything.
pub(super) fn at_once(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let runtime = Runtime::new()?;
    // It is measured what a collection takes, not when there is one.
    runtime.set_gc_threshold(usize::MAX);
    let context = Context::full(&runtime)?;
    context.with(|js| -> Result<(), rquickjs::Error> {
        let build: Function<'_> = js.eval(include_str!("quickjs.js"))?;
        build.call((scene.shape.word(), scene.objects))
    })?;
    runtime.run_gc();
    let count = || runtime.memory_usage().obj_count;
    // A call may leave something behind.
    context.with(|js| js.eval::<u32, _>("giveUp(0)"))?;
    let before = count();
    let mut trial = Trial::begin();
    context.with(|js| -> Result<(), rquickjs::Error> {
        let give_up: Function<'_> = js.globals().get("giveUp")?;
        while trial.watch.step(|| give_up.call::<_, u32>((HANDLES as u32,)))? > 0 {}
        Ok(())
    })?;
    trial.watch.step(|| runtime.run_gc());
    let sample = trial.end();
    check(scene, (before - count()) as u64)?;
    Ok(sample)
}
