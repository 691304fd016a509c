//! Every format gives back what it was given, by any rows and in either order, and refuses what is damaged.

use super::mrc::{Content, Output};
use super::*;
use crate::testing::noise;
use crate::{Shape, Stack};
use flate2::Compression;
use proptest::prelude::*;
use std::io::Cursor;

const NAMES: [&str; 4] = ["a.mrc", "a.npy", "a.tif", "a.zarr"];

fn output(order: Order) -> Output {
    let mut output = Output::new(Content::Volume, 2.5);
    (output.order, output.labels) = (order, vec!["made up".to_owned(), "of noise".to_owned()]);
    output
}

#[test]
fn every_format_gives_back_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let stack = noise(Shape::new(5, 70, 131).unwrap(), 1);
    for (name, order) in NAMES.into_iter().flat_map(|name| [(name, Order::Planes), (name, Order::Rows)]) {
        let path = folder.path().join(name);
        check_writable(&path).unwrap();
        write(&path, &stack, &output(order)).unwrap();
        let mut source = Source::open(&path).unwrap();
        assert_eq!(source.shape(order).unwrap(), stack.shape(), "{name}");
        assert!(source.read(order).unwrap() == stack, "{name} {order:?}");
        for rows in [0..1, 15..17, 63..66, 69..70] {
            assert_eq!(source.rows(order, rows.clone()).unwrap(), stack.rows(rows).unwrap(), "{name}");
        }
        assert!(source.rows(order, 69..71).is_err() && source.rows(order, 3..3).is_err());
        if name == "a.npy" {
            assert!(source.pixel_angstrom().unwrap_err().to_string().contains("given by hand"));
        } else {
            assert!((source.pixel_angstrom().unwrap() - 2.5).abs() < 1e-6, "{name}");
            assert_eq!(source.labels(), ["made up", "of noise"], "{name}");
        }
        // The same data give the same file, and a file is replaced.
        let before = source.identity();
        write(&path, &stack, &output(order)).unwrap();
        assert_eq!(Source::open(&path).unwrap().identity(), before);
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, NAMES, "nothing else is left");
}

/// IMOD leaves a reconstruction with sections of constant y, whose lines are z. `clip rotx` makes section k of its output from
/// the lines `ny - 1 - k`, in the order of the sections: a rotation, which leaves no mirror image.
#[test]
fn the_order_of_imod_is_a_rotation_about_x() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mrc");
    // As IMOD leaves it: 6 sections of 5 lines of 4 columns.
    let left = noise(Shape::new(6, 5, 4).unwrap(), 1);
    write(&path, &left, &output(Order::Planes)).unwrap();
    let turned = Source::open(&path).unwrap().read(Order::Rows).unwrap();
    assert_eq!(turned.shape(), Shape::new(5, 6, 4).unwrap());
    let by_clip = Stack::from_fn(turned.shape(), |z, y, x| left.at(y, 4 - z, x));
    assert_eq!(turned, by_clip);
}

#[test]
fn values_that_are_no_numbers_are_named_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut stack = noise(Shape::new(3, 8, 9).unwrap(), 1);
    *stack.at_mut(1, 5, 7) = f32::NAN;
    for name in &NAMES[1..] {
        let path = folder.path().join(name);
        write(&path, &stack, &output(Order::Planes)).unwrap();
        let error = Source::open(&path).unwrap().read(Order::Planes).unwrap_err().to_string();
        assert!(error.contains("section 1, row 5, column 7 is NaN"), "{name}: {error}");
    }
}

#[test]
fn a_folder_that_is_no_zarr_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.zarr");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("thesis.tex"), "years of work").unwrap();
    assert!(check_writable(&path).unwrap_err().to_string().contains("that of a folder"));
    let stack = noise(Shape::new(2, 3, 4).unwrap(), 1);
    assert!(write(&path, &stack, &output(Order::Planes)).is_err());
    assert_eq!(std::fs::read_to_string(path.join("thesis.tex")).unwrap(), "years of work");
}

