//! Where things outside the project are: third-party test data, Python readers, the built program.

use std::path::{Path, PathBuf};

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A folder of third-party test data, or `None` (said aloud) where it is absent.
///
/// # Panics
/// Where it is absent and `KENIN_REQUIRE_DATA=1`.
pub fn data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KENIN_DATA")
        .map_or_else(|| project().join("../shared/data"), PathBuf::from);
    present(root.join(folder), "test data")
}

/// The Python with the independent readers, or `None` (said aloud).
///
/// # Panics
/// As [`data`].
pub fn python() -> Option<PathBuf> {
    let venv =
        std::env::var_os("KENIN_VENV").map_or_else(|| target().join("parts/venv"), PathBuf::from);
    present(
        venv.join("bin/python"),
        "Python readers (tests/run makes them)",
    )
}

fn present(path: PathBuf, what: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("KENIN_REQUIRE_DATA").is_ok_and(|v| v == "1");
    assert!(
        !required,
        "{what} is required and absent: {}",
        path.display()
    );
    eprintln!("SKIPPED: {what} is absent: {}", path.display());
    None
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    profile().parent().unwrap().to_owned()
}

/// The folder of the profile that this test was built in.
fn profile() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let dir = exe.parent().unwrap();
    let dir = if dir.ends_with("deps") {
        dir.parent().unwrap()
    } else {
        dir
    };
    dir.to_owned()
}

/// The program of an Exim that was unpacked, not installed.
///
/// # Panics
/// Where it is absent.
pub fn exim() -> PathBuf {
    let path = target().join("parts/exim/usr/sbin/exim4");
    assert!(
        path.exists(),
        "{} is missing: `tests/run --packages` brings it",
        path.display()
    );
    path
}

/// The program `kenin` of the same build.
///
/// # Panics
/// Where it has not been built.
pub fn kenin() -> PathBuf {
    let path = std::env::var_os("KENIN_BIN").map_or_else(|| profile().join("kenin"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build -p kenin` first",
        path.display()
    );
    path
}
