//! The unreplicated server: what the exhaustive rows leave out.

use crate::storms;

/// Crashes of the only server make it slow, never wrong: what was answered is on its disk.
#[test]
fn a_single_server_loses_nothing_that_it_answered() {
    storms::survives("unreplicated", 10);
}
