//! The text of trust.toml: reads the anchors out of it, adds and removes one, and keeps every comment
//! and the order that a person gave it. Touches no file.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

/// An anchor as trust.toml writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) uses: Vec<String>,
    pub(super) revocation: String,
    pub(super) disclosure: String,
    /// What `profile` asks of the certificates below, key by key; nothing where there is none.
    pub(super) profile: Vec<(String, Vec<String>)>,
}

/// Why the text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    #[error("{0}")]
    Toml(#[from] toml_edit::TomlError),
    #[error("`anchor` is not a list of tables: write [[anchor]]")]
    Shape,
    #[error("there is an anchor named \"{0}\" already")]
    Exists(String),
    #[error("there is no anchor named \"{name}\"{}", hint(.known))]
    Unknown { name: String, known: Vec<String> },
}

fn hint(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!("; there are {}", known.join(", "))
    }
}

/// The anchors, in order.
pub(super) fn list(text: &str) -> Result<Vec<Entry>, EditError> {
    let document: DocumentMut = text.parse()?;
    let Some(item) = document.get("anchor") else {
        return Ok(Vec::new());
    };
    if item.as_array().is_some_and(Array::is_empty) {
        return Ok(Vec::new());
    }
    let tables = item.as_array_of_tables().ok_or(EditError::Shape)?;
    Ok(tables.iter().map(entry).collect())
}

/// The text with one anchor more, at the end of the list of anchors.
pub(super) fn add(text: &str, entry: &Entry, comment: &str) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    if list(text)?.iter().any(|known| known.name == entry.name) {
        return Err(EditError::Exists(entry.name.clone()));
    }
    let mut table = Table::new();
    table.insert("name", value(&entry.name));
    table.insert("file", value(&entry.file));
    table.insert("use", value(entry.uses.iter().collect::<Array>()));
    table.insert("revocation", value(&entry.revocation));
    table.insert("disclosure", value(&entry.disclosure));
    let comment: String = comment
        .lines()
        .map(|line| format!("# {}\n", line.replace(char::is_control, " ")))
        .collect();
    table.decor_mut().set_prefix(format!("\n{comment}"));
    let item = document
        .entry("anchor")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    // `anchor = []` is what a person may have left behind.
    if item.as_array().is_some_and(Array::is_empty) {
        *item = Item::ArrayOfTables(ArrayOfTables::new());
    }
    item.as_array_of_tables_mut()
        .ok_or(EditError::Shape)?
        .push(table);
    Ok(document.to_string())
}

/// The text without the anchor of that name, and what it said.
pub(super) fn remove(text: &str, name: &str) -> Result<(String, Entry), EditError> {
    let known = list(text)?;
    let Some(at) = known.iter().position(|entry| entry.name == name) else {
        let known = known.into_iter().map(|entry| entry.name).collect();
        return Err(EditError::Unknown {
            name: name.to_owned(),
            known,
        });
    };
    let mut document: DocumentMut = text.parse()?;
    let tables = document
        .get_mut("anchor")
        .and_then(Item::as_array_of_tables_mut)
        .ok_or(EditError::Shape)?;
    tables.remove(at);
    if tables.is_empty() {
        document.remove("anchor");
    }
    let gone = known.into_iter().nth(at).ok_or(EditError::Shape)?;
    Ok((document.to_string(), gone))
}

fn entry(table: &Table) -> Entry {
    let text = |key: &str, default: &str| {
        table
            .get(key)
            .and_then(Item::as_str)
            .unwrap_or(default)
            .to_owned()
    };
    let uses = table.get("use").and_then(Item::as_array).map_or_else(
        || vec!["mail-signing".to_owned()],
        |array| {
            array
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        },
    );
    Entry {
        name: text("name", ""),
        file: text("file", ""),
        uses,
        revocation: text("revocation", "required"),
        disclosure: text("disclosure", "full"),
        profile: profile(table),
    }
}

fn profile(table: &Table) -> Vec<(String, Vec<String>)> {
    let profile = table.get("profile").and_then(Item::as_table_like);
    // A key has a list of words, or one word.
    let words = |item: &Item| {
        let list = item.as_array().into_iter().flatten();
        let list = list.filter_map(|word| word.as_str());
        let all = item.as_str().into_iter().chain(list);
        all.map(str::to_owned).collect()
    };
    profile
        .into_iter()
        .flat_map(|profile| profile.iter())
        .map(|(key, item)| (key.to_owned(), words(item)))
        .collect()
}

