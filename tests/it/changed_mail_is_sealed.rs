//! ARC (RFC 8617): a mail whose Subject Kenin tags loses its DKIM signature, and gets a seal that tells
//! what held on arrival. Checked by `dkimpy`; senders sign by opendkim, and a real name server knows
//! everybody's keys.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use kenin_tests::client::{Client, Envelope, Reply};
use kenin_tests::dkimpy::{Opinion, opinions};
use kenin_tests::dns::NameServer;
use kenin_tests::forge::Town;
use kenin_tests::kenin::{AUTHSERV_ID, Gateway, Setup, kenin};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::opendkim::OpenDkim;
use kenin_tests::openssl_mail::Workshop;
use kenin_tests::parts;
use kenin_tests::readers::authres;
use kenin_tests::sealing::{Sealing, TAGS};
use kenin_tests::sink::{Behaviour, Received, Sink, fields, split};
use kenin_tests::world::{Folder, free_address, run, write_secret};

type Records = Vec<(String, String)>;

/// A gateway that tags and seals.
fn gateway(own: &Sealing, next_hop: std::net::SocketAddr, dns: &str) -> Gateway {
    let mut gateway = Gateway::prepare(&Setup {
        mail: TAGS.to_owned(),
        tables: own.lines() + dns,
        ..Setup::new(next_hop)
    });
    own.put_key(&gateway);
    gateway.restart();
    gateway
}

/// A world with senders of `example.jp`.
struct World {
    dkim: OpenDkim,
    records: Records,
    dns: NameServer,
    sink: Sink,
}

fn world(gateways: &[&Sealing]) -> World {
    let dkim = OpenDkim::signing("relaxed/relaxed");
    let mut records = vec![
        dkim.record(),
        (
            "example.jp".to_owned(),
            "v=spf1 ip4:192.0.2.0/24 -all".to_owned(),
        ),
        (
            "_dmarc.example.jp".to_owned(),
            "v=DMARC1; p=reject".to_owned(),
        ),
    ];
    records.extend(gateways.iter().map(|one| one.record()));
    let sink = Behaviour::default().with("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE");
    World {
        dns: NameServer::start(&records),
        dkim,
        records,
        sink: Sink::with(sink),
    }
}

impl World {
    fn opinion(&self, mail: &Received) -> Option<Opinion> {
        Some(opinions(std::slice::from_ref(&mail.raw), &self.records)?.remove(0))
    }

    fn signed(&self, text: &str) -> Vec<u8> {
        let town = Town::get();
        self.dkim
            .sign(&town.clear_signed(&town.bob, "bob@example.jp", text))
    }
}

fn to(recipient: &str) -> Envelope {
    Envelope::new("bob@example.jp", recipient)
}

/// Sends as an MTA that tells who its client was.
fn forwarded(gateway: &Gateway, address: &str, envelope: &Envelope, raw: &[u8]) -> Reply {
    let mut client: Client = gateway.client();
    let line = format!("XFORWARD ADDR={address} HELO=mail.example.jp");
    assert_eq!(client.command(&line).code, 250);
    client.mail(envelope, raw).expect("an answer")
}

/// The words of the newest `ARC-Authentication-Results`: method and result.
fn told(mail: &Received) -> Vec<(String, String)> {
    let newest = mail.fields("ARC-Authentication-Results").remove(0);
    let (_, value) = newest.split_once(';').expect("an instance");
    let Some(read) = authres(&[value.trim().to_owned()]) else {
        return Vec::new();
    };
    assert_eq!(read[0].authserv_id, AUTHSERV_ID);
    let results = read[0].results.iter();
    results
        .map(|one| (one.method.clone(), one.result.clone()))
        .collect()
}

fn words(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(m, r)| ((*m).to_owned(), (*r).to_owned()))
        .collect()
}

fn one(sink: &Sink) -> Received {
    let mut mails = sink.wait(1, Duration::from_secs(30));
    assert_eq!(mails.len(), 1);
    sink.clear();
    mails.remove(0)
}

