//! What programs of others make of what is written here, where they are installed.

use super::mrc::{Content, Order, Output};
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
        let Some(layers) = told["layers"].as_array() else { continue };
        println!("opened in napari: {layers:?}");
        let first = if content == Content::Volume { 2.5 } else { 1.0 };
        assert_eq!(
            layers,
            &[serde_json::json!(["image", true, [whole["shape"], half["shape"]], [first, 2.5, 2.5]])]
        );
    }
}

/// What OME-NGFF 0.4 asks of the description of an image of several scales, field by field, for where no validator is
/// installed: <https://ngff.openmicroscopy.org/0.4/>.
#[test]
fn what_is_written_is_an_image_of_ome_ngff_0_4() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).expect("it is there")).unwrap()
    };
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    for (content, order) in
        [(Content::Volume, Order::Planes), (Content::Volume, Order::Rows), (Content::Images, Order::Planes)]
    {
        let path = folder.path().join("a.zarr");
        let stack: Stack = noise(Shape::new(9, 70, 300).unwrap(), 3);
        write(&path, &stack, &Output { order, ..Output::new(content, 2.5) }).unwrap();
        assert_eq!(read(&path.join(".zgroup"))["zarr_format"], 2);
        let attributes = read(&path.join(".zattrs"));
        let [image] = &attributes["multiscales"].as_array().unwrap()[..] else { panic!("one image") };
        assert_eq!(image["version"], "0.4");
        assert!(image["name"].is_string() && image["type"].is_string());
        // Two to five axes of different names, time before space, of which there are two or three.
        let axes = image["axes"].as_array().unwrap();
        let kinds: Vec<&str> = axes.iter().map(|axis| axis["type"].as_str().unwrap()).collect();
        let of_space = kinds.iter().filter(|kind| **kind == "space").count();
        assert!(
            (2..=3).contains(&of_space) && kinds[axes.len() - of_space..].iter().all(|kind| *kind == "space")
        );
        assert!(kinds[..axes.len() - of_space].iter().all(|kind| *kind == "time"));
        let names: std::collections::BTreeSet<&str> =
            axes.iter().map(|axis| axis["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), axes.len());
        // "angstrom" is in the list of units of space.
        assert!(axes.iter().all(|axis| axis["type"] != "space" || axis["unit"] == "angstrom"));
        let mut larger = f64::INFINITY;
        let scales = image["datasets"].as_array().unwrap();
        assert_eq!(scales.len(), 3, "300, 150 and 75 columns");
        for dataset in scales {
            let array = read(&path.join(dataset["path"].as_str().unwrap()).join(".zarray"));
            assert_eq!((&array["zarr_format"], &array["dimension_separator"]), (&2.into(), &"/".into()));
            let extents = numbers(&array["shape"]);
            assert_eq!((extents.len(), numbers(&array["chunks"]).len()), (axes.len(), axes.len()));
            let values: f64 = extents.iter().product();
            assert!(values < larger, "the largest scale is first");
            larger = values;
            // One scale, then at most one translation, with a number for each axis.
            let [scale, translation] = &dataset["coordinateTransformations"].as_array().unwrap()[..] else {
                panic!("a scale and a translation: {dataset}")
            };
            assert_eq!((&scale["type"], &translation["type"]), (&"scale".into(), &"translation".into()));
            let sides = numbers(&scale["scale"]);
            assert!(sides.len() == axes.len() && sides.iter().all(|side| *side > 0.0));
            assert_eq!(numbers(&translation["translation"]).len(), axes.len());
            // A voxel covers as many of the first scale's as it is larger, up to what the ends lack.
            let whole = numbers(&read(&path.join("0/.zarray"))["shape"]);
            for (axis, side) in sides.iter().enumerate() {
                let times = if kinds[axis] == "space" { side / 2.5 } else { *side };
                assert_eq!(extents[axis], (whole[axis] / times).ceil(), "{dataset}");
            }
        }
    }
}
