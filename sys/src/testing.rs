//! What changes a whole process is tested in one of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Runs `body` in another process: this test binary again, which calls the test `name` with a variable set. It must end
/// well.
pub(crate) fn in_a_child(name: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        body();
        eprintln!("{DONE}");
        return;
    }
    let output = child(name).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} {said}", output.status);
    assert!(said.contains(DONE), "no test has this name: {name}");
}

/// As [`in_a_child`], and the system has to kill it by this signal.
pub(crate) fn killed_in_a_child(name: &str, signal: i32, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let status = child(name).status().unwrap();
    assert_eq!(status.signal(), Some(signal), "{status:?}");
}

fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null());
    command
}

const CHILD: &str = "KENIN_SYS_ALONE";
const DONE: &str = "the body has been run";
