//! What the crate tells `tracing` subscribers, with the feature of that name. Without it, nothing here makes any code.
//!
//! A subscriber is code of the user's: it may panic, and allocate. So events come where the crate holds nothing, or under a guard
//! (`State::guarded`), and spans are only around calls that the user makes.

/// A span for the rest of the scope: `in_span!("collect", budget = ?budget)`.
macro_rules! in_span {
    ($name:literal $(, $($fields:tt)*)?) => {
        #[cfg(feature = "tracing")]
        let _span = tracing::debug_span!(target: "mimalloc_runtime", $name $(, $($fields)*)?).entered();
    };
}

/// An event: `event!(TRACE, "step", cause = ?cause)`.
macro_rules! event {
    ($level:ident, $name:literal $(, $($fields:tt)*)?) => {{
        #[cfg(feature = "tracing")]
        tracing::event!(target: "mimalloc_runtime", tracing::Level::$level, $($($fields)*,)? $name);
    }};
}

pub(crate) use {event, in_span};
