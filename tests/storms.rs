//! The deployed configurations in storms, with the properties of their models throughout.

use parthood::simulate::{self, Storm};

/// Every client gets all its answers, and they are those of one store.
pub(crate) fn survives(protocol: &str, seeds: u64) {
    let storm = Storm { protocol: protocol.into(), ..Storm::default() };
    for seed in 0..seeds {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert_eq!(outcome.answered, storm.commands * usize::from(storm.clients), "seed {seed}");
    }
}
