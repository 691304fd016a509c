//! Changes longer than a record, and what could be taken for a record.

use super::*;

/// A journal of one change that holds the whole storage.
type WholeLog = Log<Vec<Vec<u8>>, WholeValue>;

/// Records are far smaller than what is saved.
const TINY: Limits = Limits { log_per_snapshot: 1, min_log_len: 20_000, max_record_len: 64 };

fn open_whole(path: &Path) -> Result<WholeLog, Error> {
    WholeLog::open(path, 7, &[0, 1], Durability::NoSync, TINY)
}

#[test]
fn a_change_of_many_records_is_recovered_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_whole(dir.path()).unwrap();
    let small = vec![vec![1; 10]];
    log.save(0, small.clone());
    log.commit().unwrap();
    let before = usize::try_from(fs::metadata(segment(&dir, 0)).unwrap().len()).unwrap();
    let large: Vec<Vec<u8>> = (1..=20).map(|i| vec![i; 97]).collect();
    log.save(0, large.clone());
    log.save(1, large.clone());
    log.commit().unwrap();
    assert!(log.counters().records > 2 * 20 * 97 / 64, "{:?}", log.counters());
    drop(log);
    let bytes = fs::read(segment(&dir, 0)).unwrap();
    for len in before..=bytes.len() {
        fs::write(segment(&dir, 0), &bytes[..len]).unwrap();
        let log = open_whole(dir.path()).unwrap();
        let (one, other) = (log.storage(0).unwrap(), log.storage(1));
        if len == bytes.len() {
            assert_eq!((one, other), (&large, Some(&large)));
        } else {
            assert_eq!((one, other), (&small, None), "at {len}");
        }
    }
    let inspected = inspect(dir.path()).unwrap();
    assert!(!inspected.is_damaged() && inspected.saved[&0].largest <= 64);
}

#[test]
fn a_state_larger_than_a_record_survives_a_kill_while_its_snapshot_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_whole(dir.path()).unwrap();
    let mut state: Vec<Vec<u8>> = Vec::new();
    while log.counters().snapshots < 2 {
        state.push(vec![u8::try_from(state.len() % 200).unwrap() + 1; 300]);
        log.save(0, state.clone());
        log.commit().unwrap();
    }
    drop(log);
    let snapshot = names(&dir).into_iter().rfind(|name| name.starts_with("snapshot-")).unwrap();
    let whole = fs::read(dir.path().join(&snapshot)).unwrap();
    assert!(whole.len() > 50 * TINY.max_record_len as usize);
    // A kill leaves any part of the next one under its unfinished name.
    let next = u64::from_str_radix(snapshot.strip_prefix("snapshot-").unwrap(), 16).unwrap() + 1;
    for len in (0..whole.len()).step_by(whole.len() / 50) {
        fs::write(dir.path().join(format!("snapshot-{next:016x}.tmp")), &whole[..len]).unwrap();
        let log = open_whole(dir.path()).unwrap();
        assert_eq!(log.storage(0), Some(&state));
    }
}

#[test]
fn an_unwritten_sector_is_told_however_little_of_it_belongs_to_the_group() {
    for first_len in 380..520 {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        let one = Map::unit(1, "x".repeat(first_len));
        log.save(0, one.clone());
        log.commit().unwrap();
        let first_end = usize::try_from(fs::metadata(segment(&dir, 0)).unwrap().len()).unwrap();
        log.save(0, one.update(2, "y".repeat(700 - first_len)));
        log.commit().unwrap();
        drop(log);
        let bytes = fs::read(segment(&dir, 0)).unwrap();
        let mut at = first_end;
        while at < bytes.len() {
            let next = (at + 1).next_multiple_of(512).min(bytes.len());
            let mut torn = bytes.clone();
            torn[at..next].fill(0);
            fs::write(segment(&dir, 0), &torn).unwrap();
            let log = open(dir.path()).unwrap_or_else(|error| panic!("{first_len}, {at}..{next}: {error}"));
            assert_eq!(log.storage(0), Some(&one));
            at = next;
        }
    }
}

#[test]
fn a_value_that_looks_like_a_later_record_does_not_keep_a_torn_group_from_being_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    fill(&mut log);
    drop(log);
    let start = usize::try_from(fs::metadata(segment(&dir, 0)).unwrap().len()).unwrap();
    // A client stores the log of another node, whose groups have larger numbers.
    let other = tempfile::tempdir().unwrap();
    let mut log = open(other.path()).unwrap();
    for _ in 0..4 {
        fill(&mut log);
        log.save(0, Map::new());
        log.commit().unwrap();
    }
    drop(log);
    let foreign = fs::read(segment(&other, 0)).unwrap();
    let mut bytes = fs::read(segment(&dir, 0)).unwrap();
    bytes.extend_from_slice(b"PREC");
    bytes.extend_from_slice(&foreign[..foreign.len() - 100]);
    bytes.resize(bytes.len() + 1000, 0);
    fs::write(segment(&dir, 0), bytes).unwrap();
    let log = open(dir.path()).unwrap();
    assert_eq!(log.recovery().cut.as_ref().unwrap().offset, start as u64);
}

#[test]
fn a_file_of_the_first_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = b"parthood log\0\0\0\0\x01\0\0\0".to_vec();
    bytes.extend_from_slice(&[0; 24]);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    fs::write(segment(&dir, 0), bytes).unwrap();
    let message = open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("format version 1, which this software does not read"), "{message}");
}
