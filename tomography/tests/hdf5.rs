//! Files of HDF5: what is written is read again, as tomviz has it, and what is not an array of numbers is refused.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails its test")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "small numbers, which are read as they were written"
)]

use hdf5::types::{FixedAscii, VarLenUnicode};
use ndarray::{Array1, Array3, ArrayD, Ix3};
use parthood_tomography::io::mrc::{Content, Output};
use parthood_tomography::io::{Format, Order, Source, Survey, check_different, check_writable, write};
use parthood_tomography::{Shape, Stack};
use std::fs;
use std::path::{Path, PathBuf};

fn pattern([planes, rows, columns]: [usize; 3]) -> Stack {
    let shape = Shape::new(planes, rows, columns).unwrap();
    Stack::from_fn(shape, |z, y, x| ((z * 7919 + y * 104_729 + x * 31) % 1009) as f32 / 8.0 - 60.0)
}

fn output(content: Content) -> Output {
    let mut output = Output::new(content, 2.5);
    output.labels = vec!["made up".to_owned(), "by a formula".to_owned()];
    output
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Why a file is not opened.
fn refused(path: &Path) -> String {
    Source::open(path).err().expect("it is refused").to_string()
}

#[test]
fn volumes_and_series_are_given_back_by_any_rows() {
    let folder = tempfile::tempdir().unwrap();
    // Two layers of chunks along z, and chunks that are not full along every axis.
    for (content, name) in [(Content::Volume, "a.emd"), (Content::Images, "b.h5")] {
        let stack = pattern([67, 70, 75]);
        let path = folder.path().join(name);
        let mut output = output(content);
        let angles: Vec<f64> = (0..67).map(|image| f64::from(image) * 1.5 - 50.0).collect();
        output.angles_deg = (content == Content::Images).then(|| angles.clone());
        check_writable(&path).unwrap();
        write(&path, &stack, &output).unwrap();
        let mut source = Source::open(&path).unwrap();
        assert!(source.read(Order::Planes).unwrap() == stack, "{name}");
        for rows in [0..1, 15..17, 63..66, 69..70] {
            assert_eq!(
                source.rows(Order::Planes, rows.clone()).unwrap(),
                stack.rows(rows).unwrap(),
                "{name}"
            );
        }
        assert!((source.pixel_angstrom().unwrap() - 2.5).abs() < 1e-5);
        assert_eq!(source.labels(), ["made up", "by a formula"]);
        assert_eq!(source.angles().unwrap(), output.angles_deg);
        assert_eq!(Survey::of(&path).unwrap().shape(), stack.shape());
        let before = fs::read(&path).unwrap();
        write(&path, &stack, &output).unwrap();
        assert!(fs::read(&path).unwrap() == before, "the same file of the same data");
    }
    let mut found = names(folder.path());
    found.sort();
    assert_eq!(found, ["a.emd", "b.h5"], "nothing else is left");
}

/// tomviz has [x][y][z] of a volume and [angle][y][x] of a series, lengths in nanometres.
#[test]
fn the_layout_is_that_of_tomviz() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, series) = (folder.path().join("v.emd"), folder.path().join("s.emd"));
    let stack = pattern([3, 4, 5]);
    write(&volume, &stack, &output(Content::Volume)).unwrap();
    let file = hdf5::File::open(&volume).unwrap();
    let group = file.group("/data/tomography").unwrap();
    assert_eq!(group.attr("emd_group_type").unwrap().read_scalar::<u32>().unwrap(), 1);
    assert_eq!(file.attr("version_minor").unwrap().read_scalar::<u32>().unwrap(), 2);
    let data: Array3<f32> = group.dataset("data").unwrap().read::<f32, Ix3>().unwrap();
    assert_eq!(data.shape(), [5, 4, 3]);
    assert!(data.indexed_iter().all(|((x, y, z), value)| *value == stack.at(z, y, x)));
    let places: Array1<f32> = group.dataset("dim2").unwrap().read().unwrap();
    assert_eq!(places.to_vec(), [0.0, 0.25, 0.5, 0.75]);
    let unit = group.dataset("dim2").unwrap().attr("units").unwrap();
    assert_eq!(unit.read_scalar::<FixedAscii<16>>().unwrap().as_str(), "[n_m]");
    let mut output = output(Content::Images);
    output.angles_deg = Some(vec![-60.0, 0.0, 45.5]);
    write(&series, &stack, &output).unwrap();
    let group = hdf5::File::open(&series).unwrap().group("/data/tomography").unwrap();
    let data: Array3<f32> = group.dataset("data").unwrap().read::<f32, Ix3>().unwrap();
    assert!(data.indexed_iter().all(|((image, y, x), value)| *value == stack.at(image, y, x)));
    assert_eq!(group.dataset("dim1").unwrap().read_raw::<f32>().unwrap(), [-60.0, 0.0, 45.5]);
    output.angles_deg = Some(vec![0.0]);
    assert!(write(&series, &stack, &output).unwrap_err().to_string().contains("number of angles is 3"));
    output = Output { order: Order::Rows, ..output };
    assert!(write(&series, &stack, &output).unwrap_err().to_string().contains("IMOD"));
}

