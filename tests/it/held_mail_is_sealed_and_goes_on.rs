//! `[quarantine]`: what a rule has held behind SMTP and LMTP lies sealed on the disk, and goes on when somebody says so,
//! once the next hop has taken it.

use std::process::{Command, Stdio};
use std::time::Duration;

use kenin_tests::client::{Client, Envelope, stuffed};
use kenin_tests::held::{Desk, READER, folder, make_older, names, setup, started};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::sink::{Behaviour, Dot, Sink, fields, split};
use kenin_tests::world::{Dice, files, wait_for};

const CANARY: &str = "canary-4b656e696e";

fn mail(id: &str) -> Vec<u8> {
    format!(
        "From: sender@example.jp\r\nTo: {READER}\r\nDate: Thu, 26 Nov 2026 09:00:00 +0900\r\n\
         Subject: odd\r\nMessage-ID: <{id}@held.example>\r\nX-Other: {CANARY}\r\n\r\n\
         {CANARY}\r\n.a line\r\n"
    )
    .into_bytes()
}

fn to(recipients: &[&str]) -> Envelope {
    Envelope {
        to: recipients.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new("sender@example.jp", READER)
    }
}

/// Has a mail held, and gives its id.
fn hold(gateway: &Gateway, desk: &Desk, name: &str) -> String {
    let before = desk.ids();
    let reply = gateway.send(&to(&[READER]), &mail(name));
    assert_eq!(reply.text(), "250 2.0.0 Accepted");
    let mut new = desk.ids();
    new.retain(|id| !before.contains(id));
    assert_eq!(new.len(), 1);
    new.concat()
}

#[test]
fn a_held_mail_goes_to_those_whom_it_was_for_when_it_is_let_go() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let desk = Desk::of(&gateway, &[]);
    assert_eq!(desk.list().len(), 0);
    let reply = gateway.send(&to(&["one@x.example", READER]), &mail("both"));
    assert_eq!(reply.text(), "250 2.0.0 Accepted");
    // Whose rule does not say so has it already.
    let got = sink.wait(1, Duration::from_secs(30));
    assert_eq!(got[0].recipients, ["RCPT TO:<one@x.example>"]);

    let list = desk.list();
    assert_eq!(list.len(), 1);
    let (one, id) = (&list[0], desk.ids().concat());
    assert_eq!(one["sender"], "sender@example.jp");
    assert_eq!(one["recipients"], serde_json::json!([READER]));
    assert_eq!(one["why"], "rule");
    assert_eq!(one["tenant"], "default");
    let reason = one["reason"].as_str().unwrap();
    assert!(reason.contains("not-signed"), "{reason}");
    wait_for("the log names it", || {
        let log = gateway.log();
        let told = |line: &str| line.contains("mail is held") && line.contains(&id);
        log.lines().any(told) && log.contains("\"divided\"")
    });

    let shown = desk.run(&["show", &id]);
    let text = String::from_utf8(shown.stdout).unwrap();
    for part in ["odd", "<both@held.example>", "not-signed", READER] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(CANARY), "{text}");
    let raw = desk.raw(&id);
    assert_eq!(split(&raw).1, split(&mail("both")).1);
    let stamps = fields(&raw, "Authentication-Results");
    assert!(stamps[0].contains("smime=none (not-signed)"), "{stamps:?}");

    let (code, said) = desk.said(&["release", "--dry-run", &id]);
    assert!(code == 0 && said.contains("would send"), "{said}");
    let (code, said) = desk.said(&["release", &id]);
    assert!(
        code == 0 && said.contains("250 2.0.0 Ok: kept"),
        "{code} {said}"
    );
    let got = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    assert_eq!(got.raw, raw);
    assert!(
        got.mail.starts_with("MAIL FROM:<sender@example.jp>"),
        "{}",
        got.mail
    );
    assert_eq!(got.recipients, [format!("RCPT TO:<{READER}>")]);
    assert_eq!(desk.list().len(), 0);
    assert_eq!(desk.said(&["release", &id]).0, 66);
    assert_eq!(desk.said(&["show", &id]).0, 66);
    assert_eq!(desk.said(&["release", "../x"]).0, 2);
    wait_for("the service has seen it", || {
        gateway.get("/readyz?verbose").1.contains("ok quarantine: ")
    });
}

