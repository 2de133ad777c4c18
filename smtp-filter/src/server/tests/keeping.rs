//! Mail that the filter keeps, and mail of whose fate nobody outside is to hear.

use super::*;
use crate::{Confided, Group, MailBytes, Share};

const MAIL: &[u8] = b"Subject: x\r\n\r\nsecret body\r\n";

fn hold() -> Share {
    Share::Hold {
        edits: vec![Edit::Prepend(b"X-Held: yes\r\n".to_vec())],
        reason: "odd".to_owned(),
    }
}

fn confide(return_path: Option<&str>) -> Share {
    Share::Confide(Confided {
        content: None,
        edits: vec![Edit::Prepend(b"X-Opened: yes\r\n".to_vec())],
        return_path: return_path.map(str::to_owned),
        reason: "opened".to_owned(),
    })
}

/// One group a recipient: the address says what becomes of it, here and at the next hop.
fn by_address(mail: &Mail) -> Treatment {
    let groups = mail.envelope.rcpt_to.iter().enumerate();
    let groups = groups.map(|(place, recipient)| Group {
        recipients: vec![place],
        share: match recipient.address.split(['-', '@']).next().unwrap() {
            "held" => hold(),
            "opened" => confide(Some("gateway@gw.test")),
            "had" => Share::Had,
            "strict" => Share::Refuse(Reply::new(550, "5.7.7", "not signed well")),
            _ => Share::Relay(vec![Edit::Prepend(b"X-For: all\r\n".to_vec())]),
        },
    });
    Treatment::Divide(groups.collect())
}

async fn world(answer: Result<(), Reply>) -> World {
    let world = World::with(Misdeed::AsAddressed, |_| {}, by_address).await;
    *world.filter.keeps.lock().unwrap() = answer;
    world
}

impl World {
    async fn sent_to(&self, to: &[&str]) -> String {
        let to: Vec<Recipient> = to
            .iter()
            .map(|name| Recipient::new(&format!("{name}@x.example")))
            .collect();
        let sender = Sender::new("sender@a.example");
        self.send_to(&sender, &to, MAIL).await.to_string()
    }

    fn held(&self) -> Vec<(Vec<usize>, String, Option<u16>)> {
        let held = self.filter.held.lock().unwrap();
        let one = |held: &Held| {
            let text: Vec<u8> = held.content.pieces().flatten().copied().collect();
            assert_eq!(u64::try_from(text.len()).unwrap(), held.content.size());
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("\r\nReceived: from client.test "), "{text}");
            assert!(text.ends_with("Subject: x\r\n\r\nsecret body\r\n"));
            let sender = match held.refusal.is_some() {
                true => "gateway@gw.test",
                false => "sender@a.example",
            };
            assert_eq!(held.sender, sender);
            let first = text.split(':').next().unwrap().to_owned();
            let refusal = held.refusal.as_ref().map(Reply::code);
            (held.recipients.clone(), first, refusal)
        };
        held.iter().map(one).collect()
    }
}

