//! What a held mail is called: the id that the log has for its transaction, and a number behind it where several
//! copies of one mail are held.

use std::fmt;

/// The name of a held mail. It names its file, too, and so holds nothing but digits, capitals and a hyphen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(String);

impl Id {
    /// The `copy`-th (from 1) that is held of the mail of this transaction; nothing where that is no transaction's id.
    pub(super) fn of(transaction: &str, copy: usize) -> Option<Self> {
        let text = match copy {
            1 => transaction.to_owned(),
            more => format!("{transaction}-{more}"),
        };
        Self::parse(&text)
    }

    /// Reads what somebody wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (transaction, copy) = match text.split_once('-') {
            Some((transaction, copy)) => (transaction, Some(copy)),
            None => (text, None),
        };
        let plain = |c: u8| c.is_ascii_digit() || c.is_ascii_uppercase();
        let number = |copy: &str| {
            let digits = copy.bytes().all(|c| c.is_ascii_digit());
            (1..=2).contains(&copy.len()) && digits && !copy.starts_with('0') && copy != "1"
        };
        let fits = transaction.len() == TRANSACTION
            && transaction.bytes().all(plain)
            && copy.is_none_or(number);
        fits.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Copies that are held of one mail, at most: as many as there are transactions for it.
pub(super) const MAX_COPIES: usize = 99;
/// Characters of the id of a transaction.
const TRANSACTION: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_path() {
        let transaction = "01J0000000000000000000000A";
        assert_eq!(Id::of(transaction, 1).unwrap().as_str(), transaction);
        let copy = Id::of(transaction, 12).unwrap();
        assert_eq!(copy.to_string(), format!("{transaction}-12"));
        assert_eq!(Id::parse(copy.as_str()), Some(copy));
        for text in [
            "",
            "01J",
            "../../../../../../../passwd",
            "01j0000000000000000000000a",
            "01J0000000000000000000000/",
            "01J0000000000000000000000A-",
            "01J0000000000000000000000A-1",
            "01J0000000000000000000000A-02",
            "01J0000000000000000000000A-100",
            "01J0000000000000000000000A-2-2",
            "01J0000000000000000000000A.mail",
            "Ä1J000000000000000000000A",
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
        assert_eq!(Id::of(transaction, MAX_COPIES + 1), None);
    }
}
