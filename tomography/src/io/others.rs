//! What programs of others make of what is written here, where they are installed.

use super::mrc::{Content, Output};
use super::write;
use crate::testing::noise;
use crate::{Shape, Stack};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The status of a script that lacks a package.
const NOT_INSTALLED: i32 = 42;

/// What a script of `peers` prints about a path; nothing where Python or its packages are not installed. Another
/// interpreter than `python3` is named by `PARTHOOD_PYTHON`.
fn told(script: &str, path: &Path) -> Option<Value> {
    let python = std::env::var("PARTHOOD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
    let Ok(ended) = Command::new(&python).arg(script).arg(path).output() else {
        println!("not tried: there is no {python}");
        return None;
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    if ended.status.code() == Some(NOT_INSTALLED) {
        println!("not tried: {python} says: {said}");
        return None;
    }
    assert!(ended.status.success(), "{said}");
    Some(serde_json::from_slice(&ended.stdout).unwrap())
}

#[test]
fn zarr_of_python_opens_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (content, names) in [(Content::Volume, ["z", "y", "x"]), (Content::Images, ["t", "y", "x"])] {
        let path = folder.path().join(format!("{}.zarr", names[0]));
        // Two scales; chunks that are not full along every axis.
        let stack: Stack = noise(Shape::new(67, 70, 150).unwrap(), 3);
        write(&path, &stack, &Output::new(content, 2.5)).unwrap();
        let Some(told) = told("ome_zarr_opens.py", &path) else { return };
        println!("versions {}", told["versions"]);
        for (axis, name) in told["axes"].as_array().unwrap().iter().zip(names) {
            assert_eq!(axis[0], name);
            assert_eq!(axis[2].as_str(), (name != "t").then_some("angstrom"), "{name}");
        }
        let [whole, half] = &told["scales"].as_array().unwrap()[..] else { panic!("two scales: {told}") };
        assert_eq!(whole["shape"], serde_json::json!([67, 70, 150]));
        let of_sections = if content == Content::Volume { 34 } else { 67 };
        assert_eq!(half["shape"], serde_json::json!([of_sections, 35, 75]));
        for (place, [z, y, x]) in [[0, 0, 0], [66, 69, 149], [33, 35, 75]].into_iter().enumerate() {
            assert_eq!(whole["at"][place], f64::from(stack.at(z, y, x)));
        }
        assert_eq!(whole["transformations"][0]["scale"][2], 2.5);
        assert_eq!(half["transformations"][0]["scale"][2], 5.0);
        assert_eq!(half["transformations"][1]["translation"][2], 1.25);
    }
}
