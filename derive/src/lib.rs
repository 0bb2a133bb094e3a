//! `#[derive(Trace)]` for `mimalloc-runtime`.