/// Where nobody holds mail it must not be taken as if somebody did.
#[tokio::test]
async fn a_mail_to_be_held_stays_the_senders_unless_it_is_kept() {
    let whole = |_: &Mail| Treatment::Quarantine {
        edits: Vec::new(),
        reason: "odd".to_owned(),
    };
    let full = Reply::new(452, "4.3.1", "Insufficient system storage");
    let nonsense = Reply::new(250, "2.0.0", "fine");
    for (keeps, answer, fate) in [
        (Err(Reply::aborted()), Reply::aborted(), Fate::Refused),
        (Err(full.clone()), full, Fate::Refused),
        (Err(nonsense), Reply::aborted(), Fate::Aborted),
        (Ok(()), Reply::new(250, "2.0.0", "Accepted"), Fate::Held),
    ] {
        let world = World::with(Misdeed::None, |_| {}, whole).await;
        *world.filter.keeps.lock().unwrap() = keeps;
        assert_eq!(world.send(b"x: y\r\n").await, answer);
        assert_eq!(world.fates(), [fate]);
        assert!(world.hop.mails().is_empty());
        assert_eq!(world.filter.held.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn some_recipients_get_it_and_the_copy_of_others_is_held() {
    for to in [["one", "held"], ["held", "one"]] {
        let world = world(Ok(())).await;
        assert_eq!(world.sent_to(&to).await, "250 2.0.0 Accepted");
        assert_eq!(world.hop.recipients(), [["<one@x.example>"]]);
        let place = to.iter().position(|name| *name == "held").unwrap();
        let kept = (vec![place], "X-Held".to_owned(), None);
        assert_eq!(world.held(), [kept]);
        assert_eq!(world.fates(), [Fate::Divided]);
    }
}

#[tokio::test]
async fn nothing_is_held_of_a_mail_that_stays_the_clients() {
    for to in [["refuse", "held"], ["held", "defer"]] {
        let world = world(Ok(())).await;
        let reply = world.sent_to(&to).await;
        assert!(reply.contains("next hop said: "), "{reply}");
        assert!(world.held().is_empty());
        assert_eq!(world.fates(), [Fate::NextHopRefused]);
    }
}

#[tokio::test]
async fn what_cannot_be_held_is_tried_again_for_those_alone() {
    let full = Reply::new(452, "4.3.1", "Insufficient system storage");
    let world = world(Err(full)).await;
    let reply = world.sent_to(&["one", "held"]).await;
    assert_eq!(reply, "452 4.3.1 Insufficient system storage");
    assert_eq!(*world.filter.delivered.lock().unwrap(), [[0]]);
    assert_eq!(world.hop.mails().len(), 1);
}

#[tokio::test]
async fn who_has_it_held_is_remembered_like_who_got_it() {
    let world = world(Ok(())).await;
    let reply = world.sent_to(&["one", "defer", "held"]).await;
    assert_eq!(reply, "452 4.2.2 next hop said: full");
    assert_eq!(*world.filter.delivered.lock().unwrap(), [[0, 2]]);
}

/// DEC-12, DEC-13: whatever the next hop says of a confided mail, its client cannot tell.
#[tokio::test]
async fn the_next_hops_opinion_of_a_confided_mail_is_told_to_nobody() {
    for (name, kept) in [
        ("opened", None),
        ("opened-refuse", Some(550)),
        ("opened-no-data", Some(554)),
    ] {
        let world = world(Ok(())).await;
        assert_eq!(world.sent_to(&[name]).await, "250 2.0.0 Accepted", "{name}");
        let held = world.held();
        match kept {
            None => assert!(held.is_empty()),
            Some(code) => assert_eq!(held, [(vec![0], "X-Opened".to_owned(), Some(code))]),
        }
        let told = world.hop.commands();
        let to = format!("RCPT TO:<{name}@x.example>");
        assert!(told.contains(&to), "{told:?}");
        let from = "MAIL FROM:<gateway@gw.test> RET=HDRS".to_owned();
        assert!(told.contains(&from), "{told:?}");
    }
    for name in ["opened-defer", "opened-vanish"] {
        let world = world(Ok(())).await;
        let reply = world.sent_to(&[name]).await;
        assert_eq!(reply, "451 4.3.0 Try again later", "{name}");
        assert!(world.held().is_empty());
    }
    let full = Reply::new(452, "4.3.1", "Insufficient system storage");
    let world = world(Err(full)).await;
    let reply = world.sent_to(&["opened-refuse"]).await;
    assert_eq!(reply, "451 4.3.0 Try again later");
}

/// What was opened has other bytes than what came, and octets of which nobody was told.
#[tokio::test]
async fn a_confided_content_goes_in_the_place_of_the_mail() {
    const CONTENT: &str = "Subject: opened\r\n\r\nSchl\u{fc}ssel\r\n";
    let own = |_: &Mail| {
        let content: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(CONTENT.as_bytes());
        let confided = Confided {
            content: Some(MailBytes::lent(content)),
            edits: vec![Edit::Prepend(b"X-Opened: yes\r\n".to_vec())],
            return_path: Some(String::new()),
            reason: "opened".to_owned(),
        };
        Treatment::Divide(vec![Group {
            recipients: vec![0],
            share: Share::Confide(confided),
        }])
    };
    let sender = Sender {
        size: Some(9999),
        ..Sender::new("sender@a.example")
    };
    let to = [Recipient::new("bob@x.example")];
    let world = World::with(Misdeed::None, |_| {}, own).await;
    let reply = world.send_to(&sender, &to, MAIL).await;
    assert_eq!(reply.to_string(), "250 2.0.0 Accepted");
    let mails = world.hop.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].starts_with(b"X-Opened: yes\r\nReceived: "));
    assert!(mails[0].ends_with(CONTENT.as_bytes()));
    let told = world.hop.commands();
    let from = "MAIL FROM:<> BODY=8BITMIME RET=HDRS".to_owned();
    assert!(told.contains(&from), "{told:?}");
    // Where it cannot go it is held, and nobody sees a difference.
    let world = World::with(Misdeed::SevenBitOnly, |_| {}, own).await;
    *world.filter.keeps.lock().unwrap() = Ok(());
    let reply = world.send_to(&sender, &to, MAIL).await;
    assert_eq!(reply.to_string(), "250 2.0.0 Accepted");
    assert!(world.hop.mails().is_empty());
    let held = world.filter.held.lock().unwrap();
    let refusal = held[0].refusal.as_ref().map(Reply::code);
    assert_eq!((held.len(), refusal), (1, Some(550)));
    assert_eq!(held[0].envelope.body, crate::Body::EightBitMime);
    let text: Vec<u8> = held[0].content.pieces().flatten().copied().collect();
    assert!(text.ends_with(CONTENT.as_bytes()));
}

/// What is said before the content is shown says nothing of it.
#[tokio::test]
async fn recipients_that_are_refused_are_told_also_of_a_confided_mail() {
    let world = World::with(
        Misdeed::None,
        |_| {},
        |_| {
            Treatment::Divide(vec![Group {
                recipients: vec![0],
                share: confide(None),
            }])
        },
    )
    .await;
    let never = "RCPT TO:<c@d> NOTIFY=NEVER".to_owned();
    assert!(world.send(MAIL).await.is_positive());
    assert!(world.hop.commands().contains(&never));
    let world = World::with(Misdeed::RefuseSecondMail, |_| {}, by_address).await;
    let reply = world.sent_to(&["opened"]).await;
    assert_eq!(reply, "452 4.5.3 enough mails");
}

/// An envelope that is told again was a turn for each of its lines.
#[tokio::test]
async fn a_next_hop_that_takes_commands_at_once_is_told_the_envelope_so() {
    let soon = |config: &mut ServerConfig| config.timeouts.command = Duration::from_secs(5);
    for (misdeed, expected, connections, mails) in [
        (Misdeed::AnswersTogether, "250 2.0.0 Accepted", 1, 1),
        // Which answer belongs to what is not known: it is said again elsewhere.
        (Misdeed::TwoAnswersAtRset, "250 2.0.0 Accepted", 2, 1),
        (Misdeed::RefusesTogether, "452 4.5.3 enough mails", 1, 0),
    ] {
        let world = World::with(misdeed, soon, by_address).await;
        assert_eq!(world.sent_to(&["opened"]).await, expected, "{misdeed:?}");
        assert_eq!(world.hop.connections().0, connections, "{misdeed:?}");
        assert_eq!(world.hop.mails().len(), mails, "{misdeed:?}");
        let told = [
            "EHLO gw.test",
            "MAIL FROM:<sender@a.example>",
            "RCPT TO:<opened@x.example>",
            "RSET",
            "MAIL FROM:<gateway@gw.test>",
            "RCPT TO:<opened@x.example>",
        ];
        assert_eq!(world.hop.commands()[..6], told, "{misdeed:?}");
    }
}

#[tokio::test]
async fn a_confided_copy_beside_a_plain_one_fails_alone() {
    let world = world(Ok(())).await;
    let reply = world.sent_to(&["one", "opened-refuse"]).await;
    assert_eq!(reply, "250 2.0.0 Accepted");
    assert_eq!(world.hop.recipients(), [["<one@x.example>"]]);
    assert_eq!(world.held().len(), 1);
    let reply = world.sent_to(&["opened", "strict"]).await;
    assert!(reply.starts_with("250 2.0.0 Delivered to some"), "{reply}");
}

/// DEC-13: a recipient beside, whose copy the next hop refuses for what stands in the header, does not show that it refused what
/// is inside.
#[tokio::test]
async fn what_is_refused_for_what_is_inside_is_held_before_another_copy_is_refused() {
    for beside in ["refuse", "defer"] {
        let world = world(Ok(())).await;
        let reply = world.sent_to(&["opened-refuse", beside]).await;
        let told = match beside {
            "refuse" => "250 2.0.0 Delivered to some recipients, the sender is told of the others",
            _ => "452 4.2.2 next hop said: full",
        };
        assert_eq!(reply, told);
        let kept = (vec![0], "X-Opened".to_owned(), Some(550));
        assert_eq!(world.held(), [kept], "{beside}");
        assert_eq!(world.fates(), [Fate::Divided], "{beside}");
    }
}