#[test]
fn room_is_looked_at_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not/yet/there.mrc");
    check_room(&path, 1).unwrap();
    let error = check_room(&path, u64::MAX).unwrap_err().to_string();
    assert!(error.contains("there.mrc: about 17592186044416 MiB are needed"), "{error}");
    assert_eq!(taken(&path), 0);
    let inner = folder.path().join("parts/inner");
    std::fs::create_dir_all(&inner).unwrap();
    let before = taken(folder.path());
    std::fs::write(inner.join("volume"), vec![7; 1 << 20]).unwrap();
    File::create(inner.join("hole")).unwrap().set_len(1 << 30).unwrap();
    let more = taken(folder.path()) - before;
    assert!((1 << 20..2 << 20).contains(&more), "a hole takes nothing: {more}");
}

#[test]
fn what_writing_takes_is_a_section_or_a_layer_of_chunks() {
    let shape = Shape::new(200, 30, 40).unwrap();
    let bytes = |name: &str, order| writing_bytes(Path::new(name), shape, order);
    assert_eq!(bytes("a.mrc", Order::Planes), 2 * 4 * 30 * 40);
    assert_eq!(bytes("a.tif", Order::Rows), 2 * 4 * 200 * 40);
    assert_eq!(bytes("a.zarr", Order::Planes), (2 * 64 + 4) * 4 * 30 * 40);
}

