//! What an inspection says of a data directory, and that it changes nothing.

use super::*;
use std::collections::BTreeMap;

fn contents(dir: &TempDir) -> BTreeMap<String, Vec<u8>> {
    names(dir).into_iter().map(|name| (name.clone(), fs::read(dir.path().join(name)).unwrap())).collect()
}

/// Inspects, and checks that nothing has changed.
fn inspected(dir: &TempDir) -> Inspection {
    let before = contents(dir);
    let found = inspect(dir.path()).unwrap();
    assert_eq!(contents(dir), before, "an inspection changes nothing");
    found
}

#[test]
fn an_inspection_counts_what_a_start_would_read_and_tells_who_is_at_work() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(inspected(&dir).lock, Lock::Missing);
    let mut log = open(dir.path()).unwrap();
    fill(&mut log);
    let found = inspected(&dir);
    assert_eq!(found.lock, Lock::Held);
    drop(log);
    let log = open(dir.path()).unwrap();
    let recovery = log.recovery().clone();
    drop(log);
    let found = inspected(&dir);
    assert_eq!((found.lock, found.is_damaged(), found.files.len()), (Lock::Free, false, 1));
    let file = &found.files[0];
    assert_eq!((file.kind, file.cluster, &file.ending), (FileKind::Segment, Some(7), &Ending::Whole));
    assert_eq!((file.groups, file.records, file.bytes), (recovery.groups, recovery.records, recovery.bytes));
    assert_eq!(found.saved.values().map(|saved| saved.records).sum::<u64>(), recovery.records);
    assert_eq!(found.saved.keys().copied().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_torn_tail_is_told_as_recovery_cuts_it() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()).unwrap());
    let bytes = fs::read(segment(&dir, 0)).unwrap();
    for len in record::FILE_HEADER_LEN..bytes.len() {
        fs::write(segment(&dir, 0), &bytes[..len]).unwrap();
        let found = inspected(&dir);
        let log = open(dir.path()).unwrap();
        let told = match &found.files[0].ending {
            Ending::Whole => None,
            Ending::Interrupted { offset, bytes } => {
                Some(Cut { path: segment(&dir, 0), offset: *offset, bytes: *bytes })
            }
            Ending::Damaged { .. } => panic!("at {len}: {found:?}"),
        };
        assert_eq!(
            (told, found.files[0].groups),
            (log.recovery().cut.clone(), log.recovery().groups),
            "at {len}"
        );
    }
}

#[test]
fn what_a_start_refuses_is_damaged_and_the_rest_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()).unwrap());
    let bytes = fs::read(segment(&dir, 0)).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(segment(&dir, 0), &damaged).unwrap();
        let found = inspected(&dir);
        assert!(found.is_damaged(), "at {at}: {found:?}");
        let Ending::Damaged { offset, .. } = found.files[0].ending else { panic!("at {at}: {found:?}") };
        assert!(offset <= at as u64 && found.files[0].groups < 10);
    }
    fs::write(segment(&dir, 0), &bytes).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("log-1.tmp"), "unfinished").unwrap();
    let found = inspected(&dir);
    assert!(found.is_damaged() && found.foreign.len() == 1 && found.unfinished.len() == 1, "{found:?}");
}

#[test]
fn a_snapshot_stands_for_what_it_replaces_and_a_missing_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let small = Limits { log_per_snapshot: 1, min_log_len: 1, ..Limits::default() };
    let mut log = open_with(dir.path(), small).unwrap();
    let states = fill(&mut log);
    drop(log);
    let log = open(dir.path()).unwrap();
    let (recovery, last) = (log.recovery().clone(), saved(&log));
    drop(log);
    assert_eq!(Some(&last), states.last());
    let found = inspected(&dir);
    assert!(!found.is_damaged(), "{found:?}");
    let read: u64 = found.files.iter().filter(|file| !file.is_replaced).map(|file| file.records).sum();
    assert_eq!(read, recovery.records);
    let newest = found.files.iter().rfind(|file| file.kind == FileKind::Segment).unwrap();
    fs::remove_file(&newest.path).unwrap();
    if found.files.iter().any(|file| file.kind == FileKind::Snapshot && file.number == newest.number) {
        assert!(inspected(&dir).is_damaged() && open(dir.path()).is_err());
    }
}