/// A name for an anchor, from words of its subject: lower-case letters, digits and hyphens.
pub(super) fn name_from(subject: &str) -> String {
    let mut name = String::new();
    for c in subject.chars() {
        if name.len() >= 60 {
            break;
        }
        if c.is_alphanumeric() {
            name.extend(c.to_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "anchor".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ours\nintermediates = [\"intermediates\"] # here\n\n[algorithms]\n\
        minimum_rsa_bits = 2048\n\n# the first\n[[anchor]]\nname = \"one\"\nfile = \"anchors/one.pem\"\n\
        revocation = \"off\" # for a week\n\n# the second\n[[anchor]]\nname = \"two\"\n\
        file = \"anchors/two.pem\"\n";

    fn three() -> Entry {
        Entry {
            name: "three".into(),
            file: "anchors/three.pem".into(),
            uses: vec!["mail-signing".into()],
            revocation: "required".into(),
            disclosure: "full".into(),
            profile: Vec::new(),
        }
    }

    #[test]
    fn adding_keeps_everything_that_was_there() {
        let text = add(TEXT, &three(), "CN=Three\nsha256 00").unwrap();
        assert!(text.starts_with(TEXT), "{text}");
        assert!(
            text.contains("# CN=Three\n# sha256 00\n[[anchor]]\nname = \"three\""),
            "{text}"
        );
        let known = list(&text).unwrap();
        assert_eq!(known.len(), 3);
        assert_eq!(known[2], three());
        assert_eq!(known[0].revocation, "off");
        assert!(matches!(
            add(&text, &three(), ""),
            Err(EditError::Exists(_))
        ));
    }

    #[test]
    fn adding_to_an_empty_file_works() {
        assert_eq!(list(&add("", &three(), "").unwrap()).unwrap(), [three()]);
        assert_eq!(
            list(&add("anchor = []\n", &three(), "").unwrap()).unwrap(),
            [three()]
        );
        assert!(matches!(
            add("anchor = 3\n", &three(), ""),
            Err(EditError::Shape)
        ));
    }

    #[test]
    fn a_comment_cannot_leave_its_line() {
        let text = add("", &three(), "CN=a\rname = \"x\"\n[[anchor]]").unwrap();
        assert_eq!(list(&text).unwrap(), [three()], "{text}");
    }

    #[test]
    fn removing_takes_only_that_one() {
        let (text, gone) = remove(TEXT, "one").unwrap();
        assert_eq!(gone.file, "anchors/one.pem");
        assert!(
            text.contains("# ours") && text.contains("# the second"),
            "{text}"
        );
        let names: Vec<String> = list(&text).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["two"]);
        let error = remove(TEXT, "tow").unwrap_err().to_string();
        assert!(error.contains("one, two"), "{error}");
    }

    #[test]
    fn a_profile_is_read_in_either_spelling() {
        let expected = vec![
            ("certificate_policies".to_owned(), vec!["1.2.3".to_owned()]),
            (
                "key_usage".to_owned(),
                vec!["digital-signature".to_owned(), "non-repudiation".to_owned()],
            ),
            ("holder_attributes".to_owned(), vec!["1.2.4".to_owned()]),
        ];
        let fields = "certificate_policies = [\"1.2.3\"]\n\
                      key_usage = [\"digital-signature\", \"non-repudiation\"]\n\
                      holder_attributes = \"1.2.4\"\n";
        let inline = fields.trim_end().replace('\n', ", ");
        for text in [
            format!("[[anchor]]\nname = \"a\"\nprofile = {{ {inline} }}\n"),
            format!("[[anchor]]\nname = \"a\"\n[anchor.profile]\n{fields}"),
        ] {
            assert_eq!(list(&text).unwrap()[0].profile, expected, "{text}");
            // Another anchor behind it takes nothing away.
            let more = add(&text, &three(), "").unwrap();
            assert_eq!(list(&more).unwrap()[0].profile, expected, "{more}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(
            name_from("CN=J-SIM Root CA,O=\"x\""),
            "cn-j-sim-root-ca-o-x"
        );
        assert_eq!(name_from("***"), "anchor");
    }
}