/// Pages that claim 2^15 x 2^15 pixels where there are twenty.
#[test]
fn a_tiff_that_claims_more_than_it_can_hold_is_refused_before_memory_is_taken() {
    let mut bytes = bytes_of("a.tif");
    let entry = |tag: u16| {
        [tag.to_le_bytes(), 4_u16.to_le_bytes(), 1_u16.to_le_bytes(), 0_u16.to_le_bytes()].concat()
    };
    let mut changed = 0;
    for (tag, extent) in [(256, 5_u32), (257, 4)] {
        let claim = [entry(tag), extent.to_le_bytes().to_vec()].concat();
        for at in 0..bytes.len() - claim.len() {
            if bytes[at..].starts_with(&claim) {
                bytes[at + 8..at + 12].copy_from_slice(&(1_u32 << 15).to_le_bytes());
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 6, "three pages");
    let error = tiff::Reader::new(Cursor::new(bytes), Path::new("a.tif")).err().unwrap().to_string();
    assert!(error.contains("a.tif: the number of bytes stored is"), "{error}");
}

#[test]
fn what_is_cut_off_or_no_file_is_told_as_that() {
    let mut bytes = bytes_of("a.tif");
    bytes.truncate(bytes.len() / 2);
    let error = tiff::Reader::new(Cursor::new(bytes), Path::new("a.tif")).err().unwrap().to_string();
    assert_eq!(error, "a.tif: the TIFF is cut off; it must be as long as its header says");
    let error = Source::open(Path::new("/dev/null")).err().unwrap().to_string();
    assert_eq!(error, "/dev/null: the name is that of a pipe or a device; it must be that of a file");
}

/// `ImageJ` writes a stack beyond 4 GiB as one page, with the others' pixels behind it and their number in the description.
#[test]
fn a_stack_of_one_page_that_says_it_has_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    write(&path, &noise(Shape::new(1, 4, 5).unwrap(), 1), &output(Order::Planes)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|text| text == b"images=1").unwrap();
    tiff::Reader::new(Cursor::new(bytes.clone()), &path).unwrap();
    bytes[at + 7] = b'3';
    let error = tiff::Reader::new(Cursor::new(bytes), &path).err().unwrap().to_string();
    assert!(
        error.contains("a.tif: the number of pages is 1; it must be 3, as its description says"),
        "{error}"
    );
}

/// Sections that note which of them are decoded. The first and the last have a value that is no number.
struct Noting(Vec<usize>);

impl Sections for Noting {
    fn path(&self) -> &Path {
        Path::new("noting")
    }

    fn size(&self) -> [usize; 3] {
        [5, 4, 3]
    }

    fn lines(&mut self, section: usize, _: std::ops::Range<usize>, values: &mut [f32]) -> Result<()> {
        self.0.push(section);
        values.fill(if section == 1 { 0.0 } else { f32::NAN });
        Ok(())
    }

    fn held_bytes(&self) -> [u64; 2] {
        [0, 0]
    }

    fn identity(&self) -> String {
        String::new()
    }
}

/// The last section is decoded before memory is taken for all of them; the first that is wrong is named.
#[test]
fn the_last_section_is_decoded_first_and_the_first_that_is_wrong_is_named() {
    let mut noting = Noting(Vec::new());
    let error = source::rows(&mut noting, Order::Planes, 0..4).unwrap_err().to_string();
    assert!(error.contains("section 0, row 0, column 0 is NaN"), "{error}");
    assert_eq!(noting.0, [2, 0]);
}

mod numpy {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
    }

    fn values(header: &str, data: &[u8]) -> Result<Vec<f32>> {
        let bytes = file(header, data);
        let mut reader = npy::Reader::new(Cursor::new(bytes), Path::new("a.npy"))?;
        let [columns, lines, sections] = reader.size();
        let mut values = vec![0.0; columns * lines * sections];
        for (section, values) in values.chunks_exact_mut(columns * lines).enumerate() {
            reader.lines(section, 0..lines, values)?;
        }
        Ok(values)
    }

    /// As `numpy.save` of numpy 2 writes them.
    #[test]
    fn types_are_read_as_numpy_writes_them() {
        for (kind, data, expected) in [
            ("<f4", [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat(), [1.5, -2.0]),
            (">f4", [1.5_f32.to_be_bytes(), (-2.0_f32).to_be_bytes()].concat(), [1.5, -2.0]),
            ("<f8", [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat(), [1.5, -2.0]),
            ("<f2", vec![0x00, 0x3E, 0x00, 0xC0], [1.5, -2.0]),
            ("|i1", vec![7, 0xFE], [7.0, -2.0]),
            ("|u1", vec![7, 0xFE], [7.0, 254.0]),
            (">i2", vec![0, 7, 0xFF, 0xFE], [7.0, -2.0]),
            ("<u2", vec![7, 0, 0xFE, 0xFF], [7.0, 65534.0]),
            ("<i4", vec![7, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF], [7.0, -2.0]),
            ("|b1", vec![1, 0], [1.0, 0.0]),
        ] {
            let header =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 2), }}          \n");
            assert_eq!(values(&header, &data).unwrap(), expected, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let with = |kind: &str, order: &str, shape: &str, bytes: usize| {
            let header = format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}");
            values(&header, &vec![0; bytes]).unwrap_err().to_string()
        };
        let complex = with("'<c8'", "False", "(1, 1, 1)", 8);
        assert!(complex.contains("descr of the header is '<c8'; it must be"), "{complex}");
        let turned = with("'<f4'", "True", "(1, 1, 1)", 4);
        assert!(turned.contains("fortran_order of the header is True; it must be False"), "{turned}");
        let negative = with("'<f4'", "False", "(1, -1, 1)", 4);
        assert!(negative.contains("shape of the header is (1, -1, 1); it must be"), "{negative}");
        assert!(with("[('a', '<f4')]", "False", "(1, 1, 1)", 4).contains("descr"));
        assert!(with("'<f4'", "True", "(1, 1, 1)", 4).contains("ascontiguousarray"));
        for shape in ["(1,)", "(1, 0, 1)", "(1, 2, 3, 4)", "1", "(1, -1, 1)", "(99999999999999999999, 1, 1)"]
        {
            assert!(with("'<f4'", "False", shape, 4).contains("shape of the header"), "{shape}");
        }
        let lying = with("'<f4'", "False", "(4294967295, 4294967295, 4294967295)", 4);
        assert!(lying.contains("the length of the file"), "{lying}");
        assert!(with("'<f4'", "False", "(1, 1, 2)", 4).contains("the length of the file"));
        let newer = npy::Reader::new(Cursor::new(b"\x93NUMPY\x04\x00\x00\x00\x00\x00"), Path::new("a.npy"));
        assert!(
            newer.unwrap_err().to_string().contains("the version of the format is 4; it must be 1, 2 or 3")
        );
        let other = npy::Reader::new(Cursor::new(b"PK\x03\x04 an archive of them"), Path::new("a.npz"));
        assert!(other.unwrap_err().to_string().contains("the beginning"));
    }
}

mod zarrs {
    use super::*;
    use std::io::Write as _;

