//! The documentation says what the program does: the page of reasons is made from the one list, the
//! pieces for Exim are those that `init` prints, and no link leads nowhere. `UPDATE=1` writes the page anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kenin_policy::{NoteId, Reason, ResultWord};
use kenin_tests::kenin::kenin;
use kenin_tests::parts;

#[test]
fn the_page_of_reasons_is_the_list() {
    let file = parts::project().join("docs/reasons.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == page,
        "docs/reasons.md is not the list: run the tests with UPDATE=1"
    );
}

fn page() -> String {
    let mut page = String::from(HEAD);
    for word in ResultWord::ALL {
        let _ = write!(page, "\n## {word}\n\n");
        page.push_str("| reason | it means | what to do | who | strict reply |\n");
        page.push_str("| --- | --- | --- | --- | --- |\n");
        for reason in Reason::ALL.iter().filter(|reason| reason.result() == word) {
            let reply = reason.strict_reply().map_or_else(
                || "–".to_owned(),
                |reply| format!("`{} {}`", reply.code, reply.enhanced),
            );
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {reply} |",
                reason.id(),
                reason.text(),
                reason.advice(),
                reason.actor().as_str()
            );
        }
    }
    page.push_str(NOTES);
    for note in NoteId::ALL {
        let _ = writeln!(page, "| `{}` | {} |", note.id(), note.text());
    }
    page.push_str(STATES);
    page
}

const HEAD: &str = "# Reasons

Every verdict has one reason. Its id is the same in the header, the SMTP reply, the log and the JSON of
`kenin verify`. The strict reply is what a sender gets where `mail.toml` says
`enforce = \"strict\"`; the two reasons of `none` are refused only where a signature is required.
`kenin explain FILE` shows how a verdict came about. `directory-unavailable` and `limit-compression` are
reserved, and so far never given: no mail that is judged asks a directory, and compressed layers are expanded inside of
encrypted ones only.
";

const NOTES: &str = "
## Notes

Said beside a result; they never change it.

| note | it means |
| --- | --- |
";

const STATES: &str = "
## States of encrypted mail

Mail that stayed encrypted has no reason, and no `smime=` result. What became of it for each recipient is one of these, in the
log and in metrics only: [decrypting.md](decrypting.md#the-states). Outside all but the first are one word, `undecryptable`.

| state | it means |
| --- | --- |
| `opened` | it was opened |
| `not-root` | a part is encrypted, and the message is not |
| `not-recipient` | no key of the recipient's is named |
| `undecryptable` | it does not open, or may not be delivered opened |
| `replayed-ciphertext` | it came before, in a message that is answered to somebody else |
| `throttled` | too much from the same network did not open |
";

/// The other tests of Exim execute what `init` prints, and so this page.
#[test]
fn the_pieces_for_exim_are_those_that_init_prints() {
    let page = std::fs::read_to_string(parts::project().join("docs/exim.md")).unwrap();
    let (_, behind) = page.split_once("<!-- test: exim -->\n```\n").unwrap();
    let (kept, _) = behind.split_once("```").unwrap();
    let printed = kenin(&["init", "exim", "--dry-run", "--hostname", "gw.example.jp"]);
    assert!(printed.status.success());
    assert_eq!(kept, String::from_utf8(printed.stdout).unwrap());
}

#[test]
fn every_link_leads_somewhere() {
    let project = parts::project();
    let mut pages = markdown(project);
    pages.extend(markdown(&project.join("docs")));
    pages.extend(markdown(&project.join("docs/decisions")));
    pages.extend(markdown(&project.join("bench")));
    assert!(pages.len() > 10, "{pages:?}");
    let mut broken = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A file in one cell, its tests in the next.
#[test]
fn every_test_that_the_map_of_rows_names_is_there() {
    let project = parts::project();
    let map = std::fs::read_to_string(project.join("tests/README.md")).unwrap();
    let mut count = 0;
    for line in map.lines().filter(|line| line.starts_with('|')) {
        let words: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let [file, tests @ ..] = words.as_slice() else {
            continue;
        };
        let code = std::fs::read_to_string(project.join(file)).unwrap_or_default();
        for test in tests {
            count += 1;
            let there = code.contains(&format!("fn {test}("));
            assert!(there, "{file} has no test {test}");
        }
    }
    assert!(count > 50, "{count}");
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}