/// A file with some arrays of a type, by their names.
fn with_arrays<T: hdf5::H5Type + Copy>(path: &Path, value: T, arrays: &[(&str, &[usize])]) {
    let file = hdf5::File::create(path).unwrap();
    for (name, shape) in arrays {
        if let Some((folder, _)) = name.rsplit_once('/')
            && !folder.is_empty()
            && file.group(folder).is_err()
        {
            file.create_group(folder).unwrap();
        }
        let data = ArrayD::from_elem(*shape, value);
        file.new_dataset_builder().with_data(&data).create(*name).unwrap();
    }
}

#[test]
fn the_array_is_the_only_one_or_the_one_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.h5");
    with_arrays(&path, 3_i16, &[("/one", &[2, 3, 4]), ("/inner/two", &[5, 6, 7]), ("/flat", &[8, 9])]);
    let said = refused(&path);
    assert!(said.contains("many.h5:/inner/two") || said.contains("many.h5:/one"), "{said}");
    assert!(said.contains("/one") && said.contains("/inner/two") && !said.contains("/flat"), "{said}");
    let named = |name: &str| PathBuf::from(format!("{}:{name}", path.display()));
    assert_eq!(Format::of(&named("/one")), Format::Hdf5);
    let mut one = Source::open(&named("/inner/two")).unwrap();
    assert_eq!(one.shape(Order::Planes).unwrap().to_array(), [5, 6, 7]);
    assert_eq!(one.read(Order::Planes).unwrap().at(4, 5, 6), 3.0);
    assert!(one.pixel_angstrom().unwrap_err().to_string().contains("given by hand"));
    assert!(refused(&named("/none")).contains("many.h5:/none: cannot read this dataset"));
    assert!(refused(&named("/flat")).contains("the shape of /flat is [8, 9]; it must be of three axes"));
    // A name behind the file's is none to write to, nor does it hide an input.
    assert!(check_writable(&named("/one")).unwrap_err().to_string().contains("the array to write is /one"));
    assert!(check_different([&*named("/one")], [&*path]).is_err());
    // Data Exchange is known by its name.
    let path = folder.path().join("exchange.h5");
    with_arrays(&path, 1.5_f64, &[("/exchange/data", &[2, 3, 4]), ("/exchange/data_white", &[1, 3, 4])]);
    let file = hdf5::File::open_rw(&path).unwrap();
    file.new_dataset_builder().with_data(&[-10.0_f64, 20.0]).create("/exchange/theta").unwrap();
    file.close().unwrap();
    let source = Source::open(&path).unwrap();
    assert_eq!(source.shape(Order::Planes).unwrap().to_array(), [2, 3, 4]);
    assert_eq!(source.angles().unwrap(), Some(vec![-10.0, 20.0]));
}

/// Axes are found by their names, and lengths and angles in other units.
#[test]
fn axes_have_names_and_units() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("named.emd");
    let file = hdf5::File::create(&path).unwrap();
    let group = file.create_group("/data/volume").unwrap();
    let data = Array3::from_shape_fn((2, 3, 4), |(y, z, x)| (100 * z + 10 * y + x) as u16);
    group.new_dataset_builder().with_data(&data).create("data").unwrap();
    for (dim, name, unit, count) in [("dim1", "y", "A", 2), ("dim2", "z", "A", 3), ("dim3", "x", "A", 4)] {
        let places: Vec<f64> = (0..count).map(|at| 1.25 * f64::from(at)).collect();
        let dim = group.new_dataset_builder().with_data(&places).create(dim).unwrap();
        for (attribute, text) in [("name", name), ("units", unit)] {
            let text: VarLenUnicode = text.parse().unwrap();
            dim.new_attr::<VarLenUnicode>().create(attribute).unwrap().write_scalar(&text).unwrap();
        }
    }
    file.close().unwrap();
    let mut source = Source::open(&path).unwrap();
    let stack = source.read(Order::Planes).unwrap();
    assert_eq!(stack.shape().to_array(), [3, 2, 4]);
    assert_eq!(stack.at(2, 1, 3), 213.0);
    assert!((source.pixel_angstrom().unwrap() - 1.25).abs() < 1e-12);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5");
    assert!(refused(&path).contains("a.h5: cannot open"));
    fs::write(&path, "years of work").unwrap();
    assert!(refused(&path).contains("a.h5: cannot read as HDF5"));
    with_arrays(&path, true, &[("/data", &[2, 3, 4])]);
    assert!(refused(&path).contains("the type of /data is bool"));
    with_arrays(&path, 1_u8, &[("/data", &[2, 3])]);
    assert!(refused(&path).contains("the number of arrays of three axes is 0"));
    // Far more than is stored, and a value that is no number.
    let file = hdf5::File::create(&path).unwrap();
    let builder = file.new_dataset::<f32>().chunk((64, 64, 64));
    builder.shape((1 << 20, 1 << 20, 1 << 20)).create("huge").unwrap();
    file.close().unwrap();
    assert!(refused(&path).contains("the number of bytes stored is 0"));
    with_arrays(&path, f32::NAN, &[("/data", &[2, 3, 4])]);
    let error = Source::open(&path).unwrap().read(Order::Planes).unwrap_err().to_string();
    assert!(error.contains("row 0, column 0 is NaN"), "{error}");
    // A file that was cut off.
    write(&path, &pattern([3, 40, 50]), &output(Content::Volume)).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in [whole.len() / 2, whole.len() - 1000] {
        fs::write(&path, &whole[..length]).unwrap();
        let read = Source::open(&path).and_then(|mut source| source.read(Order::Planes));
        assert!(read.is_err(), "{length} of {}", whole.len());
    }
    assert_eq!(names(folder.path()), ["a.h5"]);
}
