use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use kenin_smtp_filter::{Body, Division, Edit, Envelope, Recipient, Share, XForward};

use super::*;
use crate::config::Config;
use crate::init::{InitOptions, Mode, postfix};
use crate::substitute::tests::signed;

mod opening;
mod protecting;
mod waiting;

/// A pipeline over a fresh configuration, changed by `edit`.
async fn pipeline(dir: &Path, judge: Judge, edit: impl FnOnce(&mut Config)) -> Pipeline {
    let options = InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    let rules = "[[rule]]\nwhen = { domain = \"strict.example\" }\n\
                 then = { enforce = \"strict\", require_signature = true }\n";
    std::fs::write(dir.join("etc/mail.toml"), rules).unwrap();
    let mut config = Config::load(&[dir.join("etc/kenin.toml")]).unwrap();
    edit(&mut config);
    let store = crate::store::open(&config).await.unwrap();
    let snapshot = Snapshot::build(Arc::new(config), Some(&store))
        .await
        .unwrap();
    let snapshots = Arc::new(ArcSwap::from_pointee(snapshot));
    Pipeline {
        judge,
        ..Pipeline::new(snapshots, Arc::default(), Some(store))
    }
}

pub(crate) fn mail(to: &str, raw: &str) -> Mail {
    mail_to(&[to], raw, Division::Copies)
}

pub(crate) fn mail_to(recipients: &[&str], raw: &str, division: Division) -> Mail {
    let recipient = |address: &&str| Recipient {
        address: (*address).to_owned(),
        notify: None,
        orcpt: None,
    };
    let envelope = Envelope {
        id: "01J0000000000000000000000A".to_owned(),
        mail_from: "alice@example.org".to_owned(),
        body: Body::SevenBit,
        smtputf8: false,
        size: None,
        ret: None,
        envid: None,
        rcpt_to: recipients.iter().map(recipient).collect(),
        helo: "client".to_owned(),
        esmtp: true,
        division,
        seven_bit_only: false,
        client: SocketAddr::from(([127, 0, 0, 1], 1)),
        tls: None,
        authenticated: None,
        daemon: None,
        xforward: XForward::default(),
    };
    Mail {
        envelope: Arc::new(envelope),
        raw: raw.as_bytes().to_vec().into(),
    }
}

const PLAIN: &str = "From: alice@example.org\r\nMessage-ID: <1@x>\r\n\
                     X-Kenin-Verdict: forged\r\n\r\nhello\r\n";

/// What is put before the message.
fn prepended(treatment: &Treatment) -> String {
    let Treatment::Relay(edits) = treatment else {
        panic!("{treatment:?}")
    };
    let put = edits.iter().filter_map(|edit| match edit {
        Edit::Prepend(bytes) => Some(String::from_utf8(bytes.clone()).unwrap()),
        Edit::Remove(_) | Edit::Insert(..) | Edit::Body(..) | Edit::ReturnPath(_) => None,
    });
    put.collect()
}

fn refused(treatment: &Treatment) -> String {
    let Treatment::Refuse(reply) = treatment else {
        panic!("{treatment:?}")
    };
    reply.to_string()
}

#[tokio::test]
async fn unsigned_mail_is_stamped_and_forged_stamps_go() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = pipeline(dir.path(), judge, |_| ()).await;
    let treatment = pipeline.treat(mail("bob@example.net", PLAIN)).await;
    let text = prepended(&treatment);
    assert!(
        text.starts_with(
            "Authentication-Results: smime.gw.example.jp; smime=none (not-signed)\r\n\
             X-Kenin-Verdict: "
        ),
        "{text}"
    );
    let Treatment::Relay(edits) = treatment else {
        panic!()
    };
    let forged = PLAIN.find("X-Kenin").unwrap();
    let body = PLAIN.find("\r\n\r\n").unwrap() + 2;
    assert!(edits.contains(&Edit::Remove(forged..body)), "{edits:?}");
}

#[tokio::test]
async fn a_strict_domain_refuses_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = pipeline(dir.path(), judge, |_| ()).await;
    let reply = refused(&pipeline.treat(mail("bob@strict.example", PLAIN)).await);
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    assert!(
        reply.ends_with("(not-signed, id 01J0000000000000000000000A)"),
        "{reply}"
    );
}