/// I5, DEC-15: neither who wrote to whom nor what stands anywhere that could be read without the key.
#[test]
fn nothing_of_a_held_mail_can_be_read_without_the_key() {
    let sink = Sink::start();
    let mut gateway = started(&setup(sink.address));
    let desk = Desk::of(&gateway, &[]);
    let id = hold(&gateway, &desk, "secret");
    gateway.kill();
    for file in files(&gateway.folder.join("state")) {
        let bytes = std::fs::read(&file).unwrap();
        for canary in [CANARY, "sender@example.jp", READER] {
            let seen = bytes
                .windows(canary.len())
                .any(|own| own == canary.as_bytes());
            assert!(!seen, "{canary} in {}", file.display());
        }
    }
    assert!(!gateway.log().contains(CANARY));
    // Somebody else's key opens nothing, and throws nothing away.
    let key = gateway.folder.join("quarantine.key");
    std::fs::write(&key, [8; 32]).unwrap();
    let (code, said) = desk.said(&["release", &id]);
    assert!(
        code == 78 && said.contains("previous_key_files"),
        "{code} {said}"
    );
    assert_eq!(desk.run(&["list"]).status.code(), Some(65));
    gateway.restart();
    wait_for("it says so", || {
        let (code, body) = gateway.get("/readyz?verbose");
        code == 200 && body.contains("degraded quarantine: 1 of 1 cannot be read")
    });
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    let both = "key_file = \"quarantine.key\"\nprevious_key_files = [\"old.key\"]\n";
    let config = config.replace("key_file = \"quarantine.key\"\n", both);
    std::fs::write(gateway.config(), config).unwrap();
    kenin_tests::world::write_secret(&gateway.folder.join("old.key"), &[7; 32]);
    assert_eq!(desk.said(&["release", &id]).0, 0);
    assert_eq!(sink.wait(1, Duration::from_secs(30)).len(), 1);
}

#[test]
fn a_changed_octet_of_a_held_mail_is_seen() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let desk = Desk::of(&gateway, &[]);
    let id = hold(&gateway, &desk, "flipped");
    let file = folder(&gateway).join(format!("{id}.mail"));
    let good = std::fs::read(&file).unwrap();
    let mut dice = Dice::new(0x6865_6c64);
    let mut places = vec![0, 8, 9, 24, 25, 84, 85, 88, 89, good.len() - 1];
    places.extend((0..12).map(|_| usize::try_from(dice.below(good.len() as u64)).unwrap()));
    for at in places {
        let mut changed = good.clone();
        changed[at] ^= 1_u8 << dice.below(8);
        std::fs::write(&file, &changed).unwrap();
        for verb in ["show", "release"] {
            let (code, said) = desk.said(&[verb, &id]);
            assert!(matches!(code, 65 | 78), "{verb} {at}: {code} {said}");
        }
    }
    std::fs::write(&file, &good[..good.len() - 1]).unwrap();
    assert_eq!(desk.said(&["release", &id]).0, 65);
    assert_eq!(sink.count(), 0);
    std::fs::write(&file, &good).unwrap();
    assert_eq!(desk.said(&["release", &id]).0, 0);
    assert_eq!(sink.wait(1, Duration::from_secs(30)).len(), 1);
}

#[test]
fn what_the_next_hop_does_not_take_stays_held() {
    let mut sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let desk = Desk::of(&gateway, &[]);
    let id = hold(&gateway, &desk, "refused");
    let at_dot = |dot: Dot| Behaviour::default().at_dot(move |_, _| dot.clone());
    let unknown = Behaviour {
        recipients: vec![("reader@".to_owned(), "550 5.1.1 No such user".to_owned())],
        ..Behaviour::default()
    };
    for (behaviour, wanted, word) in [
        (at_dot(Dot::Reply("550 5.7.1 no".to_owned())), 1, "5.7.1 no"),
        (
            at_dot(Dot::Reply("452 4.2.2 full".to_owned())),
            75,
            "4.2.2 full",
        ),
        (unknown, 1, "No such user"),
        (at_dot(Dot::Die), 75, "may have it"),
    ] {
        sink.behave(behaviour);
        let (code, said) = desk.said(&["release", &id]);
        assert!(code == wanted && said.contains(word), "{code} {said}");
        assert!(said.contains("still held"), "{said}");
        assert_eq!(desk.ids(), [id.as_str()]);
    }
    assert_eq!(sink.count(), 0);
    sink.kill();
    assert_eq!(desk.said(&["release", &id]).0, 69);
    sink.revive();
    // In doubt: it may come twice, and is not lost.
    sink.behave(at_dot(Dot::KeepAndDie));
    assert_eq!(desk.said(&["release", &id]).0, 75);
    sink.behave(Behaviour::default());
    let other = hold(&gateway, &desk, "other");
    let ids = [id.as_str(), "01J0000000000000000000000A", other.as_str()];
    let (code, _) = desk.said(&[&["release"][..], &ids].concat());
    // All that can be done is done.
    assert_eq!((code, desk.list().len()), (66, 0));
    assert_eq!(sink.count(), 3);
}

