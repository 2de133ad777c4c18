//! How the demo shows what arrived: a table, or JSON.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use super::delivered::Row;

/// The table, and below it every problem in words.
pub(super) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["mail", "verdict", "reason", "expected", "ok?"]);
    for row in rows {
        let ok = if row.problems.is_empty() { "ok" } else { "NO" };
        table.add_row([row.title, &row.verdict, &row.reason, &row.expected, ok]);
    }
    let mut text = format!("{table}\n");
    for row in rows.iter().filter(|row| !row.problems.is_empty()) {
        text.push_str(&format!("NO: {}: {}\n", row.title, row.problems.join("; ")));
    }
    text
}

/// A text as an inset.
pub(super) fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}\n"));
    lines.collect()
}

/// One JSON object a mail.
pub(super) fn json(row: &Row) -> serde_json::Value {
    serde_json::json!({
        "mail": row.title,
        "verdict": row.verdict,
        "reason": row.reason,
        "expected": row.expected,
        "ok": row.problems.is_empty(),
        "problems": row.problems,
        "statement": row.statement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_seen() {
        let mut row = Row {
            title: "opaque",
            verdict: "pass".into(),
            reason: "ok".into(),
            expected: "pass (ok)".into(),
            problems: Vec::new(),
            statement: None,
        };
        assert!(!table(std::slice::from_ref(&row)).contains("NO"));
        row.problems.push("the body was changed".into());
        assert!(table(std::slice::from_ref(&row)).contains("NO: opaque: the body was changed"));
        assert_eq!(json(&row)["ok"], false);
    }
}
