//! The one Received field that Kenin adds. It is made only of characters that cannot end it.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.4>.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Division, Envelope};

/// The field with its CRLF.
pub(crate) fn received_field(envelope: &Envelope, hostname: &str, now: SystemTime) -> Vec<u8> {
    let secure = if envelope.tls.is_some() { "S" } else { "" };
    // RFC 3848, and RFC 6531 §4.3 for SMTPUTF8 transactions.
    let lmtp = envelope.division == Division::Answers;
    let protocol = match (envelope.smtputf8, lmtp, envelope.esmtp) {
        (true, true, _) => "UTF8LMTP",
        (true, false, _) => "UTF8SMTP",
        (false, true, _) => "LMTP",
        (false, false, true) => "ESMTP",
        (false, false, false) => "SMTP",
    };
    let address = match envelope.client.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    };
    format!(
        "Received: from {} ({address})\r\n\tby {} (Kenin) with {protocol}{secure}\r\n\tid {}; {}\r\n",
        atoms(&envelope.helo),
        atoms(hostname),
        atoms(&envelope.id),
        date(now),
    )
    .into_bytes()
}

/// What a Received field of ours holds: the token by which a loop is seen.
pub(crate) fn loop_token(hostname: &str) -> String {
    format!("by {} (Kenin)", atoms(hostname))
}

/// An RFC 5322 date in UTC.
#[must_use]
pub fn date(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let name = |list: &'static str, at: u64| {
        let at = usize::try_from(at).unwrap_or(0) * 3;
        list.get(at..at + 3).unwrap_or("")
    };
    format!(
        "{}, {day} {} {year} {:02}:{:02}:{:02} +0000",
        name("ThuFriSatSunMonTueWed", days % 7),
        name("JanFebMarAprMayJunJulAugSepOctNovDec", month - 1),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
    )
}

/// Days since 1970 to year, month, day; years begin in March so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// What a host name or address literal is made of; anything else becomes `?`.
fn atoms(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    text.chars()
        .take(255)
        .map(|c| if fits(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Body, XForward};
    use std::time::Duration;

    /// The envelope of a mail that nobody has named yet.
    pub(crate) fn envelope() -> Envelope {
        Envelope {
            id: "ID".to_owned(),
            mail_from: String::new(),
            body: Body::SevenBit,
            smtputf8: false,
            size: None,
            ret: None,
            envid: None,
            rcpt_to: Vec::new(),
            helo: "client.example".to_owned(),
            esmtp: true,
            division: Division::Copies,
            seven_bit_only: false,
            client: "[::1]:9".parse().unwrap(),
            tls: None,
            authenticated: None,
            daemon: None,
            xforward: XForward::default(),
        }
    }

    #[test]
    fn dates_are_right() {
        let at = |s| date(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(at(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 +0000");
        assert_eq!(at(4_107_542_400), "Mon, 1 Mar 2100 00:00:00 +0000");
    }

    #[test]
    fn a_hostile_helo_stays_in_its_field() {
        let envelope = Envelope {
            helo: "a\r\nX: (".to_owned(),
            tls: Some("TLS".to_owned()),
            ..envelope()
        };
        let field = received_field(&envelope, "gw.example", UNIX_EPOCH);
        assert_eq!(
            String::from_utf8(field).unwrap(),
            "Received: from a??X:?? ([IPv6:::1])\r\n\tby gw.example (Kenin) with ESMTPS\r\n\t\
             id ID; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
    }
}
