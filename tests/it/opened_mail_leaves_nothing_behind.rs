//! What was opened goes to its recipient and nowhere else (DEC-12, DEC-14, DEC-15): not back in a notification, not by a receipt,
//! not to a disk, a log or a core.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenin_tests::client::{Client, Envelope, stuffed};
use kenin_tests::forge::enveloped::{
    Way, encrypted, fields, forms, mail, shows, with_last_bit_changed,
};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::memory::{catch, doing, hex, in_files};
use kenin_tests::opened::{
    BOB, MALLORY, People, TABLES, import, setup, started, text, to_bob, traces, write_secrets,
};
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};
use kenin_tests::world::{Folder, PATIENCE, children, files, is_gone, pause, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const CANARY: &str = "the canary sings in the coal mine";
const ATTACKER: &str = "attacker@evil.example";
const RETURNED: &str = "kenin-returned@gw.example.jp";

fn from_attacker() -> Envelope {
    Envelope::new(ATTACKER, BOB)
}

fn with_return_path(next_hop: SocketAddr) -> Setup {
    let mut setup = setup(next_hop);
    setup
        .tables
        .push_str(&format!("[decrypt]\nreturn_path = \"{RETURNED}\"\n"));
    setup
}

/// DEC-12: Bob's mailbox is full, and the mail server in front of it tells the sender so, with the mail.
#[test]
fn dec_12_what_comes_back_of_opened_mail_does_not_go_to_the_sender() {
    // The mailbox is full for Bob's mail; notifications go on.
    let sink = Sink::with(Behaviour::default().at_dot(|_, mail| {
        match mail.recipients.iter().any(|to| to.contains(BOB)) {
            true => Dot::Reply("552 5.2.2 Over quota".to_owned()),
            false => Dot::Accept,
        }
    }));
    let postfix = Postfix::start(sink.address, "");
    let raw = to_bob(Way::Gcm, ATTACKER, "full@evil.example", &text(CANARY));
    for setup in [setup(postfix.front), with_return_path(postfix.front)] {
        let gateway = started(&setup);
        let bounced = || postfix.log().matches("status=bounced").count();
        let before = bounced();
        let mut client = gateway.client();
        // Somebody who wants to know it all.
        let said = format!("MAIL FROM:<{ATTACKER}> RET=FULL ENVID=probe");
        assert_eq!(client.command(&said).code, 250);
        let to = format!("RCPT TO:<{BOB}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{BOB}");
        assert_eq!(client.command(&to).code, 250);
        assert_eq!(client.command("DATA").code, 354);
        client.send(&stuffed(&raw));
        assert_eq!(
            client.reply().expect("a reply").text(),
            "250 2.0.0 Accepted"
        );
        wait_for("it comes back", || {
            bounced() > before && postfix.queued() == 0
        });
    }
    // One came back to the gateway's own address, and it has the header only.
    let mails = sink.wait(1, PATIENCE);
    assert_eq!(mails.len(), 1);
    assert!(mails[0].recipients[0].contains(RETURNED));
    assert!(!shows(&mails[0].raw, CANARY));
    let commands = sink.commands();
    assert!(
        !commands.iter().any(|line| line.contains(ATTACKER)),
        "{commands:?}"
    );
}

/// DEC-12: the envelope that says so, and the address where it ends.
#[test]
fn dec_12_the_return_path_is_ours_and_what_comes_to_it_is_taken_in() {
    let sink = Sink::start();
    let gateway = started(&with_return_path(sink.address));
    let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    let header = fields(ATTACKER, "path@evil.example");
    // Whether it opens or not.
    for object in [good.clone(), with_last_bit_changed(&good)] {
        sink.clear();
        let raw = mail(&header, &object);
        assert_eq!(gateway.send(&from_attacker(), &raw).code, 250);
        let got = &sink.mails()[0];
        assert!(
            got.mail.starts_with(&format!("MAIL FROM:<{RETURNED}>")),
            "{}",
            got.mail
        );
        assert!(got.mail.contains(" RET=HDRS"), "{}", got.mail);
        assert_eq!(got.recipients, [format!("RCPT TO:<{BOB}>")]);
    }
    sink.clear();
    let notification = [
        &b"From: MAILER-DAEMON@mx.example.jp\r\nSubject: Undelivered\r\n\r\n"[..],
        CANARY.as_bytes(),
        b"\r\n",
    ]
    .concat();
    let reply = gateway.send(&Envelope::new("", RETURNED), &notification);
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(sink.count(), 0);
    let (_, metrics) = gateway.get("/metrics");
    assert!(metrics.contains("kenin_return_path_mails_total 1"));
    // Whoever else it is for gets it.
    let both = Envelope {
        to: vec![RETURNED.to_owned(), BOB.to_owned()],
        ..Envelope::new("", BOB)
    };
    assert_eq!(gateway.send(&both, &notification).code, 250);
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].recipients.len(), 1);
    assert!(mails[0].recipients[0].contains(BOB));
}