    /// A small array as another program might leave it.
    fn array(folder: &Path, more: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let text = format!(
            "{{\"zarr_format\": 2, \"shape\": [1, 2, 3, 5], \"chunks\": [1, 2, 2, 4], \"fill_value\": 9, \"order\": \"C\", \
             \"filters\": null, {more}}}"
        );
        std::fs::write(folder.join(".zarray"), text).unwrap();
    }

    #[test]
    fn chunks_may_be_compressed_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        for (compressor, gzip) in [
            ("null", None),
            ("{\"id\": \"zlib\", \"level\": 1}", Some(false)),
            ("{\"id\": \"gzip\"}", Some(true)),
        ] {
            array(folder.path(), &format!("\"dtype\": \"<u2\", \"compressor\": {compressor}"));
            let plain: Vec<u8> = (0..16_u16).flat_map(u16::to_le_bytes).collect();
            let bytes = match gzip {
                None => plain,
                Some(false) => {
                    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(&plain).unwrap();
                    encoder.finish().unwrap()
                }
                Some(true) => {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(&plain).unwrap();
                    encoder.finish().unwrap()
                }
            };
            std::fs::write(folder.path().join("0.0.0.0"), &bytes).unwrap();
            let stack = zarr::Reader::open(folder.path())
                .and_then(|mut reader| source::rows(&mut reader, Order::Planes, 0..3))
                .unwrap();
            assert_eq!([stack.at(0, 0, 3), stack.at(1, 1, 0), stack.at(1, 1, 3)], [3.0, 12.0, 15.0]);
            assert_eq!(
                [stack.at(0, 0, 4), stack.at(1, 2, 0)],
                [9.0, 9.0],
                "chunks that are not there are fill"
            );
            std::fs::write(folder.path().join("0.0.0.0"), &bytes[..bytes.len() - 1]).unwrap();
            let cut = zarr::Reader::open(folder.path())
                .and_then(|mut reader| source::rows(&mut reader, Order::Planes, 0..3));
            assert!(cut.is_err(), "{compressor}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let with = |more: &str| {
            array(folder.path(), more);
            zarr::Reader::open(folder.path()).unwrap_err().to_string()
        };
        assert!(
            with("\"dtype\": \"<f4\", \"compressor\": {\"id\": \"blosc\"}").contains("zlib, gzip or null")
        );
        assert!(with("\"dtype\": \"<c8\", \"compressor\": null").contains("dtype is <c8"));
        assert!(with("\"dtype\": 3, \"compressor\": null").contains("the description of an array"));
        std::fs::write(
            folder.path().join(".zattrs"),
            "{\"multiscales\": [{\"datasets\": [{\"path\": \"../../etc\"}]}]}",
        )
        .unwrap();
        assert!(with("\"dtype\": \"<f4\", \"compressor\": null").contains("a folder within this one"));
        std::fs::write(folder.path().join("zarr.json"), "{}").unwrap();
        assert!(with("\"dtype\": \"<f4\", \"compressor\": null").contains("zarr_format=2"));
    }

