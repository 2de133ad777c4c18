//! What arrived, compared with what was sent and with the truth: verdict and reason in the stamp, one
//! set of stamps, a statement whose signature holds, and not one signed byte changed.

use kenin_pki::certificate::Certificate;
use kenin_policy::StampKey;

use super::mailbox::Arrived;
use super::mails::{Case, Expected};
use super::wrapped;

/// One line of the result.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was sent.
    pub title: &'static str,
    /// Result word in the stamp, `-` without one, or the reply code of a refusal.
    pub verdict: String,
    /// Reason in the stamp or in the reply.
    pub reason: String,
    /// What it should have been.
    pub expected: String,
    /// What is wrong; empty when all is right.
    pub problems: Vec<String>,
    /// What a wrapped mail says to the person who gets it.
    pub statement: Option<String>,
}

/// A header field: its name as written, its value unfolded, all its bytes.
struct Field<'a> {
    name: &'a [u8],
    value: String,
    whole: &'a [u8],
}

/// Compares one mail with its case.
pub fn inspect(
    case: &Case,
    reply: &str,
    arrived: Option<&Arrived>,
    authserv_id: &str,
    key: &StampKey,
    authority: &Certificate,
) -> Row {
    let mut row = Row {
        title: case.title,
        verdict: "-".to_owned(),
        reason: String::new(),
        expected: match case.expected {
            Expected::Stamped(result, reason) => format!("{result} ({reason})"),
            Expected::Wrapped(result, reason) => format!("{result} ({reason}), wrapped"),
            Expected::Unstamped => "no result".to_owned(),
            Expected::Refused(code, reason) => format!("{code} ({reason})"),
        },
        problems: Vec::new(),
        statement: None,
    };
    match (case.expected, arrived) {
        (Expected::Refused(code, reason), None) => {
            row.verdict = reply.split(' ').take(2).collect::<Vec<_>>().join(" ");
            row.reason = between(reply, '(', &[',', ')']).unwrap_or_default();
            if row.verdict != code || row.reason != reason {
                row.problems.push(format!("the reply is: {reply}"));
            }
        }
        (Expected::Refused(..), Some(_)) => row.problems.push("it was delivered".to_owned()),
        (_, None) => row.problems.push(format!("it was not delivered: {reply}")),
        (expected, Some(arrived)) => {
            if !reply.starts_with("250") {
                row.problems
                    .push(format!("delivered, and answered {reply}"));
            }
            stamped(&mut row, expected, case, &arrived.bytes, authserv_id, key);
            if let Expected::Wrapped(..) = expected {
                row.statement = wrapped::statement(&arrived.bytes);
                let wrong = wrapped::problems(&arrived.bytes, &case.mail, authority);
                row.problems.extend(wrong);
            }
        }
    }
    row
}

/// The value of our own field of results in a mail, for showing.
pub fn stamp_of(mail: &[u8], authserv_id: &str) -> String {
    fields(mail)
        .iter()
        .find(|field| is_own_result(field, authserv_id))
        .map_or_else(
            || "no result".to_owned(),
            |field| field.value.trim().to_owned(),
        )
}

/// Reads the stamp of a mail that came encrypted and was opened into the row, and says what is wrong with it: a signature
/// inside must have passed, and the statement hold.
pub(super) fn opened(row: &mut Row, bytes: &[u8], authserv_id: &str, key: &StampKey) {
    let fields = fields(bytes);
    let counts = read(row, &fields, authserv_id);
    if counts != (1, 1) {
        let (own, smime) = counts;
        row.problems.push(format!(
            "{own} Authentication-Results fields under our name, {smime} of S/MIME"
        ));
    }
    if (row.verdict.as_str(), row.reason.as_str()) != ("pass", "ok") {
        row.problems.push("another verdict".to_owned());
    }
    if let Err(why) = statement(bytes, row, authserv_id, key) {
        row.problems.push(format!("X-Kenin-Verdict: {why}"));
    }
}

/// The value of the first field of this name, in one line.
pub(super) fn value_of(mail: &[u8], name: &[u8]) -> Option<String> {
    let fields = fields(mail);
    let field = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))?;
    Some(field.value.trim().to_owned())
}