/// DEC-12: fields that have Bob's mail program tell the sender that he has read it.
#[test]
fn dec_12_no_receipt_is_asked_for() {
    let sink = Sink::start();
    let asks = format!(
        "Disposition-Notification-To: {ATTACKER}\r\nReturn-Receipt-To: {ATTACKER}\r\n\
         X-Confirm-Reading-To: {ATTACKER}\r\n"
    );
    let header = [asks.as_bytes(), &fields(ATTACKER, "receipt@evil.example")].concat();
    // Inside, where the header is protected, too.
    let entity = format!(
        "From: {ATTACKER}\r\nDisposition-Notification-To: {ATTACKER}\r\n\
         Content-Type: text/plain; hp=\"cipher\"\r\n\r\n{CANARY}\r\n"
    );
    let bob = &People::get().bob;
    let raw = mail(&header, &encrypted(Way::Gcm, &[bob], entity.as_bytes()));
    let names = [
        "Disposition-Notification-To",
        "Return-Receipt-To",
        "X-Confirm-Reading-To",
    ];
    let asked = |got: &Received| names.iter().any(|name| !got.fields(name).is_empty());
    let mut keeping = setup(sink.address);
    keeping.tables.push_str("[decrypt]\nreceipts = \"keep\"\n");
    for (setup, kept) in [(setup(sink.address), false), (keeping, true)] {
        let gateway = started(&setup);
        sink.clear();
        assert_eq!(gateway.send(&from_attacker(), &raw).code, 250);
        let got = &sink.mails()[0];
        assert!(shows(&got.raw, CANARY));
        assert_eq!(asked(got), kept);
    }
}

/// DEC-14: that a mail came encrypted is known by its name, whether it opened or not, so that an answer to it does not go out
/// in clear.
#[test]
fn dec_14_the_store_knows_what_came_encrypted() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let known = || {
        let dump = gateway.store_dump();
        let rows = dump
            .lines()
            .filter(|line| line.starts_with("INSERT INTO \"encrypted_mail\""));
        rows.count()
    };
    let send = |raw: &[u8]| assert_eq!(gateway.send(&from_attacker(), raw).code, 250);
    let people = People::get();
    let good = encrypted(Way::Gcm, &[&people.bob], &text(CANARY));
    assert_eq!(known(), 0);
    send(&mail(&fields(ATTACKER, "one@evil.example"), &good));
    assert_eq!(known(), 1);
    send(&mail(
        &fields(ATTACKER, "two@evil.example"),
        &with_last_bit_changed(&good),
    ));
    assert_eq!(known(), 2);
    let others = encrypted(Way::Gcm, &[&people.stranger], &text(CANARY));
    send(&mail(&fields(ATTACKER, "three@evil.example"), &others));
    assert_eq!(known(), 2, "nobody here could read it");
}

