//! Header values of a message of our own: display names, dates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kenin_pki::time::UnixTime;

/// A field with one mailbox: its display name, quoted or in encoded words (RFC 2047), and its address.
pub(super) fn mailbox_field(name: &str, display: &str, address: &str) -> Vec<u8> {
    let display: String = display.chars().filter(|c| !c.is_control()).collect();
    let plain =
        display.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && display.len() <= MAX_PLAIN;
    let shown = match plain {
        // What looks like an encoded word would be decoded by some, also between quotes.
        true if !display.contains("=?") => {
            format!("\"{}\"", display.replace('\\', "\\\\").replace('"', "\\\""))
        }
        _ => encoded(&display),
    };
    format!("{name}: {shown}\r\n <{address}>\r\n").into_bytes()
}

fn encoded(text: &str) -> String {
    let mut words = Vec::new();
    let mut part = String::new();
    for c in text.chars().take(MAX_PLAIN) {
        if part.len() + c.len_utf8() > WORD {
            words.push(std::mem::take(&mut part));
        }
        part.push(c);
    }
    words.push(part);
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)))
        .collect();
    words.join("\r\n ")
}

/// date-time of RFC 5322 §3.3, in UTC.
pub(super) fn date(time: UnixTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day, hour, minute, second) = time.civil();
    // 1970-01-01 was a Thursday.
    let weekday = usize::try_from(time.0.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let weekday = DAYS.get(weekday).copied().unwrap_or_default();
    let month = MONTHS
        .get(usize::from(month).saturating_sub(1))
        .copied()
        .unwrap_or_default();
    format!("{weekday}, {day} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

/// Octets of text in one encoded word of at most 75.
const WORD: usize = 45;
/// Characters of a display name.
const MAX_PLAIN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_their_weekday() {
        assert_eq!(date(UnixTime(0)), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(
            date(UnixTime(1_795_651_200)),
            "Thu, 26 Nov 2026 00:00:00 +0000"
        );
        assert_eq!(
            date(UnixTime(951_782_399)),
            "Mon, 28 Feb 2000 23:59:59 +0000"
        );
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        let field = |display: &str| {
            String::from_utf8(mailbox_field("From", display, "v@gw.example")).unwrap()
        };
        assert_eq!(
            field("a via Kenin"),
            "From: \"a via Kenin\"\r\n <v@gw.example>\r\n"
        );
        assert_eq!(
            field("\"<x@y>\\\r\nBcc: z"),
            "From: \"\\\"<x@y>\\\\Bcc: z\"\r\n <v@gw.example>\r\n"
        );
        assert_eq!(
            field("検印"),
            "From: =?UTF-8?B?5qSc5Y2w?=\r\n <v@gw.example>\r\n"
        );
        assert!(field("=?UTF-8?Q?boss?=").starts_with("From: =?UTF-8?B?PT9"));
        let long = field(&"検".repeat(500));
        assert!(long.lines().all(|line| line.len() <= 78), "{long}");
    }
}
