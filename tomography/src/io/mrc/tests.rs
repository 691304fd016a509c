use super::*;
use crate::io::write;
use crate::testing::noise;
use proptest::prelude::*;
use std::io::Cursor;

fn name() -> &'static Path {
    Path::new("tilts.mrc")
}

/// The bytes of a file.
fn bytes_of(stack: &Stack, output: &Output) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    encode(&mut bytes, name(), output.order, &mut output.header(stack.shape())?, &mut |section, values| {
        source::section_of(stack, output.order, section, values);
        Ok(())
    })?;
    Ok(bytes.into_inner())
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>> {
    Reader::new(Cursor::new(bytes), name())
}

/// Values that a mode holds exactly.
fn exact(mode: Mode, shape: Shape, seed: u64) -> Stack {
    let mut stack = noise(shape, seed);
    stack.update([], |value, []| match mode {
        Mode::I8 => (value * 128.0).floor(),
        Mode::U8 => (value.abs() * 255.0).floor(),
        Mode::I16 => (value * 32_768.0).floor(),
        Mode::U16 => (value.abs() * 65_535.0).floor(),
        Mode::U4 => (value.abs() * 15.0).round(),
        Mode::F16 => (value * 1024.0).floor() / 64.0,
        Mode::F32 => value * 1e3,
    });
    stack
}

fn small() -> (Stack, Output) {
    (noise(Shape::new(3, 4, 5).unwrap(), 1), Output::new(Content::Images, 2.5))
}

/// The bytes of a small file with some of them changed.
fn changed(at: usize, value: &[u8]) -> Vec<u8> {
    let (stack, output) = small();
    let mut bytes = bytes_of(&stack, &output).unwrap();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

/// The field that an error names.
fn field<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Content { path, field, .. }) if path == name() => field,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        (planes, rows, columns) in (1_usize..6, 1_usize..36, 1_usize..20),
        mode in prop::sample::select(&Mode::ALL[..]),
        big in any::<bool>(),
        by_rows in any::<bool>(),
        volume in any::<bool>(),
        pixel_angstrom in 0.01_f64..1e3,
        labels in prop::collection::vec("[!-~]([ -~]{0,78}[!-~])?", 0..=10),
        extended in prop::collection::vec(any::<u8>(), 0..300),
        seed in any::<u64>(),
    ) {
        let stack = exact(mode, Shape::new(planes, rows, columns).unwrap(), seed);
        let output = Output {
            content: if volume { Content::Volume } else { Content::Images },
            mode,
            endian: if big { Endian::Big } else { Endian::Little },
            order: if by_rows { Order::Rows } else { Order::Planes },
            pixel_angstrom,
            labels,
            extended: Extended { kind: *b"TEST", bytes: extended },
            angles_deg: None,
        };
        let bytes = bytes_of(&stack, &output).unwrap();
        let mut reader = open(&bytes).unwrap();
        prop_assert_eq!(reader.read(output.order).unwrap(), stack.clone());
        let part = rows / 3..(rows / 3 + 1 + rows / 2).min(rows);
        prop_assert_eq!(reader.rows(output.order, part.clone()).unwrap(), stack.rows(part).unwrap());
        let header = reader.header();
        prop_assert_eq!((header.mode, header.endian), (mode, output.endian));
        prop_assert_eq!((&header.labels, &header.extended), (&output.labels, &output.extended));
        prop_assert_eq!(header.space_group, i32::from(volume));
        prop_assert!((reader.pixel_angstrom().unwrap() / pixel_angstrom - 1.0).abs() < 1e-6);
        // The header says the same after another turn.
        let again = Header::parse(name(), &header.to_bytes()).unwrap();
        prop_assert_eq!(again.0, Header { extended: Extended { bytes: Vec::new(), ..header.extended.clone() }, ..header.clone() });
        prop_assert_eq!(again.1, header.extended.bytes.len() as u64);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        random in prop::collection::vec(any::<u8>(), 1024),
        like_mrc in any::<bool>(),
        tail in 0_usize..200,
    ) {
        let mut bytes = random;
        if like_mrc {
            bytes[208..214].copy_from_slice(b"MAP DD");
        }
        bytes.resize(1024 + tail, 1);
        if let Ok(mut reader) = open(&bytes) {
            let _ = (reader.read(Order::Planes), reader.angles(), reader.pixel_angstrom());
        }
    }

    #[test]
    fn no_change_of_a_file_makes_the_reader_panic(
        changes in prop::collection::vec((0_usize..256, prop_oneof![any::<i32>(), -2..130]), 1..4),
        kind in prop::sample::select(vec![*b"SERI", *b"FEI1", *b"TEST"]),
        cut in 0_usize..1500,
    ) {
        let (stack, mut output) = small();
        output.extended = Extended { kind, bytes: vec![1; 80] };
        let mut bytes = bytes_of(&stack, &output).unwrap();
        for (word, value) in changes {
            bytes[4 * word..4 * word + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes.truncate(bytes.len().min(2000 - cut));
        if let Ok(mut reader) = open(&bytes) {
            let _ = (reader.read(Order::Planes), reader.read(Order::Rows), reader.angles(), reader.pixel_angstrom());
        }
    }
}

#[test]
fn files_of_mrcfile_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mrc");
    let files = [
        ("i8_little", Mode::I8, Endian::Little),
        ("i16_big", Mode::I16, Endian::Big),
        ("u16_little", Mode::U16, Endian::Little),
        ("f16_big", Mode::F16, Endian::Big),
        ("f32_little", Mode::F32, Endian::Little),
    ];
    for (file, mode, endian) in files {
        let mut reader = Reader::open(&folder.join(file).with_extension("mrc")).unwrap();
        let least = if mode == Mode::U16 { 0.0 } else { -50.0 };
        let value = |z: usize, y: usize, x: usize| (100 * z + 10 * y + x) as f32 + least;
        let expected = Stack::from_fn(Shape::new(2, 3, 5).unwrap(), value);
        assert_eq!(reader.read(Order::Planes).unwrap(), expected, "{file}");
        assert_eq!((reader.header().mode, reader.header().endian), (mode, endian));
        assert_eq!(reader.header().labels, ["made by mrcfile 1.5.4"]);
        assert_eq!(reader.header().statistics.max, least + 124.0);
        assert!((reader.pixel_angstrom().unwrap() - 2.5).abs() < 1e-6);
    }
}

