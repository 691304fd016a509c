//! Properties of moments. A ghost judges a step when it sees it, and keeps what happened in its set `moments`, by the name of the
//! property that speaks of it.

/// This never happened.
macro_rules! never {
    ($moment:expr) => {
        $crate::Property::always($moment, |view| !view.ghost.moments.contains($moment))
    };
}
pub(crate) use never;

/// This happens in some run.
macro_rules! happens {
    ($moment:expr) => {
        $crate::Property::sometimes($moment, |view| view.ghost.moments.contains($moment))
    };
}
pub(crate) use happens;