/// Takes verdict and reason from the results under our name into the row; says how many of these fields there are, and in
/// how many of them a result of S/MIME.
fn read(row: &mut Row, fields: &[Field<'_>], authserv_id: &str) -> (usize, usize) {
    let own: Vec<&Field<'_>> = fields
        .iter()
        .filter(|f| is_own_result(f, authserv_id))
        .collect();
    let smime: Vec<&str> = own
        .iter()
        .filter_map(|field| Some(field.value.split_once("smime=")?.1))
        .collect();
    if let Some(text) = smime.first() {
        row.verdict = text.chars().take_while(char::is_ascii_alphabetic).collect();
        // A pass needs no words, and gets none.
        let silent = if row.verdict == "pass" { "ok" } else { "" };
        row.reason = between(text, '(', &[')']).unwrap_or_else(|| silent.to_owned());
    }
    (own.len(), smime.len())
}

fn stamped(
    row: &mut Row,
    expected: Expected,
    case: &Case,
    bytes: &[u8],
    authserv_id: &str,
    key: &StampKey,
) {
    let fields = fields(bytes);
    let (own, smime) = read(row, &fields, authserv_id);
    let right = match expected {
        Expected::Stamped(result, reason) | Expected::Wrapped(result, reason) => {
            row.verdict == result && row.reason == reason
        }
        Expected::Unstamped | Expected::Refused(..) => smime == 0,
    };
    if !right {
        row.problems.push("another verdict".to_owned());
    }
    if own > 1 || smime > 1 {
        row.problems.push(format!(
            "{own} Authentication-Results fields under our name"
        ));
    }
    let statements = fields
        .iter()
        .filter(|f| f.name.eq_ignore_ascii_case(b"X-Kenin-Verdict"))
        .count();
    // Encrypted mail that was not opened gets no result, and so no statement of one.
    let wanted = usize::from(expected != Expected::Unstamped);
    if statements != wanted {
        row.problems
            .push(format!("{statements} X-Kenin-Verdict fields"));
    } else if wanted == 1
        && let Err(why) = statement(bytes, row, authserv_id, key)
    {
        row.problems.push(format!("X-Kenin-Verdict: {why}"));
    }
    if let Expected::Wrapped(..) = expected {
        // Its own header and body are looked at elsewhere.
        return;
    }
    if body(bytes) != body(&case.mail) {
        row.problems.push("the body was changed".to_owned());
    }
    // Every field that was not forged must be there still, byte for byte.
    for sent in self::fields(&case.mail) {
        let forged = is_own_result(&sent, authserv_id)
            || sent
                .name
                .get(..8)
                .is_some_and(|n| n.eq_ignore_ascii_case(b"X-Kenin-"));
        let kept = fields.iter().any(|field| field.whole == sent.whole);
        if kept == forged {
            let name = String::from_utf8_lossy(sent.name);
            let what = if forged {
                "forged, and kept"
            } else {
                "lost or changed"
            };
            row.problems.push(format!("{name}: {what}"));
        }
    }
}

/// That the signed statement holds for this header and body, and says what the other field says.
fn statement(mail: &[u8], row: &Row, issuer: &str, key: &StampKey) -> Result<(), String> {
    let payload = kenin_policy::jws::verify_statement(mail, key.public_key(), issuer)
        .map_err(|error| error.to_string())?;
    let word = |key| {
        payload
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or("-")
    };
    if (word("result"), word("reason")) != (row.verdict.as_str(), row.reason.as_str()) {
        return Err(format!("it says {} ({})", word("result"), word("reason")));
    }
    Ok(())
}

fn is_own_result(field: &Field<'_>, authserv_id: &str) -> bool {
    field.name.eq_ignore_ascii_case(b"Authentication-Results")
        && field
            .value
            .trim_start()
            .get(..authserv_id.len())
            .is_some_and(|id| id.eq_ignore_ascii_case(authserv_id))
}

fn fields(mail: &[u8]) -> Vec<Field<'_>> {
    let head = mail.get(..header_length(mail)).unwrap_or_default();
    let mut fields = Vec::new();
    let mut start = 0;
    while let Some(rest) = head.get(start..).filter(|rest| !rest.is_empty()) {
        let length = field_length(rest);
        let (whole, _) = rest.split_at(length);
        start = start.saturating_add(length);
        if let Some(colon) = whole.iter().position(|&byte| byte == b':') {
            let (name, value) = whole.split_at(colon);
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
            let value = value.replace(['\r', '\n'], "");
            fields.push(Field {
                name: name.trim_ascii_end(),
                value,
                whole,
            });
        }
    }
    fields
}

/// Up to the line end that no white space follows.
fn field_length(bytes: &[u8]) -> usize {
    let mut length = 0_usize;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if length > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break;
        }
        length = length.saturating_add(line.len());
    }
    length
}

fn header_length(mail: &[u8]) -> usize {
    mail.windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(mail.len(), |at| at.saturating_add(2))
}

/// What follows on the header, with the empty line.
pub(super) fn body(mail: &[u8]) -> &[u8] {
    mail.get(header_length(mail)..).unwrap_or_default()
}

fn between(text: &str, open: char, close: &[char]) -> Option<String> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split(close).next()?.trim().to_owned())
}

#[cfg(test)]
mod tests;
