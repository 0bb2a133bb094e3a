//! The drawing: how long steps took, and memory over time.

use std::collections::BTreeMap;
use std::io;

use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::amount::{Bytes, Count, Nanoseconds};
use super::figures::Figures;
use super::timeline::Timeline;

const SIZE: (u32, u32) = (960, 860);
/// Height of the title above the two panels.
const TITLE: u32 = 60;

const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const STEPS: RGBColor = RGBColor(52, 101, 164);
const LIVE: RGBColor = RGBColor(78, 154, 6);
const PENDING: RGBColor = RGBColor(204, 82, 0);

/// Bars to a power of ten of the time axis.
const BARS: i32 = 10;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Error = DrawingAreaErrorKind<io::Error>;

/// An SVG picture of two panels: how many steps took how long, and how many bytes were live and pending when so many had
/// been allocated.
///
/// # Errors
///
/// Whatever the plotting library reports.
pub(crate) fn draw(figures: &Figures) -> io::Result<String> {
    let mut svg = String::new();
    let drawn = draw_on(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), figures);
    drawn.map(|()| svg).map_err(io::Error::other)
}

fn draw_on(canvas: &Canvas<'_>, figures: &Figures) -> Result<(), Error> {
    canvas.fill(&WHITE)?;
    let (title, panels) = canvas.split_vertically(TITLE);
    let steps = &figures.steps.times;
    heading(&title, &format!("Pauses of {}", figures.name), 12, 22, &INK)?;
    let subtitle = format!("{} collection steps, {}", Count(steps.len()), figures.limit());
    heading(&title, &subtitle, 40, 14, &FAINT)?;

    let (upper, lower) = panels.split_vertically((SIZE.1 - TITLE) / 2);
    if steps.is_empty() {
        heading(&upper, "No step was needed: nothing was waiting to be freed.", 180, 16, &FAINT)?;
    } else {
        step_lengths(&upper, steps, &format!("Length of a step: {}", figures.quantiles()))?;
    }
    memory(&lower, &figures.steps.timeline)?;
    canvas.present()
}

fn heading(area: &Canvas<'_>, text: &str, y: i32, size: i32, color: &RGBColor) -> Result<(), Error> {
    let style = ("sans-serif", size).into_font().color(color).pos(Pos::new(HPos::Center, VPos::Top));
    let middle = i32::try_from(area.dim_in_pixel().0 / 2).unwrap_or_default();
    area.draw_text(text, &style, (middle, y))
}