#[test]
fn headers_that_lie_are_refused_by_name() {
    let int = |at: usize, value: i32| field(open(&changed(at, &value.to_le_bytes())));
    let float = |at: usize, value: f32| changed(at, &value.to_le_bytes());
    assert_eq!([int(0, 0), int(4, -1), int(8, i32::MIN)], ["nx", "ny", "nz"]);
    assert_eq!(int(28, -1), "mx");
    for mode in [3, 4, 5, -1, 7] {
        assert_eq!(int(12, mode), "the mode");
    }
    for (at, size) in [(0, i32::MAX), (8, i32::MAX), (8, 4), (8, 2), (0, 6)] {
        assert_eq!(int(at, size), "the length of the file");
    }
    assert_eq!(int(92, -1), "nsymbt");
    assert_eq!(int(92, i32::MAX), "nsymbt, the length of the extended header,");
    assert_eq!(int(64, 3), "the order of axes (mapc, mapr, maps)");
    assert_eq!(field(open(&changed(208, b"PAM "))), "the mark at byte 208");
    for side in [f32::NAN, -1.0, f32::INFINITY] {
        assert_eq!(field(open(&float(40, side))), "the cell's side along x");
    }
    for side in [0.0, 13.0] {
        assert_eq!(field(open(&float(40, side)).unwrap().pixel_angstrom()), "the pixel size");
    }
    let overflow = changed(0, &[0xff, 0xff, 0xff, 0x7f].repeat(3));
    assert_eq!(field(open(&overflow)), "the length of the file");
}

#[test]
fn truncated_files_and_bad_values_are_refused() {
    let (stack, output) = small();
    let bytes = bytes_of(&stack, &output).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(field(open(&bytes[..length])), "the length of the file");
    }
    let nan = changed(1024 + 4 * (20 + 5 + 2), &f32::NAN.to_le_bytes());
    let place = field(open(&nan).unwrap().read(Order::Planes));
    assert_eq!(place, "the value at section 1, row 1, column 2");
    assert!(matches!(Reader::open(Path::new("there/is/none.mrc")), Err(Error::File { .. })));
    for rows in [0..0, 0..5, 4..5] {
        assert!(matches!(open(&bytes).unwrap().rows(Order::Planes, rows), Err(Error::Parameter { .. })));
    }
}

#[test]
fn bytes_are_signed_unless_something_says_otherwise() {
    let stack = exact(Mode::U8, Shape::new(1, 4, 4).unwrap(), 3);
    let bytes = bytes_of(&stack, &Output { mode: Mode::U8, ..Output::new(Content::Images, 1.0) }).unwrap();
    let read = |stamp: bool, flags: u8, max: f32| {
        let mut bytes = bytes.clone();
        bytes[76..80].copy_from_slice(&0_f32.to_le_bytes());
        bytes[80..84].copy_from_slice(&max.to_le_bytes());
        bytes[156] = flags;
        if !stamp {
            bytes[152] = 0;
        }
        open(&bytes).map(|reader| reader.header().mode)
    };
    assert_eq!(read(true, 0, 100.0), Ok(Mode::U8));
    assert_eq!(read(true, 1, 200.0), Ok(Mode::I8));
    assert_eq!(read(false, 0, 100.0), Ok(Mode::I8));
    assert_eq!(read(false, 0, 200.0), Ok(Mode::U8));
    assert_eq!(field(read(true, 16, 1.0)), "IMOD's flags for mode 0");
}

#[test]
fn the_order_of_bytes_is_found_without_a_stamp() {
    let (stack, output) = small();
    for endian in [Endian::Little, Endian::Big] {
        let mut bytes = bytes_of(&stack, &Output { endian, ..output.clone() }).unwrap();
        bytes[212..214].fill(0);
        assert_eq!(open(&bytes).unwrap().read(Order::Planes).unwrap(), stack);
        bytes[8..12].fill(0xff);
        assert_eq!(field(open(&bytes)), "the machine stamp");
    }
}

