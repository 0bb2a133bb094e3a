//! A look at everything that a machine has: its heap snapshot, and whether its counts are right.

use std::io::{self, Write};

use mimalloc_runtime::{Error, Ref, Survey, Verified};

use super::Machine;
use crate::names::Labels;
use crate::object::Job;

impl Machine {
    /// Writes everything that lives as a heap snapshot, which the developer tools of Chromium load: instances by the names of their
    /// classes, functions and strings by their own, fields by theirs.
    ///
    /// # Errors
    /// Those of [`Survey::write_heap_snapshot`].
    pub fn write_heap_snapshot(&self, to: &mut dyn Write) -> io::Result<()> {
        self.survey(&self.state.jobs.held()).write_heap_snapshot(to, &mut Labels)
    }

    /// Whether all counts are what they should be: exactly as many as references lead to each object, if nobody else
    /// has one.
    ///
    /// # Errors
    /// Those of [`Survey::verify`].
    pub fn verify(&self) -> Result<Verified, Error> {
        self.survey(&self.state.jobs.held()).complete().verify()
    }

    /// All references that the machine holds outside of objects are its roots. What it lends while a script runs is not among them, as
    /// none does.
    /// `jobs` are what the queue of finalizers holds, once more each.
    fn survey<'a>(&'a self, jobs: &'a [Ref<Job>]) -> Survey<'a> {
        let state = &self.state;
        let values = state.stack.slots.iter().chain([&state.init]).filter_map(|value| value.as_object());
        let survey = state.open.roots(values.fold(state.heap.mutator().survey(), Survey::root));
        let survey = state.globals.roots(survey);
        let classes = [&state.lists, &state.maps, &state.errors, &state.weak_references];
        let survey = classes.into_iter().fold(survey, |survey, class| survey.root(class));
        // For the queue, and for these.
        jobs.iter().fold(survey, |survey, job| survey.root(job).root(job))
    }
}