/// PKI-05: a container starts in 1970.
#[tokio::test]
async fn a_clock_that_cannot_be_right_passes_nothing_and_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pass: Judge = |_, _, _, _| signed();
    let mut pipeline = pipeline(dir.path(), pass, |config| {
        let rules = "[[rule]]\nwhen = { domain = \"strict.example\" }\n\
                     then = { enforce = \"strict\" }\n\
                     [[rule]]\nwhen = { recipient_domain = \"wrapped.example\" }\n\
                     then = { stamp = \"wrap\" }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
    })
    .await;
    let to = [
        "bob@example.net",
        "bob@strict.example",
        "bob@wrapped.example",
    ];
    // 2027-01-15.
    let right = || {
        (
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            Duration::ZERO,
        )
    };
    pipeline.clock = Arc::new(Clock::new(right));
    for to in to {
        let text = prepended(&pipeline.treat(mail(to, PLAIN)).await);
        assert!(text.contains("smime=pass"), "{to}: {text}");
        assert!(text.contains("X-Kenin-Verdict: "), "{to}: {text}");
    }
    pipeline.clock = Arc::new(Clock::new(|| (UNIX_EPOCH, Duration::ZERO)));
    let [plain, strict, wrapped] = to;
    let text = prepended(&pipeline.treat(mail(plain, PLAIN)).await);
    let stamp = "Authentication-Results: smime.gw.example.jp; smime=temperror (clock-not-trusted)";
    assert!(text.replace("\r\n ", " ").starts_with(stamp), "{text}");
    assert!(!text.contains("X-Kenin-Verdict"), "{text}");
    for to in [strict, wrapped] {
        let reply = refused(&pipeline.treat(mail(to, PLAIN)).await);
        assert!(
            reply.starts_with("451 4.7.5 Time source not trusted"),
            "{to}: {reply}"
        );
        assert!(reply.contains("(clock-not-trusted, id "), "{to}: {reply}");
    }
}

#[tokio::test]
async fn unsigned_mail_needs_no_clock_and_gets_no_signed_statement_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut pipeline = pipeline(dir.path(), judge, |_| ()).await;
    pipeline.clock = Arc::new(Clock::new(|| (UNIX_EPOCH, Duration::ZERO)));
    let text = prepended(&pipeline.treat(mail("bob@example.net", PLAIN)).await);
    assert_eq!(
        text,
        "Authentication-Results: smime.gw.example.jp; smime=none (not-signed)\r\n"
    );
}

/// However many rules refuse it, they refuse it alike: one group, not one a rule.
#[tokio::test]
async fn many_strict_domains_are_one_group() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..40).map(|n| format!("a@d{n}.example")).collect();
    let rules: String = (1..40)
        .map(|n| {
            format!(
                "[[rule]]\nwhen = {{ recipient_domain = \"d{n}.example\" }}\n\
                 then = {{ enforce = \"strict\", require_signature = true }}\n"
            )
        })
        .collect();
    let pipeline = pipeline(dir.path(), judge, |config| {
        std::fs::write(config.mail_file(), rules).unwrap();
    })
    .await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for division in [Division::Copies, Division::Answers] {
        let some = pipeline.treat(mail_to(&names, PLAIN, division)).await;
        let Treatment::Divide(groups) = some else {
            panic!("{some:?}")
        };
        let sizes: Vec<usize> = groups.iter().map(|group| group.recipients.len()).collect();
        assert_eq!(sizes, [1, 39]);
        let all = pipeline.treat(mail_to(&names[1..], PLAIN, division)).await;
        assert!(refused(&all).starts_with("550 5.7.1 "));
    }
    let one_body = pipeline
        .treat(mail_to(&names, PLAIN, Division::Never))
        .await;
    assert!(refused(&one_body).starts_with("550 5.7.1 "));
}

#[tokio::test]
async fn one_recipients_rule_has_the_mail_held_and_another_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = pipeline(dir.path(), judge, |config| {
        let rules = "[[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
                     then = { enforce = \"strict\", require_signature = true }\n\
                     [[rule]]\nwhen = { recipient_domain = \"held.example\" }\n\
                     then = { enforce = \"quarantine\", require_signature = true, stamp = \"subject\" }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
        config.listeners[0].mode = crate::config::ListenerMode::Milter;
    })
    .await;
    let to = async |recipients: &[&str]| {
        let mail = mail_to(recipients, PLAIN, Division::Never);
        pipeline.treat(mail).await
    };
    let Treatment::Quarantine { edits, reason } = to(&["a@held.example", "b@x.example"]).await
    else {
        panic!("not held")
    };
    assert_eq!(reason, "S/MIME: not-signed (id 01J0000000000000000000000A)");
    // The stamps differ, so all get the header fields alone.
    assert!(prepended(&Treatment::Relay(edits)).contains("smime=none (not-signed)"));
    let refusal = to(&["a@held.example", "b@strict.example"]).await;
    assert!(refused(&refusal).starts_with("550 5.7.1 "));
    assert!(matches!(to(&["b@x.example"]).await, Treatment::Relay(_)));
}

