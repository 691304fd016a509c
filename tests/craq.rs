//! CRAQ: what the exhaustive rows leave out.

use parthood::simulate::{self, Storm};

#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    let storm = Storm { protocol: "craq".into(), ..Storm::default() };
    for seed in 0..10 {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert_eq!(outcome.answered, storm.commands * usize::from(storm.clients), "seed {seed}");
    }
}