#[test]
fn a_seal_tells_what_held_on_arrival() {
    let own = Sealing::new("gw.example.jp");
    let world = world(&[&own]);
    let gateway = gateway(&own, world.sink.address, &world.dns.lines());
    let large = "0123456789012345678901234567890123456789\r\n".repeat(50_000);
    for text in ["Pay one", large.as_str()] {
        let raw = world.signed(text);
        let reply = forwarded(&gateway, "192.0.2.7", &to("a@en.example"), &raw);
        assert_eq!(reply.code, 250, "{}", reply.text());
        let mail = one(&world.sink);
        assert!(mail.fields("Subject")[0].starts_with("[Signature valid]"));
        assert!(mail.fields("Authentication-Results")[0].contains("smime=pass"));
        let Some(opinion) = world.opinion(&mail) else {
            return;
        };
        assert_eq!(opinion.dkim, [false], "the Subject was signed");
        assert_eq!(
            (opinion.chain.as_str(), opinion.sets),
            ("pass", vec![(1, true, true)])
        );
        let all = [
            ("arc", "none"),
            ("dkim", "pass"),
            ("spf", "pass"),
            ("dmarc", "pass"),
            ("smime", "pass"),
        ];
        assert_eq!(told(&mail), words(&all));
        assert!(mail.fields("ARC-Seal")[0].contains("cv=none"));
        let long = |line: &[u8]| line.len() > 200;
        assert!(!mail.split().0.split(|byte| *byte == b'\n').any(long));
    }
    assert!(
        gateway
            .get("/metrics")
            .1
            .contains("kenin_arc_total{result=\"sealed\"} 2")
    );
    assert!(gateway.log().contains("\"arc\":\"sealed\""));
}

#[test]
fn what_does_not_hold_is_told_as_it_is() {
    let own = Sealing::new("gw.example.jp");
    let world = world(&[&own]);
    let gateway = gateway(&own, world.sink.address, &world.dns.lines());
    let signed = world.signed("Pay one");
    let tampered = String::from_utf8(signed.clone())
        .unwrap()
        .replace("Pay one", "Pay two");
    let town = Town::get();
    let plain = town.clear_signed(&town.bob, "bob@example.jp", "Pay one");
    let unknown =
        String::from_utf8(signed.clone())
            .unwrap()
            .replacen("d=example.jp", "d=example.org", 1);
    for (raw, client, wanted) in [
        (
            tampered.as_bytes(),
            "192.0.2.7",
            [("dkim", "fail"), ("spf", "pass"), ("dmarc", "pass")],
        ),
        (
            tampered.as_bytes(),
            "203.0.113.9",
            [("dkim", "fail"), ("spf", "fail"), ("dmarc", "fail")],
        ),
        (
            &plain,
            "203.0.113.9",
            [("dkim", "none"), ("spf", "fail"), ("dmarc", "fail")],
        ),
        (
            unknown.as_bytes(),
            "IPv6:2001:db8::1",
            [("dkim", "permerror"), ("spf", "fail"), ("dmarc", "fail")],
        ),
    ] {
        assert_eq!(
            forwarded(&gateway, client, &to("a@en.example"), raw).code,
            250
        );
        let mail = one(&world.sink);
        let Some(opinion) = world.opinion(&mail) else {
            return;
        };
        assert_eq!(opinion.chain, "pass");
        assert_eq!(told(&mail)[1..4], words(&wanted));
    }
    // Nobody says who the client was: SPF is not evaluated, and DMARC is unknown without it.
    assert_eq!(
        gateway.send(&to("a@en.example"), tampered.as_bytes()).code,
        250
    );
    let mail = one(&world.sink);
    assert_eq!(
        told(&mail),
        words(&[("arc", "none"), ("dkim", "fail"), ("smime", "fail")])
    );
    assert_eq!(gateway.send(&to("a@en.example"), &signed).code, 250);
    let all = [
        ("arc", "none"),
        ("dkim", "pass"),
        ("dmarc", "pass"),
        ("smime", "pass"),
    ];
    assert_eq!(told(&one(&world.sink)), words(&all));
}

