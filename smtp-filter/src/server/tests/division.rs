//! Mail whose recipients are treated differently, with one answer to it.

use super::*;
use crate::{Group, Share};

const MAIL: &[u8] = b"Subject: x\r\n\r\nsecret body\r\n";

/// One group a recipient: the address says what becomes of it, here and at the next hop.
fn by_address(mail: &Mail) -> Treatment {
    let groups = mail.envelope.rcpt_to.iter().enumerate();
    let share = |address: &str| match address.split('@').next().unwrap() {
        "strict" => Share::Refuse(Reply::new(550, "5.7.7", "not signed well")),
        "strict-later" => Share::Refuse(Reply::new(451, "4.7.5", "not known now")),
        "had" => Share::Had,
        name => Share::Relay(vec![Edit::Prepend(format!("X-For: {name}\r\n").into())]),
    };
    let groups = groups.map(|(place, recipient)| Group {
        recipients: vec![place],
        share: share(&recipient.address),
    });
    Treatment::Divide(groups.collect())
}

struct Sent {
    reply: String,
    /// Who got it, in what order.
    got: Vec<String>,
    /// The notification, when there was one.
    told: Option<String>,
    remembered: Vec<Vec<usize>>,
    fate: Fate,
}

async fn sent_from(sender: &str, to: &[&str]) -> Sent {
    let world = World::with(Misdeed::AsAddressed, |_| {}, by_address).await;
    let recipients: Vec<Recipient> = to
        .iter()
        .map(|name| Recipient::new(&format!("{name}@x.example")))
        .collect();
    let reply = world
        .send_to(&Sender::new(sender), &recipients, MAIL)
        .await
        .to_string();
    let (mut got, mut told) = (Vec::new(), None);
    for (mail, to) in world.hop.mails().into_iter().zip(world.hop.recipients()) {
        let text = String::from_utf8(mail).unwrap();
        if let Some(rest) = text.strip_prefix("X-For: ") {
            assert_eq!(to.len(), 1, "{to:?}");
            let name = rest.split("\r\n").next().unwrap().to_owned();
            assert_eq!(to[0], format!("<{name}@x.example>"));
            assert!(
                text.ends_with("Subject: x\r\n\r\nsecret body\r\n"),
                "{text}"
            );
            got.push(name);
        } else {
            assert_eq!(to, [format!("<{sender}>")]);
            assert!(told.replace(text).is_none(), "one notification");
        }
    }
    let remembered = world.filter.delivered.lock().unwrap().clone();
    Sent {
        reply,
        got,
        told,
        remembered,
        fate: world.fates()[0],
    }
}

async fn sent(to: &[&str]) -> Sent {
    sent_from("sender@a.example", to).await
}

#[tokio::test]
async fn each_group_gets_its_own_copy() {
    let sent = sent(&["one", "two", "three"]).await;
    assert_eq!(sent.reply, "250 2.0.0 queued as FAKE");
    assert_eq!(sent.got, ["one", "two", "three"]);
    assert_eq!((sent.told, sent.fate), (None, Fate::Relayed));
}

/// RFC 1870 §6.3: what the client said was of the mail as it came, and a server may refuse what is larger than was said.
#[tokio::test]
async fn the_size_that_a_copy_is_announced_with_is_its_own() {
    let world = World::with(Misdeed::AsAddressed, |_| {}, by_address).await;
    let mut sender = Sender::new("sender@a.example");
    sender.size = Some(6);
    let to = ["one@x.example", "three@x.example"].map(Recipient::new);
    let reply = world.send_to(&sender, &to, MAIL).await;
    assert!(reply.is_positive(), "{reply}");
    let mails = world.hop.mails();
    let own: Vec<String> = mails
        .iter()
        .map(|mail| format!("SIZE={}", mail.len()))
        .collect();
    assert_eq!(own.len(), 2);
    let commands = world.hop.commands();
    for size in own {
        let is_own = |line: &&String| line.starts_with("MAIL ") && line.ends_with(&size);
        assert_eq!(commands.iter().filter(is_own).count(), 1, "{commands:?}");
    }
}

#[tokio::test]
async fn nobody_gets_it_when_one_cannot_even_begin() {
    for (name, reply) in [("no-data", "554 5.5.0 next hop said: no data")] {
        for to in [["one", name], [name, "one"]] {
            let sent = sent(&to).await;
            assert_eq!(sent.reply, reply);
            assert!(sent.got.is_empty() && sent.told.is_none() && sent.remembered.is_empty());
            assert_eq!(sent.fate, Fate::NextHopRefused);
        }
    }
}