/// Both axes are logarithmic: the one long step among a million short ones is what the drawing is looked at for.
fn step_lengths(area: &Canvas<'_>, times: &Histogram<u64>, caption: &str) -> Result<(), Error> {
    let bars = bars(times);
    let decades = bars.keys().min().map_or(0, |bar| bar.div_euclid(BARS))
        ..bars.keys().max().map_or(0, |bar| bar.div_euclid(BARS)) + 1;
    let most = bars.values().max().copied().unwrap_or(1);
    let x = 10_f64.powi(decades.start)..10_f64.powi(decades.end);
    // A bar of one step must be seen above the axis.
    let y = 0.5..10_f64.powf((most as f64).log10().floor() + 1.0);
    let floor = y.start;

    let mut chart = panel(area, caption).build_cartesian_2d(x.log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("time of a step (logarithmic)")
        .y_desc("number of steps (logarithmic)")
        .x_label_formatter(&|time| decade(time.round() as u64))
        .y_label_formatter(&|count| if *count < 1.0 { String::new() } else { Count(count.round() as u64).to_string() })
        .axis_style(FAINT)
        .light_line_style(WHITE)
        .bold_line_style(FAINT.mix(0.2))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    chart.draw_series(bars.into_iter().map(|(bar, count)| {
        let edge = |bar: i32| 10_f64.powf(f64::from(bar) / f64::from(BARS));
        Rectangle::new([(edge(bar), floor), (edge(bar + 1), count as f64)], STEPS.filled())
    }))?;
    Ok(())
}

/// A power of ten of nanoseconds, without the decimals that measured times have.
fn decade(nanoseconds: u64) -> String {
    let text = Nanoseconds(nanoseconds).to_string();
    match text.split_once('.') {
        Some((whole, rest)) => format!("{whole}{}", rest.trim_start_matches('0')),
        None => text,
    }
}

/// Steps in each bar, a bar being the times from one power of the tenth root of ten to the next.
fn bars(times: &Histogram<u64>) -> BTreeMap<i32, u64> {
    let mut bars = BTreeMap::new();
    for step in times.iter_recorded() {
        // No clock tells less than a nanosecond.
        let decades = (step.value_iterated_to().max(1) as f64).log10();
        *bars.entry((decades * f64::from(BARS)).floor() as i32).or_insert(0) += step.count_at_value();
    }
    bars
}

fn memory(area: &Canvas<'_>, timeline: &Timeline) -> Result<(), Error> {
    let end = timeline.points().map(|(at, _)| at).max().unwrap_or_default();
    let top = timeline.points().map(|(_, memory)| memory.live.max(memory.pending)).max().unwrap_or_default();
    let (x, y) = (Axis::up_to(end), Axis::up_to(top));

    // The space above the highest point is for the legend.
    let caption = "Memory in use; what only dead objects refer to counts as live";
    let mut chart = panel(area, caption).build_cartesian_2d(0.0..x.place(end), 0.0..y.place(top) * 1.3)?;
    chart
        .configure_mesh()
        .x_desc(format!("allocated so far ({})", x.unit))
        .y_desc(format!("in use ({})", y.unit))
        .x_label_formatter(&|place| number(*place))
        .y_label_formatter(&|place| number(*place))
        .axis_style(FAINT)
        .light_line_style(WHITE)
        .bold_line_style(FAINT.mix(0.2))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;

    // Where no step was needed little dies, and what is live grows with what is allocated: the line between two points is
    // close to what was. Pending bytes stay as they are until the step that sees them grow.
    let live = timeline.points().map(|(at, memory)| (x.place(at), y.place(memory.live)));
    let mut before = 0.0;
    let pending = timeline.points().flat_map(|(at, memory)| {
        let (at, now) = (x.place(at), y.place(memory.pending));
        [(at, std::mem::replace(&mut before, now)), (at, now)]
    });
    let most = |name: &str, bytes: Option<u64>| format!("{name}, at most {}", Bytes(bytes.unwrap_or_default()));
    let live_label = most("live", timeline.points().map(|(_, memory)| memory.live).max());
    let pending_label = most("dead, pending", timeline.points().map(|(_, memory)| memory.pending).max());
    chart
        .draw_series(AreaSeries::new(live, 0.0, LIVE.mix(0.2)).border_style(LIVE.stroke_width(2)))?
        .label(live_label)
        .legend(|at| key(at, LIVE));
    chart
        .draw_series(AreaSeries::new(pending, 0.0, PENDING.mix(0.4)).border_style(PENDING.stroke_width(2)))?
        .label(pending_label)
        .legend(|at| key(at, PENDING));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .background_style(WHITE.mix(0.8))
        .border_style(FAINT.mix(0.3))
        .draw()
}

fn panel<'a, 'b>(area: &'a Canvas<'b>, caption: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(caption, ("sans-serif", 16).into_font().color(&INK))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(48)
        .y_label_area_size(84);
    chart
}

/// A line of a legend: a stroke in the color of what it names.
fn key((x, y): (i32, i32), color: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3))
}

/// The number at a tick, which binary fractions may have put beside its place.
fn number(place: f64) -> String {
    ((place * 1000.0).round() / 1000.0).to_string()
}

/// An axis of bytes, numbered in a unit that makes short numbers.
struct Axis {
    unit: &'static str,
    size: f64,
}

impl Axis {
    fn up_to(bytes: u64) -> Axis {
        let (unit, size) = match bytes {
            0..0x800 => ("bytes", 1.0),
            0x800..0x20_0000 => ("KiB", 1024.0),
            0x20_0000..0x8000_0000 => ("MiB", 1048576.0),
            _ => ("GiB", 1073741824.0),
        };
        Axis { unit, size }
    }

    fn place(&self, bytes: u64) -> f64 {
        bytes as f64 / self.size
    }
}
