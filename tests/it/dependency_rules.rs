//! Who may import whom, which licences and which crates may come in: over `cargo metadata`.

use std::process::Command;

use kenin_tests::{cargo_rules, parts, world};

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(parts::project())
        .args(arguments)
        .args(["--locked", "--offline"]);
    world::run(&mut command)
}

/// The platform that this machine builds for.
fn host() -> String {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let said = String::from_utf8(world::run(rustc.arg("-vV"))).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

#[test]
fn the_workspace_keeps_the_rules() {
    // What this machine builds: crates of other platforms are not fetched on a fresh one.
    let platform = host();
    let metadata = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        &platform,
    ]);
    let metadata = serde_json::from_slice(&metadata).unwrap();
    let tree = cargo(&[
        "tree",
        "--workspace",
        "-e",
        "all",
        "--prefix",
        "none",
        "-f",
        "{p}",
    ]);
    let active = cargo_rules::active(&String::from_utf8(tree).unwrap());
    assert!(active.len() > 50, "{active:?}");
    let found = cargo_rules::violations(&metadata, &active);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
