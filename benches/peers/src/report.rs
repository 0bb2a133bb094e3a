//! What the program prints.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::cost::{Cost, Named, Sample};
use crate::cycles::CycleCost;
use crate::drops::DropCost;
use crate::machine::Machine;
use crate::pairs::PairCost;
use crate::summary::Summary;
use crate::table::Table;
use crate::verdict::Verdict;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Tables,
    /// One object a line.
    Json,
}

/// Prints each part as soon as it is there.
pub(crate) struct Report {
    form: Form,
    out: io::Stdout,
}

/// A line of JSON: an object that says what it is.
#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'static str,
    #[serde(flatten)]
    fields: &'a T,
}

const NO_FIGURE: &str = "-";

fn figure(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| NO_FIGURE.to_owned(), |figure| format!("{figure:.decimals$}"))
}

impl Report {
    pub(crate) fn new(form: Form) -> Report {
        Report { form, out: io::stdout() }
    }

    fn lines<T: Serialize>(&mut self, kind: &'static str, items: &[T]) -> io::Result<()> {
        for item in items {
            serde_json::to_writer(&self.out, &Line { kind, fields: item })?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    pub(crate) fn machine(&mut self, machine: &Machine) -> io::Result<()> {
        if self.form == Form::Json {
            return self.lines("machine", core::slice::from_ref(machine));
        }
        let packages: Vec<String> =
            machine.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        writeln!(self.out, "command    {}", machine.command)?;
        writeln!(self.out, "machine    {} x {}", machine.cores, machine.processor)?;
        if let Some(load) = machine.load {
            writeln!(self.out, "load       {load:.2} when it began")?;
        }
        writeln!(self.out, "engine     {}", machine.engine)?;
        writeln!(self.out, "packages   {}", packages.join(", "))?;
        writeln!(
            self.out,
            "allocator  the program's global allocator is mimalloc3's MiMalloc: Rc, dumpster and gc-arena run on the same \
             engine as we do\n"
        )
    }

    pub(crate) fn pairs(&mut self, costs: &[PairCost], rounds: usize) -> io::Result<()> {
        if self.form == Form::Json {
            return self.lines("pair", costs);
        }
        writeln!(
            self.out,
            "Allocate and free: ns a pair by the processor clock, median of {rounds} rounds; ratio to the mi_malloc measured \
             beside it,\nmedian and range. Bytes are what the allocator is asked for, headers included.\n"
        )?;
        for group in costs.chunk_by(|a, b| a.pattern == b.pattern && a.bytes == b.bytes) {
            let Some(first) = group.first() else { continue };
            writeln!(self.out, "{} bytes, {}", first.bytes, first.pattern.name())?;
            let mut table = Table::new(1, ["", "ns", "ratio", "from", "to"]);
            for PairCost { contender, ns, ratio, .. } in group {
                table.row(vec![
                    contender.name().to_owned(),
                    format!("{:.2}", ns.median),
                    format!("{:.2}", ratio.median),
                    format!("{:.2}", ratio.min),
                    format!("{:.2}", ratio.max),
                ]);
            }
            writeln!(self.out, "{table}")?;
        }
        Ok(())
    }

    pub(crate) fn drops(&mut self, costs: &[DropCost], nodes: u32, repeats: usize) -> io::Result<()> {
        if self.form == Form::Json {
            return self.lines("drop", costs);
        }
        writeln!(
            self.out,
            "Drop of {nodes} nodes: medians of {repeats} runs, each in a process of its own. step: the longest one; total: all of the \
             collector's\nwork, with its range; cpu: the same by the thread's processor clock, which stands still during other \
             programs' turns. In paced\nrows a step includes the 4 KiB of allocation that pays for it, the total does not. \
             Memory in MiB: start and peak resident in the\nprocess; counted and its peak as the contender itself counts.\n"
        )?;
        self.costs(costs)
    }

    pub(crate) fn cycles(&mut self, costs: &[CycleCost], objects: u32, repeats: usize) -> io::Result<()> {
        if self.form == Form::Json {
            return self.lines("cycles", costs);
        }
        writeln!(
            self.out,
            "Garbage in cycles, {objects} objects, while as many live in cycles: medians of {repeats} runs, each in a process of its own. \
             Columns as\nabove: step, the longest, those included in which handles are given up, a thousand at a time; total, with the \
             giving up.\n"
        )?;
        self.costs(costs)
    }

    /// A table for each scene.
    fn costs<S: Display + PartialEq, C: Named>(&mut self, costs: &[Cost<S, C>]) -> io::Result<()> {
        for group in costs.chunk_by(|a, b| a.scene == b.scene) {
            let Some(first) = group.first() else { continue };
            writeln!(self.out, "{}", first.scene)?;
            let mut table = Table::new(
                1,
                [
                    "", "step ms", "cpu ms", "units", "steps", "total ms", "from", "to", "cpu ms", "start", "peak",
                    "counted", "peak",
                ],
            );
            for cost in group {
                table.row(row(cost));
            }
            writeln!(self.out, "{table}")?;
            for cost in group {
                if let Some(failure) = cost.failure() {
                    writeln!(self.out, "  {} {failure}\n", cost.contender.name())?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn verdicts(&mut self, verdicts: &[Verdict]) -> io::Result<()> {
        if self.form == Form::Json {
            return self.lines("verdict", verdicts);
        }
        writeln!(self.out, "Targets")?;
        let mut table = Table::new(4, ["target", "subject", "measured", "verdict"]);
        for Verdict { target, subject, measured, outcome } in verdicts {
            table.row(vec![(*target).to_owned(), subject.clone(), measured.clone(), outcome.name().to_owned()]);
        }
        writeln!(self.out, "{table}")
    }
}

fn row<S, C: Named>(cost: &Cost<S, C>) -> Vec<String> {
    let summary = |of: fn(&Sample) -> Option<f64>| cost.summary(of);
    let median = |of: fn(&Sample) -> Option<f64>, decimals| figure(summary(of).map(|summary| summary.median), decimals);
    let total: Option<Summary> = summary(|sample| Some(sample.total_ms));
    vec![
        cost.contender.name().to_owned(),
        median(|sample| Some(sample.longest_ms), 3),
        median(|sample| Some(sample.longest_cpu_ms), 3),
        median(|sample| sample.longest_units.map(|units| units as f64), 0),
        median(|sample| Some(sample.steps as f64), 0),
        figure(total.map(|total| total.median), 1),
        figure(total.map(|total| total.min), 1),
        figure(total.map(|total| total.max), 1),
        median(|sample| sample.total_cpu_ms, 1),
        median(|sample| Some(sample.resident_mib), 0),
        median(|sample| sample.peak_resident_mib, 0),
        median(|sample| sample.counted_mib, 0),
        median(|sample| sample.peak_counted_mib, 0),
    ]
}
