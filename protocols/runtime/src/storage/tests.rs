//! What a crash, damage, and a second process do to a log.

mod inspect;
mod power;
mod records;

use super::*;
use crate::Error;
use im::OrdMap;
use im::ordmap::DiffItem;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

type Map = OrdMap<u32, String>;

/// Writes the changes of a map one by one.
struct MapJournal;

impl Journal<Map> for MapJournal {
    /// The new value of a key, or none if the key is gone; nothing at all when the map comes into being.
    type Delta = Option<(u32, Option<String>)>;

    fn diff(old: Option<&Map>, new: &Map) -> impl Iterator<Item = Self::Delta> {
        let changes: Vec<_> = old
            .unwrap_or(&Map::new())
            .diff(new)
            .map(|item| match item {
                DiffItem::Add(k, v) | DiffItem::Update { new: (k, v), .. } => Some((*k, Some(v.clone()))),
                DiffItem::Remove(k, _) => Some((*k, None)),
            })
            .collect();
        old.is_none().then_some(None).into_iter().chain(changes)
    }

    fn apply(old: Option<Map>, delta: Self::Delta) -> Option<Map> {
        match delta {
            None => old.is_none().then(Map::new),
            Some((key, Some(value))) => Some(old?.update(key, value)),
            Some((key, None)) => Some(old?.without(&key)),
        }
    }
}

type MapLog = Log<Map, MapJournal>;

fn open_with(path: &Path, limits: Limits) -> Result<MapLog, Error> {
    MapLog::open(path, 7, &[0, 1], Durability::NoSync, limits)
}

fn open(path: &Path) -> Result<MapLog, Error> {
    open_with(path, Limits::default())
}

/// What both actors have saved.
fn saved(log: &MapLog) -> (Option<Map>, Option<Map>) {
    (log.storage(0).cloned(), log.storage(1).cloned())
}

/// Ten groups of two actors, some of several records; the states after each.
fn fill(log: &mut MapLog) -> Vec<(Option<Map>, Option<Map>)> {
    let mut states = vec![saved(log)];
    let (mut a, mut b) = (Map::new(), Map::new());
    for i in 0..10 {
        a = a.update(i, format!("value {i}")).update(i / 2, "again".into()).without(&(i / 3));
        log.save(0, a.clone());
        if i % 3 == 1 {
            b = b.update(1, i.to_string());
            log.save(1, b.clone());
        }
        log.commit().unwrap();
        states.push(saved(log));
    }
    states
}

fn segment(dir: &TempDir, number: u64) -> PathBuf {
    directory::file_name(dir.path(), record::Kind::Log, number)
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The one file whose name begins so.
fn only(dir: &TempDir, prefix: &str) -> PathBuf {
    let names: Vec<_> = names(dir).into_iter().filter(|n| n.starts_with(prefix)).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    dir.path().join(&names[0])
}

#[test]
fn what_was_committed_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    assert!(log.recovery().fresh);
    let states = fill(&mut log);
    log.save(0, Map::new());
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(&saved(&log), states.last().unwrap(), "and what was not committed is not");
    assert_eq!((log.recovery().groups, &log.recovery().cut, log.recovery().fresh), (10, &None, false));
}

#[test]
fn a_log_goes_on_after_recovery() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..5 {
        let mut log = open(dir.path()).unwrap();
        let map = log.storage(0).cloned().unwrap_or_default();
        assert_eq!(map.len(), i as usize);
        log.save(0, map.update(i, "x".into()));
        log.commit().unwrap();
    }
}

#[test]
fn a_log_cut_at_any_byte_recovers_the_groups_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let states = fill(&mut open(dir.path()).unwrap());
    let bytes = fs::read(segment(&dir, 0)).unwrap();
    let mut seen = vec![false; states.len()];
    for len in record::FILE_HEADER_LEN..bytes.len() {
        fs::write(segment(&dir, 0), &bytes[..len]).unwrap();
        let log = open(dir.path()).unwrap();
        let groups = usize::try_from(log.recovery().groups).unwrap();
        assert_eq!(saved(&log), states[groups], "at {len}");
        assert_eq!(
            log.recovery().cut.is_none(),
            !seen[groups],
            "the first cut behind a group leaves nothing to cut"
        );
        assert!(groups == 0 || seen[groups - 1], "no group is skipped");
        seen[groups] = true;
        drop(log);
        assert_eq!(open(dir.path()).unwrap().recovery().cut, None, "what was cut off is gone");
    }
    assert_eq!(seen.iter().filter(|&&s| s).count(), states.len() - 1, "all but the complete log");
}