#[test]
fn each_changed_copy_has_its_seal_and_an_unchanged_one_its_dkim() {
    let own = Sealing::new("gw.example.jp");
    let world = world(&[&own]);
    let gateway = gateway(&own, world.sink.address, &world.dns.lines());
    let envelope = Envelope {
        to: ["a@en.example", "b@ja.example", "c@plain.example"]
            .map(str::to_owned)
            .to_vec(),
        ..to("a@en.example")
    };
    assert_eq!(gateway.send(&envelope, &world.signed("Pay one")).code, 250);
    let mails = world.sink.wait(3, Duration::from_secs(30));
    for mail in &mails {
        let Some(opinion) = world.opinion(mail) else {
            return;
        };
        if mail.recipients[0].contains("plain.example") {
            assert_eq!((opinion.dkim, opinion.chain.as_str()), (vec![true], "none"));
            assert!(mail.fields("ARC-Seal").is_empty());
        } else {
            assert_eq!(
                (opinion.dkim, opinion.chain.as_str()),
                (vec![false], "pass"),
                "{:?}",
                mail.recipients
            );
        }
    }
    assert_eq!(mails.len(), 3);
}

#[test]
fn a_chain_that_holds_is_continued_and_no_other() {
    let (first, second) = (Sealing::new("one.example"), Sealing::new("gw.example.jp"));
    let world = world(&[&first, &second]);
    let behind = gateway(&second, world.sink.address, &world.dns.lines());
    let front = gateway(&first, behind.address, &world.dns.lines());
    let raw = world.signed("Pay one");
    assert_eq!(front.send(&to("a@en.example"), &raw).code, 250);
    let mail = one(&world.sink);
    let Some(opinion) = world.opinion(&mail) else {
        return;
    };
    assert_eq!(opinion.chain, "pass");
    // The first one's signature fell with the Subject; the newest counts (RFC 8617 §5.2).
    let seals: Vec<_> = opinion
        .sets
        .iter()
        .map(|(i, seal, _)| (*i, *seal))
        .collect();
    assert_eq!(seals, [(2, true), (1, true)]);
    assert_eq!(told(&mail)[0], ("arc".to_owned(), "pass".to_owned()));

    let sealed = String::from_utf8(mail.raw).unwrap();
    let newest = |text: &str, name: &str| fields(text.as_bytes(), name).remove(0);
    let without = |name: &str| {
        let (_, value) = (name, newest(&sealed, name));
        let at = sealed.find(&format!("{name}:")).unwrap();
        let end = at + sealed[at..].find("\r\n").unwrap();
        assert!(!value.is_empty());
        // The name only: it is another field then.
        format!("{}X-Was{}", &sealed[..at], &sealed[at..end]) + &sealed[end..]
    };
    for (name, broken) in [
        ("another body", sealed.replace("Pay one", "Pay two")),
        (
            "another result",
            sealed.replacen("dkim=pass", "dkim=fail", 1),
        ),
        ("no seal", without("ARC-Seal")),
        ("no signature", without("ARC-Message-Signature")),
        ("no results", without("ARC-Authentication-Results")),
        (
            "a seal alone",
            format!(
                "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x; s=y; b=\r\n{}",
                String::from_utf8_lossy(&raw)
            ),
        ),
    ] {
        assert_eq!(
            behind.send(&to("a@en.example"), broken.as_bytes()).code,
            250,
            "{name}"
        );
        let mail = one(&world.sink);
        assert!(mail.fields("Subject")[0].starts_with("[Sign"), "{name}");
        let before = fields(broken.as_bytes(), "ARC-Seal").len();
        assert_eq!(
            mail.fields("ARC-Seal").len(),
            before,
            "{name}: a seal on a chain that does not hold"
        );
    }
    assert!(
        behind
            .get("/metrics")
            .1
            .contains("kenin_arc_total{result=\"chain-broken\"} 6")
    );
}

#[test]
fn more_signatures_than_anybody_sends_are_not_evaluated() {
    let own = Sealing::new("gw.example.jp");
    let world = world(&[&own]);
    let gateway = gateway(&own, world.sink.address, &world.dns.lines());
    let signed = world.signed("Pay one");
    let head = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x; h=from; bh=AA==; b=AA==\r\n";
    for (extra, sealed) in [(head.repeat(15), true), (head.repeat(16), false)] {
        let raw = [extra.as_bytes(), &signed].concat();
        assert_eq!(gateway.send(&to("a@en.example"), &raw).code, 250);
        assert_eq!(
            one(&world.sink).fields("ARC-Seal").len(),
            usize::from(sealed)
        );
    }
    let long = format!("DKIM-Signature: v=1; h={}\r\n", "ab:\r\n ".repeat(2000));
    let raw = [long.as_bytes(), &signed].concat();
    assert_eq!(gateway.send(&to("a@en.example"), &raw).code, 250);
    assert!(one(&world.sink).fields("ARC-Seal").is_empty());
}

