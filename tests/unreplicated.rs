//! The unreplicated server: what the exhaustive rows leave out.

use parthood::simulate::{self, Storm};

/// Crashes of the only server make it slow, never wrong: what was answered is on its disk.
#[test]
fn a_single_server_loses_nothing_that_it_answered() {
    let storm = Storm { protocol: "unreplicated".into(), ..Storm::default() };
    for seed in 0..10 {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert_eq!(outcome.answered, storm.commands * usize::from(storm.clients), "seed {seed}");
    }
}