#[tokio::test]
async fn where_the_first_dot_fails_it_stays_the_clients() {
    for (name, reply) in [
        ("refuse", "550 5.7.1 next hop said: bad content"),
        ("defer", "452 4.2.2 next hop said: full"),
        ("vanish", "451 4.4.2 Connection lost after end of data"),
    ] {
        let sent = sent(&[name, "one"]).await;
        assert_eq!(sent.reply, reply);
        assert!(sent.got.is_empty() && sent.told.is_none() && sent.remembered.is_empty());
    }
}

#[tokio::test]
async fn what_another_try_may_change_is_tried_again_for_those_alone() {
    for (name, reply) in [
        ("defer", "452 4.2.2 next hop said: full"),
        ("vanish", "451 4.4.2 Connection lost after end of data"),
        ("strict-later", "451 4.7.5 not known now"),
    ] {
        let sent = sent(&["one", name, "two"]).await;
        assert_eq!(sent.reply, reply);
        assert_eq!(sent.got, ["one", "two"]);
        assert_eq!(sent.remembered, [[0, 2]]);
        assert_eq!((sent.told, sent.fate), (None, Fate::Divided));
    }
    let two = sent(&["had", "two"]).await;
    assert_eq!(two.reply, "250 2.0.0 queued as FAKE");
    assert_eq!(two.got, ["two"]);
    let had = sent(&["had"]).await;
    assert_eq!(had.reply, "250 2.0.0 Delivered at an earlier try");
}

#[tokio::test]
async fn what_no_try_can_change_is_told_to_the_sender() {
    for (name, diagnosis) in [
        ("refuse", "550 5.7.1 next hop said: bad content"),
        ("strict", "550 5.7.7 not signed well"),
    ] {
        for accepted in ["one", "had"] {
            let sent = sent(&[accepted, name]).await;
            assert!(
                sent.reply.starts_with("250 2.0.0 Delivered to some"),
                "{}",
                sent.reply
            );
            let told = sent.told.unwrap();
            for line in [
                "To: <sender@a.example>",
                "Auto-Submitted: auto-replied",
                "Reporting-MTA: dns; gw.test",
                &format!("Final-Recipient: rfc822; {name}@x.example"),
                "Action: failed",
                &format!("Status: {}", &diagnosis[4..9]),
                &format!("Diagnostic-Code: smtp; {diagnosis}"),
                "Subject: x",
            ] {
                assert!(told.contains(&format!("\r\n{line}\r\n")), "{line}: {told}");
            }
            assert!(
                !told.contains("secret") && !told.contains("one@x"),
                "{told}"
            );
            assert_eq!((sent.remembered.len(), sent.fate), (0, Fate::Divided));
        }
    }
}

/// A Subject that is hidden in one recipient's copy does not go out in clear to tell of another.
#[tokio::test]
async fn a_notification_shows_no_field_that_a_copy_hides() {
    let hiding = |mail: &Mail| {
        let hidden = Share::Relay(vec![
            Edit::Remove(0.."Subject: x\r\n".len()),
            Edit::Prepend(b"Subject: [...]\r\n".to_vec()),
        ]);
        let refused = Share::Refuse(Reply::new(550, "5.7.1", "no certificate"));
        assert_eq!(mail.envelope.rcpt_to.len(), 2);
        let groups = [hidden, refused].into_iter().enumerate();
        let group = |(place, share)| Group {
            recipients: vec![place],
            share,
        };
        Treatment::Divide(groups.map(group).collect())
    };
    let world = World::with(Misdeed::AsAddressed, |_| {}, hiding).await;
    let to = [
        Recipient::new("one@x.example"),
        Recipient::new("two@x.example"),
    ];
    let mail = b"Subject: x\r\nMessage-ID: <1@a.example>\r\n\r\nsecret body\r\n";
    let sender = Sender::new("sender@a.example");
    let reply = world.send_to(&sender, &to, mail).await.to_string();
    assert!(reply.starts_with("250 2.0.0 Delivered to some"), "{reply}");
    let told = String::from_utf8(world.hop.mails().pop().unwrap()).unwrap();
    assert!(told.contains("Auto-Submitted: auto-replied"), "{told}");
    assert!(told.contains("\r\nMessage-ID: <1@a.example>\r\n"), "{told}");
    assert!(!told.contains("\r\nSubject: x\r\n"), "{told}");
}

