//! Fuzz targets: whatever reads bytes or text that somebody else may have written.
//!
//! Each module is one target. `run` takes an input and panics if what is read breaks a promise; `seeds` are inputs to
//! begin with, made by the code itself, so that they never grow stale; [`kept`] is what fuzzing has added. How to run them is
//! told in CONTRIBUTING.md.

pub mod cluster_file;
pub mod datagram;
pub mod kept;
pub mod log_record;
pub mod quorum_expression;
pub mod quorum_file;
pub mod resp;
mod run;
pub mod trace;
pub mod volume;

/// A target: its name, what it does with an input, and inputs to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("datagram", datagram::run, datagram::seeds),
    ("log_record", log_record::run, log_record::seeds),
    ("quorum_expression", quorum_expression::run, quorum_expression::seeds),
    ("quorum_file", quorum_file::run, quorum_file::seeds),
    ("resp", resp::run, resp::seeds),
    ("cluster_file", cluster_file::run, cluster_file::seeds),
    ("trace", trace::run, trace::seeds),
    ("volume", volume::run, volume::seeds),
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_target_accepts_its_seeds_their_beginnings_and_what_is_kept() {
        for (name, run, seeds) in super::TARGETS {
            let seeds = seeds();
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                run(&seed);
                run(&seed[..seed.len() / 2]);
            }
            for input in super::kept::inputs(name).expect("what is kept is whole") {
                run(&input);
            }
        }
    }
}