#[test]
fn angles_are_read_from_extended_headers() {
    let (stack, mut output) = small();
    for endian in [Endian::Little, Endian::Big] {
        output.endian = endian;
        let mut seri = vec![0; 3 * 6];
        let mut fei = vec![0; 3 * 768];
        endian.put(&mut fei, 0, 768_i32.to_le_bytes());
        for (section, angle) in [-60.25_f64, 0.0, 3.01].into_iter().enumerate() {
            endian.put(&mut seri, 6 * section, ((angle * 100.0).round() as i16).to_le_bytes());
            endian.put(&mut fei, 768 * section + 100, angle.to_le_bytes());
        }
        for (kind, bytes) in [(*b"SERI", seri), (*b"FEI1", fei)] {
            output.extended = Extended { kind, bytes };
            let mut bytes = bytes_of(&stack, &output).unwrap();
            endian.put(&mut bytes, 128, 6_i16.to_le_bytes());
            endian.put(&mut bytes, 130, 1_i16.to_le_bytes());
            assert_eq!(open(&bytes).unwrap().angles(), Ok(Some(vec![-60.25, 0.0, 3.01])));
            match &kind {
                b"SERI" => endian.put(&mut bytes, 128, 1_i16.to_le_bytes()),
                _ => endian.put(&mut bytes, 1024, 1_i32.to_le_bytes()),
            }
            assert!(field(open(&bytes).unwrap().angles()).starts_with("the bytes per section"));
            output.extended.bytes.truncate(13);
            let mut bytes = bytes_of(&stack, &output).unwrap();
            endian.put(&mut bytes, 128, 6_i16.to_le_bytes());
            endian.put(&mut bytes, 130, 1_i16.to_le_bytes());
            assert_eq!(field(open(&bytes).unwrap().angles()), "the length of the extended header");
        }
    }
    assert_eq!(open(&changed(0, &[])).unwrap().angles(), Ok(None));
    let beyond = [0x28, 0x23].repeat(3); // 90.00 degrees
    output =
        Output { extended: Extended { kind: *b"SERI", bytes: beyond }, ..Output::new(Content::Images, 1.0) };
    let mut bytes = bytes_of(&stack, &output).unwrap();
    bytes[128..132].copy_from_slice(&[2, 0, 1, 0]);
    assert_eq!(field(open(&bytes).unwrap().angles()), "the tilt angle of section 0");
}

#[test]
fn what_a_mode_cannot_hold_is_refused() {
    let shape = Shape::new(1, 2, 2).unwrap();
    let wrong = [
        (Mode::I8, 128.0),
        (Mode::I8, 0.5),
        (Mode::U8, -1.0),
        (Mode::I16, 32_768.0),
        (Mode::U16, 65_536.0),
        (Mode::F16, 65_520.0),
        (Mode::U4, 16.0),
        (Mode::F32, f32::NAN),
        (Mode::U16, f32::NAN),
        (Mode::F16, f32::INFINITY),
    ];
    for (mode, value) in wrong {
        let stack = Stack::from_fn(shape, |_, row, column| if row == 1 && column == 0 { value } else { 1.0 });
        let output = Output { mode, ..Output::new(Content::Volume, 1.0) };
        assert_eq!(field(bytes_of(&stack, &output)), "the value at plane 0, row 1, column 0");
    }
    let (stack, output) = small();
    let outputs = [
        Output { pixel_angstrom: 0.0, ..output.clone() },
        Output { pixel_angstrom: f64::NAN, ..output.clone() },
        Output { pixel_angstrom: 1e39, ..output.clone() },
        Output { labels: vec!["a".repeat(81)], ..output.clone() },
        Output { labels: vec!["\u{e5}".to_owned()], ..output.clone() },
        Output { labels: vec![String::new(); 11], ..output },
    ];
    for output in outputs {
        assert!(matches!(bytes_of(&stack, &output), Err(Error::Parameter { .. })), "{output:?}");
    }
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume.mrc");
    let (stack, output) = small();
    write(&path, &stack, &output).unwrap();
    let unfit = Output { mode: Mode::U16, ..output };
    assert!(matches!(write(&path, &stack, &unfit), Err(Error::Content { .. })));
    assert_eq!(Reader::open(&path).unwrap().read(Order::Planes).unwrap(), stack);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A disk with room for so many bytes.
struct Disk(Cursor<Vec<u8>>, u64);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.position() + bytes.len() as u64 > self.1 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let (stack, output) = small();
    let room = bytes_of(&stack, &output).unwrap().len() as u64;
    let on = |room: u64| {
        let mut header = output.header(stack.shape()).unwrap();
        let fill = &mut |section, values: &mut [f32]| {
            source::section_of(&stack, output.order, section, values);
            Ok(())
        };
        encode(&mut Disk(Cursor::default(), room), name(), output.order, &mut header, fill)
    };
    assert_eq!(on(room), Ok(()));
    for room in [0, 1023, 1024, room - 1] {
        assert!(matches!(on(room), Err(Error::File { doing: "write", .. })));
    }
}
