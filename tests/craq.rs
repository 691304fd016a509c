//! CRAQ: what the exhaustive rows leave out.

use crate::storms;

#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    storms::survives("craq", 10);
}
