//! One test binary: one link step, and `cargo test NAME` selects by module.

mod simulation;