/// DEC-14: Bob answers, and quotes what he has read.
#[test]
fn dec_14_an_answer_to_what_came_encrypted_does_not_go_in_clear() {
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    // The MTA in front has seen who everybody is.
    setup.trusted_peers = Some("[\"127.0.0.1\"]\nsubmission = true".to_owned());
    let gateway = started(&setup);
    let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    for (id, object) in [
        ("one@evil.example", good.clone()),
        ("two@evil.example", with_last_bit_changed(&good)),
    ] {
        let raw = mail(&fields(ATTACKER, id), &object);
        assert_eq!(gateway.send(&from_attacker(), &raw).code, 250);
    }
    sink.clear();
    let answer = |id: &str| {
        let raw = format!(
            "From: {BOB}\r\nTo: {ATTACKER}\r\nSubject: Re: Outside\r\nMessage-ID: <answer@opened.example>\r\n\
             In-Reply-To: <{id}>\r\nReferences: <other@evil.example> <{id}>\r\n\r\n> {CANARY}\r\n"
        );
        gateway.send(&Envelope::new(BOB, ATTACKER), raw.as_bytes())
    };
    // Whether it opened is not to be seen by this either.
    for id in ["one@evil.example", "two@evil.example"] {
        let reply = answer(id).text();
        assert!(
            reply.starts_with("550 5.7.1 Encryption required"),
            "{reply}"
        );
    }
    assert_eq!(sink.count(), 0);
    let reply = answer("three@evil.example");
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(sink.count(), 1);
}

/// DEC-15: the service is killed while it holds an opened mail, a small and a large one.
#[test]
fn dec_15_a_kill_leaves_nothing_in_clear() {
    // How many mails are at the sink's dot, and how many it has let go.
    let (there, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let sink = {
        let (there, gone) = (Arc::clone(&there), Arc::clone(&gone));
        Sink::with(Behaviour::default().at_dot(move |number, mail| {
            assert!(shows(&mail.raw, CANARY));
            there.store(number + 1, Ordering::SeqCst);
            wait_for("the test", || gone.load(Ordering::SeqCst) > number);
            Dot::Die
        }))
    };
    let mut gateway = started(&setup(sink.address));
    for (number, (signal, size)) in [(Signal::KILL, 100), (Signal::ABORT, 3_000_000)]
        .into_iter()
        .enumerate()
    {
        let mut entity = text(CANARY);
        while entity.len() < size {
            entity.extend_from_slice(format!("{CANARY} {CANARY}\r\n").as_bytes());
        }
        let raw = to_bob(Way::Gcm, ATTACKER, "killed@evil.example", &entity);
        let mut client = gateway.client();
        for line in [
            format!("MAIL FROM:<{ATTACKER}>"),
            format!("RCPT TO:<{BOB}>"),
        ] {
            assert_eq!(client.command(&line).code, 250);
        }
        assert_eq!(client.command("DATA").code, 354);
        client.send(&stuffed(&raw));
        wait_for("it is on its way", || there.load(Ordering::SeqCst) > number);
        // Files without a name, too.
        assert!(open_files(&mut gateway) > 0);
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
        gateway.process().signal(signal);
        gateway.process().wait();
        gone.store(number + 1, Ordering::SeqCst);
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
        let cores = std::fs::read_dir(".").unwrap().flatten();
        let cores = cores.filter(|file| file.file_name().to_string_lossy().starts_with("core"));
        assert_eq!(cores.count(), 0);
        gateway.restart();
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
    }
}

/// How many files it has open, none of which shows it.
fn open_files(gateway: &mut Gateway) -> usize {
    let pid = gateway.process().pid().as_raw_nonzero();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten();
    let mut count = 0;
    for entry in entries {
        let path = entry.path();
        if !std::fs::metadata(&path).is_ok_and(|file| file.is_file()) {
            continue;
        }
        count += 1;
        let octets = std::fs::read(&path).unwrap_or_default();
        assert!(!shows(&octets, CANARY), "{:?}", std::fs::read_link(&path));
    }
    count
}

/// Where this machine puts the cores of what is started in `folder`; nothing, said aloud, where a program takes them.
fn cores(folder: &Path) -> Option<PathBuf> {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') {
        eprintln!(
            "SKIPPED: cores go to a program here ({}), and are not searched",
            pattern.trim()
        );
        return None;
    }
    Some(match pattern.starts_with('/') {
        true => Path::new(pattern.trim()).parent().unwrap().to_owned(),
        false => folder.to_owned(),
    })
}