#[test]
fn two_who_release_a_mail_send_it_once() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let desk = Desk::of(&gateway, &[]);
    let id = hold(&gateway, &desk, "once");
    let slow = Dot::Slow(Duration::from_secs(2));
    sink.behave(Behaviour::default().at_dot(move |_, _| slow.clone()));
    let begin = |words: &[&str]| {
        let mut command: Command = desk.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut first = begin(&["release", &id]);
    wait_for("it is on its way", || {
        sink.commands().iter().any(|command| command == "DATA")
    });
    assert_eq!(desk.said(&["release", &id]).0, 75);
    assert_eq!(desk.said(&["delete", &id]).0, 75);
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!((sink.count(), desk.list().len()), (1, 0));
    assert!(names(&folder(&gateway)).is_empty());
}

#[test]
fn what_is_thrown_away_is_gone_and_nothing_goes_before_its_time() {
    let sink = Sink::start();
    let mut gateway = started(&setup(sink.address));
    let desk = Desk::of(&gateway, &[]);
    let one = hold(&gateway, &desk, "one");
    let two = hold(&gateway, &desk, "two");
    assert_eq!(desk.said(&["expire"]), (0, String::new()));
    let (code, said) = desk.said(&["delete", "--dry-run", &one]);
    assert!(code == 0 && said.contains("would throw away"), "{said}");
    assert_eq!(desk.list().len(), 2);
    assert_eq!(desk.said(&["delete", &one.to_ascii_lowercase()]).0, 0);
    assert_eq!(desk.ids(), [two.as_str()]);
    // What lies there is all that a start needs.
    gateway.kill();
    gateway.restart();
    assert_eq!(desk.ids(), [two.as_str()]);
    let (_, body) = gateway.get("/readyz?verbose");
    assert!(body.contains("ok quarantine: 1 held"), "{body}");
    wait_for("the metrics say so", || {
        gateway
            .get("/metrics")
            .1
            .contains("kenin_quarantine_mails 1")
    });
    assert_eq!(sink.count(), 0);
}

/// By the command, and by the service when it starts again. A mail is made older by opening and sealing again what is said of it.
#[test]
fn what_is_kept_no_longer_is_thrown_away_and_nothing_else() {
    const DAY: i64 = 86_400;
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    setup.tables.push_str("keep = 1\n");
    let mut gateway = started(&setup);
    let desk = Desk::of(&gateway, &[]);
    let [over, soon, new] = ["over", "soon", "new"].map(|name| hold(&gateway, &desk, name));
    make_older(&gateway, &over, DAY);
    make_older(&gateway, &soon, DAY - 3600);
    assert_eq!(desk.ids(), [over.as_str(), &soon, &new]);

    let would = format!("would throw away {over}\n");
    assert_eq!(desk.said(&["expire", "--dry-run"]), (0, would));
    assert_eq!(desk.ids(), [over.as_str(), &soon, &new]);
    assert_eq!(desk.said(&["expire"]), (0, format!("threw away {over}\n")));
    assert_eq!(desk.ids(), [soon.as_str(), &new]);
    let left = names(&folder(&gateway));
    assert!(!left.iter().any(|name| name.contains(&over)), "{left:?}");
    assert_eq!(
        desk.message_ids(),
        ["<soon@held.example>", "<new@held.example>"]
    );
    assert_eq!(desk.said(&["expire"]), (0, String::new()));
    assert_eq!(desk.said(&["release", &over]).0, 66);

    make_older(&gateway, &soon, 3600);
    gateway.kill();
    gateway.restart();
    wait_for("the service throws it away", || {
        desk.ids() == [new.as_str()]
    });
    wait_for("the log says so", || {
        let log = gateway.log();
        let told = |line: &str| line.contains("a held mail has ended") && line.contains(&soon);
        log.lines().any(told)
    });
    assert_eq!(desk.message_ids(), ["<new@held.example>"]);
    assert_eq!(sink.count(), 0);
}

#[test]
fn an_lmtp_recipient_whose_copy_is_held_is_answered_like_the_others() {
    let sink = Sink::start();
    let gateway = started(&Setup {
        mode: "lmtp",
        ..setup(sink.address)
    });
    let mut client = Client::connect(gateway.address);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.command("LHLO client.example").code, 250);
    assert_eq!(client.command("MAIL FROM:<sender@example.jp>").code, 250);
    for to in ["a@x.example", READER, "b@x.example"] {
        assert_eq!(client.command(&format!("RCPT TO:<{to}>")).code, 250);
    }
    assert_eq!(client.command("DATA").code, 354);
    client.send(&stuffed(&mail("lmtp")));
    let told: Vec<String> = (0..3).map(|_| client.reply().unwrap().text()).collect();
    assert_eq!(told[1], "250 2.0.0 Accepted");
    assert!(
        told[0].contains("Ok: kept") && told[2] == told[0],
        "{told:?}"
    );
    let got = sink.wait(1, Duration::from_secs(30));
    assert_eq!(got[0].recipients.len(), 2);
    let desk = Desk::of(&gateway, &[]);
    assert_eq!(desk.message_ids(), ["<lmtp@held.example>"]);
}
