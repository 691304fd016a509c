//! Writes the inputs to begin with, and those that are kept, into `corpus/TARGET`, beside what fuzzing has added there.

// An instrumented build, as `cargo fuzz build` makes of all, needs its counters.
use libfuzzer_sys as _;
use parthood_fuzz::{TARGETS, kept};
use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    for (name, _, seeds) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (1..).zip(seeds()) {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
        for (number, input) in (1..).zip(kept::inputs(name)?) {
            fs::write(folder.join(format!("kept-{number:05}")), input)?;
        }
    }
    Ok(())
}