#[test]
fn a_flipped_byte_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()).unwrap());
    let bytes = fs::read(segment(&dir, 0)).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(segment(&dir, 0), &damaged).unwrap();
        let error = open(dir.path()).expect_err("a flipped byte");
        assert!(matches!(error, Error::Damaged { offset, .. } if offset <= at as u64), "at {at}: {error}");
    }
    fs::write(segment(&dir, 0), &bytes).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn a_last_group_with_an_unwritten_sector_is_cut_off_and_an_earlier_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let one = Map::unit(1, "x".repeat(2000));
    log.save(0, one.clone());
    log.commit().unwrap();
    let first_end = fs::metadata(segment(&dir, 0)).unwrap().len();
    log.save(0, one.update(2, "y".repeat(2000)));
    log.commit().unwrap();
    drop(log);
    let bytes = fs::read(segment(&dir, 0)).unwrap();
    let sectors_of_second = usize::try_from(first_end).unwrap().next_multiple_of(512)..bytes.len() - 512;
    for sector in sectors_of_second.step_by(512) {
        let mut torn = bytes.clone();
        torn[sector..sector + 512].fill(0);
        fs::write(segment(&dir, 0), &torn).unwrap();
        let log = open(dir.path()).unwrap();
        assert_eq!(log.storage(0), Some(&one));
        assert_eq!(log.recovery().cut.as_ref().unwrap().offset, first_end);
    }
    let mut damaged = bytes;
    damaged[512..1024].fill(0);
    fs::write(segment(&dir, 0), &damaged).unwrap();
    assert!(
        matches!(open(dir.path()), Err(Error::Damaged { .. })),
        "a later group proves that it was whole once"
    );
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let message = open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("in use by another process"), "{message}");
    drop(log);
    open(dir.path()).unwrap();
}

#[test]
fn lives_are_in_order_whatever_the_clock_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    let lives: Vec<u64> = [500, 700, 20, 20, 900].map(|now| begin_life(&path, now).unwrap()).into();
    assert_eq!(lives, [500, 700, 701, 702, 900]);
    let log = open(&path).unwrap();
    assert!(log.recovery().fresh, "counting is not saving");
    assert!(matches!(begin_life(&path, 1), Err(Error::DirectoryInUse { .. })));
    drop(log);
    fs::write(path.join("life"), "many").unwrap();
    assert!(begin_life(&path, 1).unwrap_err().to_string().contains("holds no number"));
}

#[test]
fn a_directory_of_another_cluster_or_actor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()).unwrap());
    let foreign = MapLog::open(dir.path(), 8, &[0, 1], Durability::Sync, Limits::default());
    assert!(matches!(foreign, Err(Error::ForeignDirectory { .. })));
    let message =
        MapLog::open(dir.path(), 7, &[0], Durability::Sync, Limits::default()).unwrap_err().to_string();
    assert!(message.contains("actor 1"), "{message}");
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    open(dir.path()).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    assert!(open(dir.path()).unwrap_err().to_string().contains("notes.txt"));
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let states = fill(&mut log);
    log.replace_tail(File::options().write(true).open("/dev/full").unwrap());
    log.save(0, Map::new());
    let message = log.commit().unwrap_err().to_string();
    assert!(message.contains("No space left") && message.contains("make room"), "{message}");
    log.save(0, Map::new());
    assert!(matches!(log.commit(), Err(Error::LogFailed { .. })), "it does not try again");
    drop(log);
    assert_eq!(&saved(&open(dir.path()).unwrap()), states.last().unwrap());
}

/// Commits until a snapshot is complete; the final map.
fn grow(log: &mut MapLog, snapshots: u64) -> Map {
    let mut map = log.storage(0).cloned().unwrap_or_default();
    let mut i = 0;
    while log.counters().snapshots < snapshots {
        i += 1;
        map = map.update(i % 50, i.to_string());
        log.save(0, map.clone());
        log.commit().unwrap();
    }
    map
}

const SMALL: Limits = Limits { log_per_snapshot: 2, min_log_len: 10_000, max_record_len: 100 };

#[test]
fn a_snapshot_replaces_the_log_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_with(dir.path(), SMALL).unwrap();
    let map = grow(&mut log, 3);
    drop(log);
    let log = open_with(dir.path(), SMALL).unwrap();
    assert_eq!(log.storage(0), Some(&map));
    let snapshot = only(&dir, "snapshot-");
    let number = snapshot.to_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
    assert!(names(&dir).iter().filter_map(|n| n.strip_prefix("log-")).all(|n| n >= &number[..]));
}