/// Where each recipient gets a copy of his own, one's rule holds nobody else's.
#[tokio::test]
async fn one_recipients_copy_is_held_and_another_gets_his() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = pipeline(dir.path(), judge, |config| {
        let rules = "[[rule]]\nwhen = { recipient_domain = \"held.example\" }\n\
                     then = { enforce = \"quarantine\", require_signature = true }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
        config.listeners[0].mode = crate::config::ListenerMode::Milter;
    })
    .await;
    let to = async |recipients: &[&str]| {
        let mail = mail_to(recipients, PLAIN, Division::Copies);
        pipeline.treat(mail).await
    };
    let Treatment::Divide(groups) = to(&["a@held.example", "b@x.example"]).await else {
        panic!("not divided")
    };
    let mut shown = Vec::new();
    for group in groups {
        let (word, edits) = match group.share {
            Share::Hold { edits, reason } => {
                assert_eq!(reason, "S/MIME: not-signed (id 01J0000000000000000000000A)");
                ("held", edits)
            }
            Share::Relay(edits) => ("relayed", edits),
            other => panic!("{other:?}"),
        };
        let text = prepended(&Treatment::Relay(edits));
        assert!(text.contains("smime=none (not-signed)"), "{text}");
        shown.push((word, group.recipients));
    }
    assert_eq!(shown, [("held", vec![0]), ("relayed", vec![1])]);
    let all = to(&["a@held.example"]).await;
    assert!(matches!(all, Treatment::Quarantine { .. }), "{all:?}");
}

#[tokio::test]
async fn a_panic_is_temporary_twice_and_then_the_mail_passes() {
    let dir = tempfile::tempdir().unwrap();
    let bad: Judge = |_, _, _, _| panic!("a bug");
    let pipeline = pipeline(dir.path(), bad, |_| ()).await;
    for trace in ["a", "b"] {
        let raw = format!("Received: {trace}\r\n{PLAIN}");
        let reply = refused(&pipeline.treat(mail("bob@example.net", &raw)).await);
        assert_eq!(reply, "451 4.3.0 Processing aborted, try again later");
    }
    let other = PLAIN.replace("hello", "another");
    refused(&pipeline.treat(mail("bob@example.net", &other)).await);
    let text = prepended(&pipeline.treat(mail("bob@example.net", PLAIN)).await);
    assert!(text.contains("smime=permerror (limit-poison)"), "{text}");
}

#[tokio::test]
async fn what_takes_too_long_passes_unexamined() {
    let dir = tempfile::tempdir().unwrap();
    let slow: Judge = |_, _, _, _| {
        std::thread::sleep(Duration::from_millis(1500));
        substitute::unexamined(Reason::Ok, b"")
    };
    let pipeline = pipeline(dir.path(), slow, |config| {
        config.limits.deadline = Duration::from_millis(300)
    })
    .await;
    let text = prepended(&pipeline.treat(mail("bob@example.net", PLAIN)).await);
    assert!(text.contains("smime=permerror (limit-time)"), "{text}");
}

/// A rule for a sender holds by the address people see, also where nothing else was looked at.
#[tokio::test]
async fn strict_domains_are_strict_about_mail_that_took_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let slow: Judge = |_, _, _, _| {
        std::thread::sleep(Duration::from_millis(1500));
        substitute::unexamined(Reason::Ok, b"")
    };
    let pipeline = pipeline(dir.path(), slow, |config| {
        config.limits.deadline = Duration::from_millis(300)
    })
    .await;
    let raw = PLAIN.replace("alice@example.org", "ceo@strict.example");
    let reply = refused(&pipeline.treat(mail("bob@example.net", &raw)).await);
    assert!(reply.starts_with("550 5.6.0 "), "{reply}");
}

#[tokio::test]
async fn waiting_for_others_is_not_held_against_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let slow: Judge = |_, _, _, _| {
        std::thread::sleep(Duration::from_millis(600));
        substitute::unexamined(Reason::NotSigned, b"")
    };
    let pipeline = pipeline(dir.path(), slow, |config| {
        config.limits.deadline = Duration::from_millis(1000)
    })
    .await;
    let places = u32::try_from(pipeline.messages.available_permits()).unwrap();
    let taken = Arc::clone(&pipeline.messages)
        .acquire_many_owned(places)
        .await
        .unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(taken);
    };
    let (treatment, ()) = tokio::join!(pipeline.treat(mail("b@example.net", PLAIN)), release);
    assert_eq!(
        refused(&treatment),
        "451 4.3.2 System busy, try again later"
    );
}

#[tokio::test]
async fn when_every_place_is_taken_the_client_keeps_the_mail() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = pipeline(dir.path(), judge, |config| {
        config.limits.deadline = Duration::from_millis(100)
    })
    .await;
    let places = u32::try_from(pipeline.messages.available_permits()).unwrap();
    let _taken = Arc::clone(&pipeline.messages)
        .acquire_many_owned(places)
        .await
        .unwrap();
    let reply = refused(&pipeline.treat(mail("bob@example.net", PLAIN)).await);
    assert_eq!(reply, "451 4.3.2 System busy, try again later");
}