    #[test]
    fn what_is_filled_takes_no_memory_and_must_be_a_number_where_it_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let with = |shape: &str, chunks: &str, fill: &str| {
            let text = format!(
                "{{\"zarr_format\": 2, \"shape\": {shape}, \"chunks\": {chunks}, \"fill_value\": {fill}, \"order\": \"C\", \
                 \"filters\": null, \"dtype\": \"<f4\", \"compressor\": null}}"
            );
            std::fs::write(folder.path().join(".zarray"), text).unwrap();
            let reader = zarr::Reader::open(folder.path());
            reader.and_then(|mut reader| source::rows(&mut reader, Order::Planes, 0..3))
        };
        // A chunk of a gigabyte, of which three rows are seen.
        let stack = with("[2, 3, 5]", "[1024, 512, 512]", "2.5").unwrap();
        assert_eq!((stack.at(1, 2, 4), stack.at(0, 0, 0)), (2.5, 2.5));
        assert_eq!(with("[2, 3, 5]", "[1, 2, 2]", "null").unwrap().at(1, 2, 4), 0.0);
        let nan = with("[2, 3, 5]", "[1, 2, 2]", "\"NaN\"").unwrap_err().to_string();
        assert!(nan.contains("section 0, row 0, column 0 is NaN"), "{nan}");
        assert!(with("[2, 3, 5]", "[1, 2, 2]", "\"x\"").unwrap_err().to_string().contains("fill_value"));
        let huge = with("[1048576, 1048576, 1048576]", "[64, 64, 64]", "0").unwrap_err().to_string();
        assert!(huge.contains(".zarray: the number of bytes stored is "), "{huge}");
        assert!(with("[18446744073709551615, 2, 2]", "[1, 1, 1]", "0").is_err());
    }

    /// The second scale is the mean of eight, or of those there are.
    #[test]
    fn smaller_scales_are_means() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let stack = noise(Shape::new(5, 67, 131).unwrap(), 1);
        write(&path, &stack, &output(Order::Planes)).unwrap();
        let attributes: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path.join(".zattrs")).unwrap()).unwrap();
        assert_eq!(attributes["multiscales"][0]["datasets"].as_array().unwrap().len(), 2);
        assert_eq!(attributes["multiscales"][0]["axes"][2]["name"], "x");
        let half = zarr::Reader::open(&path.join("1"))
            .and_then(|mut reader| source::rows(&mut reader, Order::Planes, 0..34))
            .unwrap();
        assert_eq!(half.shape(), Shape::new(3, 34, 66).unwrap());
        for (plane, row, column) in [(0, 0, 0), (1, 17, 33), (2, 33, 65), (2, 0, 65)] {
            let covered: Vec<f64> = (2 * plane..(2 * plane + 2).min(5))
                .flat_map(|z| (2 * row..(2 * row + 2).min(67)).map(move |y| (z, y)))
                .flat_map(|(z, y)| (2 * column..(2 * column + 2).min(131)).map(move |x| (z, y, x)))
                .map(|(z, y, x)| f64::from(stack.at(z, y, x)))
                .collect();
            let mean = covered.iter().sum::<f64>() / covered.len() as f64;
            assert!((f64::from(half.at(plane, row, column)) - mean).abs() < 1e-6, "{plane} {row} {column}");
        }
    }
}

/// The bytes of a small file in a format.
fn bytes_of(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, &noise(Shape::new(3, 4, 5).unwrap(), 1), &output(Order::Planes)).unwrap();
    std::fs::read(&path).unwrap()
}

proptest! {
    /// Whatever a file holds, there is an answer or an error.
    #[test]
    fn damaged_files_do_no_harm(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()
    ) {
        for name in ["a.npy", "a.tif"] {
            let mut bytes = bytes_of(name);
            for (at, value) in &flips {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let cut = cut.index(2 * bytes.len()).min(bytes.len());
            bytes.truncate(cut);
            let path = Path::new(name);
            let read: Result<Stack> = if name == "a.npy" {
                npy::Reader::new(Cursor::new(bytes), path).and_then(|mut reader| source::rows(&mut reader, Order::Planes, 0..1))
            } else {
                tiff::Reader::new(Cursor::new(bytes), path).and_then(|mut reader| source::rows(&mut reader, Order::Planes, 0..1))
            };
            if let Err(error) = read {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    /// The same for the description of an array and a chunk of it.
    #[test]
    fn damaged_folders_do_no_harm(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"0123456789-,[]{}\"enf "[..])), 1..6),
        which in 0_usize..2,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let stack = noise(Shape::new(3, 4, 5).unwrap(), 1);
        write(&path, &stack, &output(Order::Planes)).unwrap();
        let file = path.join(["0/.zarray", "0/0/0/0"][which]);
        let mut bytes = std::fs::read(&file).unwrap();
        for (at, value) in &flips {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        std::fs::write(&file, bytes).unwrap();
        if let Err(error) = Source::open(&path).and_then(|mut source| source.read(Order::Planes)) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[cfg(not(feature = "hdf5"))]
#[test]
fn without_its_library_hdf5_is_named_as_what_it_is() {
    for name in ["a.h5", "b.EMD", "c.hdf5:/exchange/data"] {
        let said = Source::open(Path::new(name)).err().unwrap().to_string();
        assert!(said.contains("the format is HDF5") && said.contains("--features hdf5"), "{said}");
    }
    assert_eq!(Format::of(Path::new("a.h5:b/c.mrc")), Format::Mrc);
    assert!(
        check_writable(Path::new("a.h5:/b")).unwrap_err().to_string().contains("the array to write is /b")
    );
}
