//! `kenin verify` over many files in one call, and the comparison with what a shape expects.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::forge::certificates::AT;
use crate::forge::town::Trust;
use crate::forge::{Shape, Town};
use crate::parts;
use crate::world::Folder;

/// What `kenin verify` said of one file.
#[derive(Clone, Debug)]
pub struct Said {
    /// The whole object.
    pub json: Value,
}

impl Said {
    /// `result`, or `null`.
    pub fn result(&self) -> &str {
        self.json["result"].as_str().unwrap_or("null")
    }

    /// `reason`.
    pub fn reason(&self) -> &str {
        self.json["reason"].as_str().unwrap_or("")
    }

    /// A member of the first root signature's checks.
    pub fn check(&self, name: &str) -> &str {
        self.json["signatures"][0]["checks"][name]
            .as_str()
            .unwrap_or("")
    }

    /// Whether a note stands anywhere in the verdict.
    pub fn has_note(&self, note: &str) -> bool {
        let mut notes: Vec<&Value> = vec![&self.json["notes"]];
        if let Some(signatures) = self.json["signatures"].as_array() {
            notes.extend(signatures.iter().map(|s| &s["notes"]));
        }
        notes
            .iter()
            .filter_map(|n| n.as_array())
            .flatten()
            .any(|n| n.as_str() == Some(note) || n["id"].as_str() == Some(note))
    }
}

/// The program and its exit code; one object a file, in the order given.
pub fn verify(options: &[String], files: &[&Path]) -> (Vec<Said>, i32, String) {
    let mut command = Command::new(parts::kenin());
    command
        .arg("verify")
        .args(["--format", "jsonl"])
        .args(options)
        .args(files);
    command.env_remove("KENIN_CONFIG");
    let output = command.output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<Said> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| Said {
            json: serde_json::from_str(line).unwrap(),
        })
        .collect();
    assert_eq!(
        said.len(),
        files.len(),
        "one line a file; {}\n{talk}",
        output.status
    );
    (said, output.status.code().unwrap_or(-1), talk)
}

/// The options that trust a town.
pub fn options(trust: &Trust, crls: bool) -> Vec<String> {
    let mut all = vec![
        format!("--anchor={}", trust.anchor.display()),
        format!("--intermediate={}", trust.intermediates.display()),
        format!("--at={AT}"),
    ];
    if crls {
        all.push(format!("--crl={}", trust.crls.display()));
    }
    all
}

/// Verifies shapes, as few calls as their trust files allow, and says what came out wrong.
pub fn judge(town: &Town, shapes: &[Shape]) -> Vec<String> {
    let folder = Folder::new();
    let trust = town.write(folder.path());
    let mut wrong = Vec::new();
    let mut done = vec![false; shapes.len()];
    for first in 0..shapes.len() {
        if done[first] {
            continue;
        }
        let group: Vec<usize> = (first..shapes.len())
            .filter(|i| !done[*i] && shapes[*i].extra.same(&shapes[first].extra))
            .collect();
        let extra = &shapes[first].extra;
        let mut options = options(&trust, !extra.no_crls);
        for (n, crl) in extra.crls.iter().enumerate() {
            let path = folder.join(format!("extra-{first}-{n}.crl"));
            std::fs::write(&path, crl).unwrap();
            options.push(format!("--crl={}", path.display()));
        }
        options.extend(extra.options.iter().cloned());
        let files: Vec<_> = group
            .iter()
            .map(|i| {
                let path = folder.join(format!("{i:04}.eml"));
                std::fs::write(&path, &shapes[*i].raw).unwrap();
                path
            })
            .collect();
        let paths: Vec<&Path> = files.iter().map(|p| p.as_path()).collect();
        let (said, _, _) = verify(&options, &paths);
        for (i, said) in group.iter().zip(said) {
            done[*i] = true;
            wrong.extend(compare(&shapes[*i], &said));
        }
    }
    wrong
}

fn compare(shape: &Shape, said: &Said) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = said.json.to_string();
    let title = format!("{} {}", shape.row, shape.name);
    if !shape.expect.allows(said.result(), said.reason()) {
        wrong.push(format!(
            "{title}: {} ({}), expected {:?}\n    {text}",
            said.result(),
            said.reason(),
            shape.expect
        ));
    }
    for note in shape.notes {
        if !said.has_note(note) {
            wrong.push(format!("{title}: no note {note}\n    {text}"));
        }
    }
    for part in &shape.shows {
        if !text.contains(part.as_str()) {
            wrong.push(format!("{title}: does not show {part}\n    {text}"));
        }
    }
    for part in &shape.hides {
        if text.contains(part.as_str()) {
            wrong.push(format!("{title}: shows {part}\n    {text}"));
        }
    }
    wrong
}