/// Seconds of CPU that a process has used, as the kernel counts.
fn cpu(gateway: &mut Gateway) -> f64 {
    let pid = gateway.process().pid().as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    // utime and stime in hundredths, the words behind flags and fault counts.
    let ticks = rest
        .split(' ')
        .skip(12)
        .take(2)
        .map(|word| word.parse::<u32>().unwrap());
    f64::from(ticks.sum::<u32>()) / 100.0
}

#[test]
fn hostile_signatures_cost_little() {
    let own = Sealing::new("gw.example.jp");
    let world = world(&[&own]);
    let mut gateway = gateway(&own, world.sink.address, &world.dns.lines());
    let signed = String::from_utf8(world.signed("Pay one")).unwrap();
    let (head, body) = signed.split_once("\r\n\r\n").unwrap();
    let digest = {
        let field = &fields(signed.as_bytes(), "DKIM-Signature")[0];
        let (_, rest) = field.split_once("bh=").unwrap();
        rest.split(';').next().unwrap().to_owned()
    };
    // Names that are nowhere, so that each is looked for to the end, under a digest that is right.
    let names: String = (0..2000).map(|n| format!("{n:x}:")).collect();
    let list = |names: &str| {
        let folded: Vec<&str> = names.split_inclusive(':').collect();
        let lines: Vec<String> = folded.chunks(12).map(|some| some.concat()).collect();
        lines.join("\r\n ")
    };
    let names: String = list(&names[..7000]);
    let greedy = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.jp; s=s;\r\n h={names}from;\r\n bh={digest}; b=AAAA\r\n"
    );
    let kinds: String = [
        "rsa-sha1; c=simple/simple",
        "rsa-sha1; c=relaxed/relaxed",
        "rsa-sha256; c=simple/simple",
    ]
    .map(|kind| {
        format!("DKIM-Signature: v=1; a={kind}; d=example.jp; s=s; h=from;\r\n bh=AA==; b=AA==\r\n")
    })
    .concat();
    let other = |n: usize| format!("X-{n}: y\r\n");
    let fill: String = (0..900).map(other).collect();
    let huge = "a \t b\r\n".repeat(3_000_000);
    let chain: String = (1..=50)
        .map(|i| format!(
            "ARC-Seal: i={i}; a=rsa-sha256; cv={}; d=example.jp; s=s; b=AAAA\r\n\
             ARC-Message-Signature: i={i}; a=rsa-sha256; c=relaxed/relaxed; d=example.jp; s=s;\r\n h=from; bh={digest}; b=AAAA\r\n\
             ARC-Authentication-Results: i={i}; x; none\r\n",
            if i == 1 { "none" } else { "pass" }
        ))
        .collect();
    for (name, raw) in [
        (
            "greedy lists",
            format!("{}{fill}{head}\r\n\r\n{body}", greedy.repeat(15)),
        ),
        (
            "every digest of a large body",
            format!("{kinds}{head}\r\n\r\n{body}{huge}"),
        ),
        ("a long chain", format!("{chain}{head}\r\n\r\n{body}")),
    ] {
        let before = cpu(&mut gateway);
        assert_eq!(
            gateway.send(&to("a@en.example"), raw.as_bytes()).code,
            250,
            "{name}"
        );
        let mail = one(&world.sink);
        assert!(mail.fields("Subject")[0].starts_with("[Sign"), "{name}");
        let cost = cpu(&mut gateway) - before;
        assert!(cost < 2.0, "{name}: {cost} s of CPU");
        eprintln!("{name}: {cost} s of CPU");
    }
    // They were looked at: a bound that keeps them out would make them cheap for nothing.
    let metrics = gateway.get("/metrics").1;
    for counted in ["sealed\"} 2", "chain-broken\"} 1"] {
        let line = format!("kenin_arc_total{{result=\"{counted}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

/// Real Postfix hands the fields on as they are.
#[test]
fn the_seal_holds_behind_postfix() {
    for mode in ["milter", "before-queue", "after-queue", "lmtp"] {
        let own = Sealing::new("gw.example.jp");
        let world = world(&[&own]);
        let (postfix, mut gateway) = behind_postfix(&world.sink, mode, "");
        own.switch_on(&gateway, &world.dns);
        gateway.restart();
        let workshop = Workshop::new(Town::get());
        let mails = workshop.mails(20);
        let mut client = Client::greeted(postfix.front);
        for mail in &mails {
            let raw = world.dkim.sign(&mail.raw);
            let envelope = to("a@en.example").with("BODY=8BITMIME");
            let reply = client.mail(&envelope, &raw).expect("Postfix answers");
            assert_eq!(reply.code, 250, "{}", reply.text());
        }
        let got: Vec<Vec<u8>> = world
            .sink
            .wait(mails.len(), Duration::from_secs(60))
            .into_iter()
            .map(|mail| mail.raw)
            .collect();
        let Some(all) = opinions(&got, &world.records) else {
            return;
        };
        for (raw, opinion) in got.iter().zip(&all) {
            let head = String::from_utf8_lossy(split(raw).0).into_owned();
            assert_eq!(opinion.chain, "pass", "{mode}: {head}");
            assert!(
                head.contains("dkim=pass") && head.contains("Subject: [Sign"),
                "{mode}: {head}"
            );
        }
    }
}

#[test]
fn a_name_server_that_is_silent_costs_a_seal_no_mail() {
    let own = Sealing::new("gw.example.jp");
    let world = world(&[&own]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dns = format!("[dns]\nservers = [\"{}\"]\n", silent.local_addr().unwrap());
    let gateway = gateway(&own, world.sink.address, &dns);
    let start = Instant::now();
    assert_eq!(
        gateway
            .send(&to("a@en.example"), &world.signed("Pay one"))
            .code,
        250
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    let mail = one(&world.sink);
    let all = [("arc", "none"), ("dkim", "temperror"), ("smime", "pass")];
    let told = told(&mail);
    assert_eq!(
        told.iter()
            .filter(|(method, _)| method != "dmarc")
            .cloned()
            .collect::<Vec<_>>(),
        words(&all)
    );
    assert!(!told.contains(&("dmarc".to_owned(), "fail".to_owned())));
}

#[test]
fn init_makes_a_key_and_check_looks_for_its_record() {
    let folder = Folder::new();
    let dir = folder.path().display().to_string();
    let init = ["init", "arc", "--domain", "gw.example.jp", "--dir", &dir];
    let mut command = Command::new(parts::kenin());
    let printed = String::from_utf8(run(command.args(init))).unwrap();
    assert!(
        printed.starts_with("kenin._domainkey.gw.example.jp. IN TXT ("),
        "{printed}"
    );
    let text: String = printed.split('"').skip(1).step_by(2).collect();
    let again = String::from_utf8(kenin(&init).stdout).unwrap();
    assert_eq!(again, printed, "the key stays");
    let key = std::fs::read(folder.join("arc.key")).unwrap();

    let name = "kenin._domainkey.gw.example.jp".to_owned();
    let other = Sealing::new("gw.example.jp").record();
    for (records, wanted) in [
        (vec![(name.clone(), text)], ""),
        (vec![other], "holds another key"),
        (vec![], "cannot be looked up"),
    ] {
        let dns = NameServer::start(&records);
        let gateway = Gateway::prepare(&Setup {
            mail: TAGS.to_owned(),
            tables: format!(
                "[arc]\ndomain = \"gw.example.jp\"\nselector = \"kenin\"\nkey = \"arc.key\"\n{}",
                dns.lines()
            ),
            ..Setup::new(free_address())
        });
        write_secret(&gateway.folder.join("arc.key"), &key);
        let config = gateway.config().display().to_string();
        let said = kenin(&["check", "--config", &config]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.contains("breaks every DKIM"), "{said}");
        match wanted {
            "" => assert!(!said.contains("no seal can be verified"), "{said}"),
            wanted => assert!(
                said.contains(wanted) && said.contains("publish there"),
                "{said}"
            ),
        }
    }
}
