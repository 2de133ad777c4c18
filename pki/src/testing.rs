//! For tests only: where the third-party data lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files below these folders of the data with one of these endings. `None`, with a word about it, where the
/// data is absent; a failure where `KENIN_REQUIRE_DATA=1` asks for it.
pub(crate) fn data_files(folders: &[&str], endings: &[&str]) -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let root = std::env::var_os("KENIN_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    if !root.is_dir() {
        assert!(
            std::env::var_os("KENIN_REQUIRE_DATA").is_none_or(|v| v != "1"),
            "no data in {}",
            root.display()
        );
        println!("skipped: no test data in {}", root.display());
        return None;
    }
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path
            .extension()
            .is_some_and(|e| endings.iter().any(|ending| e == *ending))
        {
            let bytes = std::fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
    files.sort();
    assert!(
        !files.is_empty(),
        "{} has none of {folders:?}",
        root.display()
    );
    Some(files)
}

/// Octets written in hexadecimal; spaces between them do not count.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap())
        .collect();
    assert!(digits.len().is_multiple_of(2), "{text}");
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// The least processor time that this thread spent on `work` in `times` runs: what else the machine does
/// is not counted.
pub(crate) fn cpu_time(times: usize, work: impl Fn()) -> Duration {
    let now = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let run = |_| {
        let start = now();
        work();
        now() - start
    };
    (0..times).map(run).min().unwrap()
}
