//! Third-party suites, run where their data is: what a suite expects and we do not do is an
//! exception with a reason in a list beside the module; a case listed and passing is a failure too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod limbo;
mod pkits;

/// The folder of one suite, or `None` after saying loudly that it is absent.
/// `KENIN_DATA` names the folder of all suites; `KENIN_REQUIRE_DATA=1` makes absence a failure.
pub(crate) fn data(suite: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KENIN_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join(suite);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("KENIN_REQUIRE_DATA").is_none_or(|v| v != "1"),
        "{} is absent and KENIN_REQUIRE_DATA=1",
        folder.display()
    );
    eprintln!("SKIPPED: {} is absent", folder.display());
    None
}

/// Cases in which we and the suite differ on purpose, with the reason.
pub(crate) struct Exceptions {
    reasons: BTreeMap<String, String>,
}

/// How one case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The name of the case.
    pub(crate) name: String,
    /// Whether the suite wants it accepted.
    pub(crate) expected: bool,
    /// What we said: accepted, or why not.
    pub(crate) got: Result<(), String>,
}

impl Exceptions {
    /// Reads `"name" = "reason"` lines under `[exceptions]`.
    pub(crate) fn parse(text: &str) -> Self {
        let line = |line: &str| -> Option<(String, String)> {
            let (name, reason) = line
                .strip_prefix('"')?
                .strip_suffix('"')?
                .split_once("\" = \"")?;
            Some((name.to_owned(), reason.to_owned()))
        };
        let reasons: BTreeMap<_, _> = text
            .lines()
            .filter(|text| !text.is_empty() && !text.starts_with(['#', '[']))
            .map(|text| line(text).unwrap_or_else(|| panic!("not an exception: {text}")))
            .collect();
        for (name, reason) in &reasons {
            assert!(reason.len() > 10, "{name}: an exception needs a reason");
        }
        Self { reasons }
    }

    /// Whether a case is listed.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.reasons.contains_key(name)
    }

    /// Fails on every case that disagrees and is not listed, that is listed and agrees, or is listed
    /// and unknown. With `no_false_accept`, a case accepted against the suite fails even if listed.
    /// Returns how many agree.
    pub(crate) fn judge(&self, outcomes: &[Outcome], no_false_accept: bool) -> usize {
        let mut faults = Vec::new();
        let mut agree = 0;
        for Outcome {
            name,
            expected,
            got,
        } in outcomes
        {
            let same = *expected == got.is_ok();
            agree += usize::from(same);
            match (same, self.reasons.get(name)) {
                (true, None) => {}
                (true, Some(_)) => faults.push(format!("{name}: agrees, take it off the list")),
                (false, None) => faults.push(format!("{name}: expected {expected}, got {got:?}")),
                (false, Some(_)) if no_false_accept && got.is_ok() => {
                    faults.push(format!("{name}: a false accept cannot be an exception"));
                }
                (false, Some(_)) => {}
            }
        }
        for name in self.reasons.keys() {
            if !outcomes.iter().any(|o| o.name == *name) {
                faults.push(format!("{name}: listed, but no such case was run"));
            }
        }
        assert!(
            faults.is_empty(),
            "{} faults:\n{}",
            faults.len(),
            faults.join("\n")
        );
        agree
    }
}

#[test]
fn the_judge_of_suites_is_strict() {
    let outcome = |name: &str, expected, got: Result<(), String>| Outcome {
        name: name.to_owned(),
        expected,
        got,
    };
    let refused = || Err("because".to_owned());
    let none = Exceptions::parse("[exceptions]");
    let one = Exceptions::parse("[exceptions]\n\"a\" = \"a reason, long enough\"");
    let fails = |list: &Exceptions, outcomes: &[Outcome]| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| list.judge(outcomes, true)))
            .is_err()
    };
    assert_eq!(
        none.judge(
            &[outcome("a", true, Ok(())), outcome("b", false, refused())],
            true
        ),
        2
    );
    assert_eq!(one.judge(&[outcome("a", true, refused())], true), 0);
    assert!(fails(&none, &[outcome("a", true, refused())]));
    assert!(fails(&one, &[outcome("a", true, Ok(()))]));
    assert!(fails(&one, &[outcome("a", false, Ok(()))]));
    assert!(fails(&one, &[outcome("b", true, Ok(()))]));
}