/// DEC-05: what is taken out of a copy that stayed closed is not taken out of one that opened, and the sender was shown which.
#[tokio::test]
async fn a_notification_shows_a_confided_copy_alike_whether_it_opened_or_not() {
    let mail = b"Disposition-Notification-To: x\r\nSubject: x\r\n\r\nsecret body\r\n";
    let to = [
        Recipient::new("one@x.example"),
        Recipient::new("two@x.example"),
    ];
    for content in [None, Some("Subject: opened\r\n\r\nopened\r\n")] {
        let treat = move |_: &Mail| {
            let confided = crate::Confided {
                content: content.map(|content| content.as_bytes().to_vec().into()),
                edits: match content {
                    None => vec![Edit::Remove(0.."Disposition-Notification-To: x\r\n".len())],
                    Some(_) => Vec::new(),
                },
                return_path: Some(String::new()),
                reason: "confided".to_owned(),
            };
            let refused = Share::Refuse(Reply::new(550, "5.7.1", "not signed well"));
            let groups = [Share::Confide(confided), refused].into_iter().enumerate();
            let group = |(place, share)| Group {
                recipients: vec![place],
                share,
            };
            Treatment::Divide(groups.map(group).collect())
        };
        let world = World::with(Misdeed::AsAddressed, |_| {}, treat).await;
        let sender = Sender::new("sender@a.example");
        let reply = world.send_to(&sender, &to, mail).await.to_string();
        assert!(reply.starts_with("250 2.0.0 Delivered to some"), "{reply}");
        let told = String::from_utf8(world.hop.mails().pop().unwrap()).unwrap();
        assert!(told.contains("Auto-Submitted: auto-replied"), "{told}");
        assert!(
            told.contains("\r\nDisposition-Notification-To: x\r\n"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_sender_who_cannot_be_told_is_refused_before_anybody_has_it() {
    let strict = sent_from("", &["one", "strict"]).await;
    assert_eq!(strict.reply, "550 5.7.7 not signed well");
    assert!(strict.got.is_empty() && strict.told.is_none());
    // The next hop's refusal comes too late for that.
    let refused = sent_from("", &["one", "refuse"]).await;
    assert!(refused.reply.starts_with("250 "), "{}", refused.reply);
    assert_eq!(
        (refused.got.as_slice(), refused.told),
        (&["one".to_owned()][..], None)
    );
}

#[tokio::test]
async fn a_notification_that_is_not_taken_leaves_it_with_the_client() {
    let busy = sent_from("busy@a.example", &["one", "strict"]).await;
    assert_eq!(busy.reply, "450 4.2.1 later");
    assert_eq!(
        (busy.got, busy.remembered),
        (vec!["one".to_owned()], vec![vec![0]])
    );
    let unknown = sent_from("unknown@a.example", &["one", "strict"]).await;
    assert_eq!(unknown.reply, "550 5.7.7 not signed well");
}

#[tokio::test]
async fn notify_never_is_kept() {
    let world = World::with(Misdeed::AsAddressed, |_| {}, by_address).await;
    let never = Recipient {
        notify: Some("NEVER".to_owned()),
        ..Recipient::new("strict@x.example")
    };
    let to = [Recipient::new("one@x.example"), never];
    let reply = world.send_to(&Sender::new("s@a.example"), &to, MAIL).await;
    assert!(reply.is_positive());
    assert_eq!(world.hop.mails().len(), 1);
}

#[tokio::test]
async fn groups_that_are_no_division_are_the_filters_mistake() {
    let relay = |recipients: Vec<usize>| Group {
        recipients,
        share: Share::Relay(Vec::new()),
    };
    let lie = Group {
        recipients: vec![0],
        share: Share::Refuse(Reply::new(250, "2.0.0", "yes")),
    };
    for groups in [
        vec![],
        vec![relay(vec![0])],
        vec![relay(vec![0, 1]), relay(vec![1])],
        vec![relay(vec![0, 2]), relay(vec![1])],
        vec![relay(vec![0, 1]), relay(vec![])],
        vec![relay(vec![1]), lie],
    ] {
        let shown = format!("{groups:?}");
        let divide = move |_: &Mail| Treatment::Divide(groups.clone());
        let world = World::with(Misdeed::None, |_| {}, divide).await;
        let to = [Recipient::new("a@x.example"), Recipient::new("b@x.example")];
        let reply = world.send_to(&Sender::new("s@a.example"), &to, MAIL).await;
        assert_eq!(reply, Reply::aborted(), "{shown}");
        assert!(world.hop.mails().is_empty());
        assert_eq!(world.fates(), [Fate::Aborted]);
    }
}
