//! What somebody is told of a mail that is held for him: that there is one, and its number. Nothing of the mail itself
//! and nothing of who sent it, since it may be that which the next hop would not take.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kenin_pki::time::UnixTime;
use kenin_smtp_filter::client::Sender;
use kenin_smtp_filter::server::ServerConfig;
use kenin_smtp_filter::{Recipient, date};

use super::facts::Facts;
use super::id::Id;
use super::release::{SendError, Whole, send};
use crate::config::{Notify, Quarantine};

/// Tells whom the settings say, from the null sender: whoever cannot be told tells nobody of it. Where none of those
/// whom it was for can be, the postmaster is.
pub(super) async fn tell(
    server: &ServerConfig,
    settings: &Quarantine,
    id: &Id,
    facts: &Facts,
    now: SystemTime,
) -> Result<(), SendError> {
    let text = text(&server.hostname, id, facts.until, now);
    let postmaster = [Recipient::new(&settings.postmaster)];
    let people = facts.recipients.iter();
    let people: Vec<Recipient> = people.map(|to| Recipient::new(&to.address)).collect();
    let send = |to: Vec<Recipient>| {
        let text = &text;
        async move {
            let sender = Sender::new("");
            let (next_hop, hostname) = (&server.next_hop, &server.hostname);
            send(next_hop, hostname, sender, &to, Whole::Some, text).await
        }
    };
    let told = match settings.notify {
        Notify::Nobody => return Ok(()),
        Notify::Postmaster => return send(postmaster.to_vec()).await.map(drop),
        Notify::Recipient => send(people).await,
    };
    match told {
        Err(SendError::Refused(reply)) if !reply.is_transient() => {
            send(postmaster.to_vec()).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// The notice; its lines end in CRLF, and it is ASCII.
fn text(hostname: &str, id: &Id, until: Option<i64>, now: SystemTime) -> Vec<u8> {
    let ends = until.map(|until| UnixTime(until).to_string());
    let ends = ends.as_deref();
    let kept = ends.map_or_else(String::new, |ends| {
        format!("\r\nIt is kept until {ends}.\r\n")
    });
    let until = ends.map_or_else(String::new, |ends| format!("保管期限: {ends}\r\n"));
    let said = format!(
        "A message for you could not be delivered and is held at the mail gateway.\r\n\
         To get it, tell whoever looks after your mail this number:\r\n\r\n    {id}\r\n{kept}\r\n\
         あなた宛のメールを配信できなかったため、メールゲートウェイで保管しています。\r\n\
         受け取るには、メールの管理者に上の番号をお知らせください。\r\n{until}"
    );
    let mut text = format!(
        "From: Mail gateway <MAILER-DAEMON@{hostname}>\r\n\
         To: undisclosed-recipients:;\r\n\
         Subject: A message for you is held\r\n\
         Date: {}\r\n\
         Message-ID: <{id}.held@{hostname}>\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        date(now)
    );
    for chunk in STANDARD.encode(said).as_bytes().chunks(76) {
        text.push_str(&String::from_utf8_lossy(chunk));
        text.push_str("\r\n");
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::facts::tests::{copy, moment};
    use super::*;
    use crate::clock::Trust;
    use crate::config::KeyAt;
    use crate::demo::mailbox::Mailbox;

    #[tokio::test]
    async fn those_are_told_whom_the_settings_say() {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = Mailbox::start(folder.path()).await.unwrap();
        let server = ServerConfig::new("gw.example", &mailbox.address.to_string());
        let id = Id::parse("01J0000000000000000000000A").unwrap();
        let now = moment(1_800_000_000, Trust::Yes);
        let held = copy("Subject: canary\r\n\r\ncanary\r\n", Some("canary"));
        let facts = Facts::of(&held, "default", now, Duration::from_secs(1));
        let people: &[&str] = &["<a@x.example>", "<c@x.example>"];
        let postmaster: &[&str] = &["<postmaster@gw.example>"];
        let nobody: &[&str] = &[];
        for (notify, told) in [
            (Notify::Recipient, people),
            (Notify::Postmaster, postmaster),
            (Notify::Nobody, nobody),
        ] {
            let settings = Quarantine {
                key: KeyAt::File(PathBuf::from("unused")),
                previous: Vec::new(),
                keep: Duration::from_secs(1),
                size: 1,
                entries: 1,
                notify,
                postmaster: "postmaster@gw.example".to_owned(),
            };
            tell(&server, &settings, &id, &facts, now.time)
                .await
                .unwrap();
            let Some(arrived) = mailbox.try_next() else {
                assert!(told.is_empty());
                continue;
            };
            assert!(arrived.mail_from.starts_with("<>"), "{}", arrived.mail_from);
            assert_eq!(arrived.rcpt_to, told);
            let text = String::from_utf8(arrived.bytes).unwrap();
            for secret in ["canary", "alice", "x.example"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }

    #[test]
    fn a_notice_says_that_and_nothing_else() {
        let id = Id::parse("01J0000000000000000000000A").unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for until in [Some(1_800_086_400), None] {
            let notice = String::from_utf8(text("gw.example.jp", &id, until, now)).unwrap();
            assert!(notice.is_ascii());
            assert!(notice.contains("Auto-Submitted: auto-generated\r\n"));
            let (header, body) = notice.split_once("\r\n\r\n").unwrap();
            assert!(
                header.contains("\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n"),
                "{header}"
            );
            let said = STANDARD.decode(body.replace("\r\n", "")).unwrap();
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains(&format!("\r\n    {id}\r\n")), "{said}");
            assert_eq!(
                said.matches("2027-01-16T08:00:00Z").count(),
                2 * usize::from(until.is_some())
            );
            for line in notice.lines() {
                assert!(line.len() <= 78, "{line}");
            }
        }
    }
}
