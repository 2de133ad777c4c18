//! The schema: numbered texts, forward only. They are written for SQLite; what PostgreSQL says in other words is
//! put into them here.
//!
//! A number is never given twice. A text that was released never changes, and neither does its translation: both
//! kinds of database remember what they ran by its SHA-384.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::embedded;

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// Brings a database of this kind to the newest schema.
pub(crate) fn migrator(dialect: Dialect) -> Migrator {
    let migrations = TEXTS.iter().zip(1..).map(|(&(name, text), number)| {
        let text = match dialect {
            Dialect::Sqlite => text.into_sql_str(),
            // Made of constants only.
            Dialect::Postgres => AssertSqlSafe(in_postgres(text)).into_sql_str(),
        };
        Migration::new(number, name.into(), MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Brings a file to the newest schema.
pub(crate) async fn build(file: &embedded::Connections) -> Result<(), MigrateError> {
    let mut lent = file.lend().await?;
    migrator(Dialect::Sqlite).run(lent.connection()?).await
}

/// The number of the newest schema.
pub(crate) fn newest() -> i64 {
    i64::try_from(TEXTS.len()).unwrap_or(i64::MAX)
}

/// The same text for PostgreSQL. Text is compared by its bytes there as well: the order of a language changes with
/// the system's libraries, and an index that was built in another one finds nothing.
fn in_postgres(text: &str) -> String {
    WORDS
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

const TEXTS: [(&str, &str); 9] = [
    ("start", include_str!("../migrations/0001_start.sql")),
    (
        "delivered",
        include_str!("../migrations/0002_delivered.sql"),
    ),
    ("holders", include_str!("../migrations/0003_holders.sql")),
    ("indexed", include_str!("../migrations/0004_indexed.sql")),
    ("look_ups", include_str!("../migrations/0005_look_ups.sql")),
    ("fetched", include_str!("../migrations/0006_fetched.sql")),
    ("clock", include_str!("../migrations/0007_clock.sql")),
    (
        "ciphertexts",
        include_str!("../migrations/0008_ciphertexts.sql"),
    ),
    (
        "protection",
        include_str!("../migrations/0009_protection.sql"),
    ),
];

const WORDS: [(&str, &str); 5] = [
    (") STRICT, WITHOUT ROWID;", ");"),
    (") STRICT;", ");"),
    (" BLOB", " BYTEA"),
    (" INTEGER", " BIGINT"),
    (" TEXT", " TEXT COLLATE \"C\""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_left_that_postgresql_lacks() {
        for (name, text) in TEXTS {
            let lines = in_postgres(text);
            let code: Vec<&str> = lines
                .lines()
                .map(|line| line.split("--").next().unwrap_or_default())
                .collect();
            let code = code.join("\n").to_ascii_uppercase();
            let words: Vec<&str> = code
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .collect();
            for lacking in [
                "BLOB",
                "STRICT",
                "ROWID",
                "WITHOUT",
                "INTEGER",
                "INT",
                "REAL",
                "ANY",
                "AUTOINCREMENT",
                "PRAGMA",
                "HEX",
            ] {
                assert!(!words.contains(&lacking), "{name}: {lacking}");
            }
            // In SQLite a quoted word that names nothing is text, and no type is no mistake.
            assert_eq!(
                code.matches('"').count(),
                2 * code.matches("COLLATE \"C\"").count()
            );
            assert_eq!(
                words.iter().filter(|word| **word == "TEXT").count(),
                words.iter().filter(|word| **word == "COLLATE").count(),
                "{name}"
            );
        }
    }

    /// What was run somewhere is refused everywhere once its text is another one.
    #[test]
    fn what_was_released_stays_as_it_is() {
        let known = [
            ["6c818745eb2cd44f", "9d2e64586d6eae55"],
            ["a61a9349d6432d12", "2beabfcbda62671d"],
            ["95af7f7a6e7cf851", "d05bd43ddbc43f6e"],
            ["f465c50f91d90b49", "0810d589452ffc7d"],
            ["ea4b3e97c1322d89", "ea4b3e97c1322d89"],
            ["3ac1027712c7e54a", "d0408592f4be8efc"],
            ["6f6dcbb49bab2b0b", "7826a9bb2262aa03"],
            ["8de79dd232f981a6", "671e12333ddf0cd9"],
            ["d5eba0d6e4df9cb4", "f4c3d23ea0fa605d"],
        ];
        assert_eq!(i64::try_from(known.len()).unwrap(), newest());
        let both = [Dialect::Sqlite, Dialect::Postgres].map(migrator);
        let both = both[0].iter().zip(both[1].iter());
        for ((sqlite, postgres), known) in both.zip(known) {
            let hex = |one: &Migration| -> String {
                let start = one.checksum.iter().take(8);
                start.map(|byte| format!("{byte:02x}")).collect()
            };
            assert_eq!([hex(sqlite).as_str(), hex(postgres).as_str()], known);
        }
    }
}
