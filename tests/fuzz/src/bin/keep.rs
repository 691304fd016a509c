//! Keeps the inputs of a folder for a target: `keep TARGET FOLDER`. Let `cargo fuzz cmin` make the folder small before.

use libfuzzer_sys as _;
use parthood_fuzz::{TARGETS, kept};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let known = |target: &String| TARGETS.iter().any(|(name, ..)| name == target);
    let [target, folder] = &arguments[..] else {
        eprintln!("keep: expected a target and a folder");
        return ExitCode::from(2);
    };
    if !known(target) {
        eprintln!("keep: there is no target {target}");
        return ExitCode::from(2);
    }
    match kept::keep(target, Path::new(folder)) {
        Ok(count) => {
            println!("{target}: kept {count} inputs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keep: {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}