/// The files of a gateway, its log among them, of its temporary folder and of that of cores which hold one of these.
fn remains(gateway: &Gateway, folder: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut all = files(gateway.folder.path());
    all.extend(files(folder));
    if let Some(cores) = cores(folder).filter(|cores| cores != folder) {
        // It is everybody's; what was there before, and in folders below, is not ours.
        let entries = std::fs::read_dir(cores).into_iter().flatten().flatten();
        all.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_file()),
        );
    }
    in_files(&all, needles)
}

/// DEC-15: each of the three kinds of process is ended while a worker has a mail open, by signals that leave a core where
/// cores are not forbidden. Here the machine forbids none.
#[test]
fn dec_15_no_core_and_no_file_tells_what_was_opened() {
    let folder = Folder::new();
    let place = folder.path().display().to_string();
    let prefix = [
        "env".to_owned(),
        format!("--chdir={place}"),
        format!("TMPDIR={place}"),
        "prlimit".to_owned(),
        "--core=unlimited:unlimited".to_owned(),
    ];
    let people = People::get();
    let three = [&people.bob, &people.mallory, &people.carol];
    let mut needles = three.map(|person| person.key.private_pieces()).concat();
    let key = needles[0].clone();
    needles.extend(forms(CANARY));
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    setup.tables.push_str("[workers]\nisolate = true\n");
    let mut gateway = started(&setup);

    // The search finds what is there: in a core, where this machine writes any, and in a file.
    let held = hex(&[CANARY.as_bytes(), &key].concat());
    let script = "import os, sys; held = bytes.fromhex(sys.argv[1]); os.abort()";
    let mut other = Command::new(&prefix[0]);
    other
        .args(&prefix[1..])
        .args(["python3", "-c", script, &held]);
    let ended = other.status().unwrap();
    if ended.signal().is_none() {
        eprintln!("SKIPPED: the limit of cores cannot be raised here: {ended}");
        return;
    }
    if cores(folder.path()).is_some() {
        let find = |needle: &[u8]| remains(&gateway, folder.path(), &[needle.to_vec()]);
        let found = find(CANARY.as_bytes());
        assert_eq!(found.len(), 1, "one core: {found:?}");
        assert_eq!(find(&key), found);
        std::fs::remove_file(&found[0]).unwrap();
    }
    let file = folder.join("kept");
    std::fs::write(&file, CANARY).unwrap();
    assert_eq!(remains(&gateway, folder.path(), &needles).len(), 1);
    std::fs::remove_file(&file).unwrap();

    for who in ["edge", "key-process", "worker"] {
        for signal in [Signal::ABORT, Signal::SEGV, Signal::KILL] {
            gateway.restart_under(&prefix);
            let Some(caught) = catch(&mut gateway, CANARY) else {
                return;
            };
            let pid = match who {
                "edge" => gateway.process().pid(),
                "worker" => caught.worker,
                _ => doing(&mut gateway, who)[0],
            };
            let before = remains(&gateway, folder.path(), &needles);
            assert_eq!(before, [""; 0], "while {who} lives");
            wait_for("it ends", || {
                // What is paused ends when it goes on, and a first SEGV that nothing has caused is let pass.
                let _ = kill_process(pid, signal);
                let _ = kill_process(pid, Signal::CONT);
                is_gone(pid)
            });
            caught.let_go(&mut gateway);
            let left = remains(&gateway, folder.path(), &needles);
            assert_eq!(left, [""; 0], "{who} {signal:?}");
        }
    }
    // Nor is there a core without them, nor anything else.
    assert!(files(folder.path()).is_empty());
}

