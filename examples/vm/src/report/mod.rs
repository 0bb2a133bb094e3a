//! What memory management did while a program ran: measured step by step, then told in text, as JSON or as a drawing.

mod amount;
mod census;
mod figures;
mod json;
mod pauses;
mod recording;
mod text;
mod timeline;

pub(crate) use census::Census;
pub(crate) use figures::Figures;
pub(crate) use pauses::draw;
pub(crate) use recording::Recorder;

#[cfg(test)]
mod tests;