#[test]
fn a_crash_while_a_snapshot_is_written_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_with(dir.path(), SMALL).unwrap();
    let map = grow(&mut log, 1);
    drop(log);
    let before = names(&dir);
    // The next segment comes into being, but its snapshot does not: it cannot be created where a directory is.
    let last = before.iter().filter_map(|name| name.strip_prefix("log-")).max().unwrap();
    let next = u64::from_str_radix(last, 16).unwrap() + 1;
    let obstacle = dir.path().join(format!("snapshot-{next:016x}.tmp"));
    let mut log =
        open_with(dir.path(), Limits { log_per_snapshot: 0, min_log_len: 0, ..Limits::default() }).unwrap();
    fs::create_dir(&obstacle).unwrap();
    let map = map.update(99, "later".into());
    log.save(0, map.clone());
    log.commit().unwrap();
    drop(log);
    fs::remove_dir(&obstacle).unwrap();
    fs::write(dir.path().join("snapshot-00000000000000ff.tmp"), "half").unwrap();
    let log = open_with(dir.path(), SMALL).unwrap();
    assert_eq!(log.storage(0), Some(&map));
    assert_eq!(names(&dir).len(), before.len() + 1, "one segment more: {:?}", names(&dir));
}

#[test]
fn a_damaged_or_missing_snapshot_or_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_with(dir.path(), SMALL).unwrap();
    grow(&mut log, 1);
    drop(log);
    let snapshot = only(&dir, "snapshot-");
    let bytes = fs::read(&snapshot).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&snapshot, &damaged).unwrap();
        assert!(matches!(open(dir.path()), Err(Error::Damaged { .. })), "at {at}");
    }
    fs::write(&snapshot, &bytes[..bytes.len() - 1]).unwrap();
    assert!(
        matches!(open(dir.path()), Err(Error::Damaged { .. })),
        "a snapshot is never an interrupted write"
    );
    fs::remove_file(&snapshot).unwrap();
    assert!(
        matches!(open(dir.path()), Err(Error::Damaged { .. })),
        "the log does not begin at the beginning"
    );
    fs::write(&snapshot, &bytes).unwrap();
    let segment = snapshot.to_str().unwrap().replace("snapshot-", "log-");
    fs::remove_file(segment).unwrap();
    assert!(
        matches!(open(dir.path()), Err(Error::Damaged { .. })),
        "the segment after the snapshot is missing"
    );
}

#[test]
fn what_a_damaged_snapshot_replaces_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut log =
        open_with(dir.path(), Limits { log_per_snapshot: 0, min_log_len: u64::MAX, ..Limits::default() })
            .unwrap();
    let states = fill(&mut log);
    drop(log);
    let first = fs::read(segment(&dir, 0)).unwrap();
    let mut log =
        open_with(dir.path(), Limits { log_per_snapshot: 0, min_log_len: 0, ..Limits::default() }).unwrap();
    log.save(0, Map::new());
    log.commit().unwrap();
    while names(&dir).iter().any(|name| name == "log-0000000000000000") {
        std::thread::yield_now();
    }
    drop(log);
    // The kill came between the snapshot's new name and the deletion, and the snapshot is damaged.
    fs::write(segment(&dir, 0), first).unwrap();
    let snapshot = only(&dir, "snapshot-");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[60] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::Damaged { .. })));
    fs::remove_file(snapshot).unwrap();
    fs::remove_file(segment(&dir, 1)).unwrap();
    assert_eq!(&saved(&open(dir.path()).unwrap()), states.last().unwrap(), "an operator can still go back");
}

#[test]
fn a_failed_snapshot_is_counted_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_with(dir.path(), SMALL).unwrap();
    let obstacle = dir.path().join("snapshot-0000000000000001.tmp");
    fs::create_dir(&obstacle).unwrap();
    let map = grow(&mut log, 1);
    assert_eq!(log.counters().failed_snapshots, 1);
    let told: Vec<_> = log.complaints().map(|error| error.to_string()).collect();
    assert!(told.len() == 1 && told[0].contains("no snapshot in") && told[0].contains(".tmp"), "{told:?}");
    assert_eq!(log.complaints().count(), 0, "it is told once");
    drop(log);
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(open(dir.path()).unwrap().storage(0), Some(&map));
}

#[test]
fn large_groups_are_written_in_parts_and_recovered_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let map: Map = (0..3000_u32).map(|i| (i, "z".repeat(1000))).collect();
    log.save(0, map.clone());
    log.commit().unwrap();
    assert_eq!((log.counters().groups, log.counters().records), (1, 3001));
    drop(log);
    let whole = fs::read(segment(&dir, 0)).unwrap();
    assert_eq!(open(dir.path()).unwrap().storage(0), Some(&map));
    fs::write(segment(&dir, 0), &whole[..whole.len() / 2]).unwrap();
    let log = open(dir.path()).unwrap();
    assert_eq!((log.storage(0), log.recovery().records), (None, 0), "half a group is none");
}

#[test]
fn equal_saves_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log =
        Log::<u64, WholeValue>::open(dir.path(), 7, &[0], Durability::Sync, Limits::default()).unwrap();
    for value in [5, 5, 5, 6, 6] {
        log.save(0, value);
        log.commit().unwrap();
    }
    log.commit().unwrap();
    assert_eq!((log.counters().groups, log.counters().syncs), (2, 2));
}