/// Every road that `kenin init postfix` prints, with a real Postfix on both sides.
#[test]
fn every_road_through_postfix_opens_it_for_bob() {
    for mode in ["before-queue", "after-queue", "lmtp", "milter"] {
        let sink = Sink::start();
        let (postfix, mut gateway) = behind_postfix(&sink, mode, "");
        let config = gateway.config();
        let text_of_it = std::fs::read_to_string(&config).unwrap();
        // Behind a milter there is no next hop that could refuse it.
        let tables = match mode {
            "milter" => TABLES.split("[quarantine]").next().unwrap(),
            _ => TABLES,
        };
        std::fs::write(&config, format!("{text_of_it}\n{tables}")).unwrap();
        write_secrets(&gateway);
        for person in [&People::get().bob, &People::get().mallory] {
            import(&gateway, person, &[]);
        }
        gateway.restart();
        let raw = to_bob(Way::Gcm, ATTACKER, "road@evil.example", &text(CANARY));
        let send = |to: &[&str]| {
            let envelope = Envelope {
                to: to.iter().map(|to| (*to).to_owned()).collect(),
                ..from_attacker()
            };
            let reply = Client::greeted(postfix.front).mail(&envelope, &raw);
            assert_eq!(reply.expect("Postfix answers").code, 250, "{mode}");
        };
        send(&[BOB]);
        let mails = sink.wait(1, PATIENCE);
        assert!(shows(&mails[0].raw, CANARY), "{mode}\n{}", gateway.log());
        assert!(
            mails[0].mail.starts_with("MAIL FROM:<>"),
            "{mode}: {}",
            mails[0].mail
        );
        assert_eq!(mails[0].fields("X-Kenin-Decryption").len(), 1, "{mode}");
        sink.clear();
        send(&[BOB, MALLORY]);
        let copies = match mode {
            // There is one body for both, and it does not open for one of them.
            "milter" => 1,
            _ => 2,
        };
        for got in sink.wait(copies, PATIENCE) {
            let is_bobs = got.recipients.iter().all(|to| to.contains(BOB));
            assert_eq!(
                shows(&got.raw, CANARY),
                is_bobs && mode != "milter",
                "{mode}"
            );
            assert!(
                !is_bobs || got.mail.starts_with("MAIL FROM:<>"),
                "{mode}: {}",
                got.mail
            );
        }
        wait_for("the queue is empty", || postfix.queued() == 0);
        let arrived: usize = sink.mails().iter().map(|got| got.recipients.len()).sum();
        assert_eq!(arrived, 2, "{mode}");
    }
}

/// failures.md: a key process that says nothing.
#[test]
fn without_the_key_process_mail_that_needs_it_waits_and_other_mail_goes_on() {
    let sink = Sink::start();
    let mut gateway = started(&setup(sink.address));
    let parent = gateway.process().pid();
    let is_one = |pid: &Pid| {
        let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let words = words.unwrap_or_default();
        let mut words = words.split(|octet| *octet == 0);
        words.any(|word| word == b"key-process")
    };
    let keys = children(parent).into_iter().find(is_one);
    let keys = keys.expect("a key process");
    pause(keys);
    let people = People::get();
    let others = encrypted(Way::Gcm, &[&people.stranger], &text(CANARY));
    let others = mail(&fields(ATTACKER, "others@evil.example"), &others);
    let raw = to_bob(Way::Gcm, ATTACKER, "waits@evil.example", &text(CANARY));
    let reply = gateway.send(&from_attacker(), &others);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let reply = gateway.send(&from_attacker(), &raw);
    let gone = "451 4.7.5 Cryptographic service unavailable";
    assert_eq!(reply.text(), gone);
    // Another may have been started in its place.
    let _ = kill_process(keys, Signal::CONT);
    wait_for("it opens", || {
        gateway.send(&from_attacker(), &raw).code == 250
    });
    let mails = sink.wait(2, PATIENCE);
    assert!(shows(&mails[1].raw, CANARY));
}
