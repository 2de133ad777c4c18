use super::*;

const GOOD: &str = r#"
hostname = "gw.example.jp"
[[listener]]
address = "127.0.0.1:10025"
mode = "before-queue"
[next_hop]
address = "127.0.0.1:10026"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/kenin/kenin.toml"))
}

fn wrong(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn with(line: &str) -> String {
    format!("{line}\n{GOOD}")
}

#[test]
fn fills_in_the_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.authserv_id, "smime.gw.example.jp");
    assert_eq!(config.state_dir, Path::new("/var/lib/kenin"));
    let file = StoreAt::File("/var/lib/kenin/kenin.sqlite".into());
    assert_eq!(config.store, file);
    assert_eq!(config.trust_file(), Path::new("/etc/kenin/trust.toml"));
    assert_eq!(config.limits.message_size, 52_428_800);
    assert_eq!(config.limits.deadline, Duration::from_secs(20));
    assert_eq!(config.next_hop.as_ref().unwrap().tls, TlsLevel::None);
    let listener = &config.listeners[0];
    assert_eq!(listener.bare_newline, BareNewline::Reject);
    assert!(
        listener
            .trusted_peers
            .iter()
            .any(|n| n.contains("::1".parse().unwrap()))
    );
    assert!(config.http.is_none());
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let text = wrong("hostnam = \"x\"\n");
    assert_eq!(
        text,
        "/etc/kenin/kenin.toml:1:1: unknown field `hostnam` (did you mean \"hostname\"?)"
    );
    let text = wrong(&format!("{GOOD}\n[limits]\n  conections = 3\n"));
    assert!(
        text.starts_with("/etc/kenin/kenin.toml:10:3: unknown field `conections`"),
        "{text}"
    );
    assert!(text.ends_with("(did you mean \"connections\"?)"), "{text}");
    let text = wrong(&format!("{GOOD}\n[limits]\nzzz = 3\n"));
    assert!(
        text.contains("(known here: message_size, connections"),
        "{text}"
    );
}

#[test]
fn a_wrong_word_is_named_with_the_nearest_known_one() {
    let text = wrong(&GOOD.replace("before-queue", "befor-queue"));
    assert!(
        text.starts_with("/etc/kenin/kenin.toml:5:8: unknown variant `befor-queue`"),
        "{text}"
    );
    assert!(text.ends_with("(did you mean \"before-queue\"?)"), "{text}");
}

#[test]
fn every_wrong_value_is_named_with_line_and_column() {
    for (text, place, part) in [
        (
            GOOD.replace("\"gw.example.jp\"", "7"),
            ":2:12: ",
            "host name",
        ),
        (with("state_dir = []"), ":1:13: ", "wanted a text"),
        (
            GOOD.replace("gw.example.jp", "gw..jp"),
            ":2:12: ",
            "\"gw..jp\" is no host name",
        ),
        (
            GOOD.replace("10025", "70000"),
            ":4:11: ",
            "no address with port",
        ),
        (
            format!("{GOOD}[limits]\nmessage_size = \"5 bananas\""),
            ":9:16: ",
            "no size",
        ),
        (
            format!("{GOOD}[limits]\ndeadline = \"2m\""),
            ":9:12: ",
            "deadline is above 60s",
        ),
        (
            format!("{GOOD}[limits]\nconnections = 0"),
            ":9:15: ",
            "connections is 0",
        ),
        (
            format!("{GOOD}tls = \"required\""),
            ":8:7: ",
            "needs the name",
        ),
        (format!("{GOOD}ca = \"ca.pem\""), ":8:6: ", "no effect"),
        (
            format!("{GOOD}[log]\nlevel = \"loud=yes=no\""),
            ":9:9: ",
            "no log level",
        ),
        (
            format!("{GOOD}[log]\nlevel = \"warning\""),
            ":9:9: ",
            "did you mean \"warn\"?",
        ),
        (
            format!("{GOOD}[log]\nlevel = \"kenin=debug,inof\""),
            ":9:9: ",
            "did you mean \"info\"?",
        ),
        (GOOD.replace("10026", "10025"), ":4:11: ", "go round"),
        (
            GOOD.replace("127.0.0.1:10026", "localhost:10025"),
            ":4:11: ",
            "go round",
        ),
        (
            GOOD.replace("127.0.0.1:10025", "0.0.0.0:10026"),
            ":4:11: ",
            "go round",
        ),
        (
            format!("{GOOD}[http]\naddress = \"127.0.0.1:10025\""),
            ":9:11: ",
            "a listener for mail already",
        ),
        ("hostname = \"a\nb\"".to_owned(), ":2:3: ", ""),
    ] {
        let error = wrong(&text);
        assert!(error.contains(place), "{error} should be at {place}");
        assert!(error.contains(part), "{error} should say {part}");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert!(wrong("").contains("hostname is missing"));
    assert!(wrong("hostname = \"a.b\"").contains("address in [next_hop] is missing"));
    let text = "hostname = \"a.b\"\n[next_hop]\naddress = \"[::1]:25\"";
    assert!(wrong(text).contains("[[listener]] is missing"));
}

#[test]
fn a_report_points_at_the_place() {
    let error = parse("\n\thostnam = 1\n").unwrap_err();
    let report = error.report();
    assert!(
        report.ends_with("\n   |\n 2 | \thostnam = 1\n   | \t^"),
        "{report}"
    );
}

#[test]
fn later_files_lie_over_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("kenin.toml"), dir.path().join("more.toml"));
    std::fs::write(&one, GOOD).unwrap();
    std::fs::write(
        &two,
        "hostname = \"other.example\"\n[log]\nformat = \"json\"\n",
    )
    .unwrap();
    let config = Config::load(&[one.clone(), two.clone()]).unwrap();
    assert_eq!(config.hostname, "other.example");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.files().count(), 2);

    std::fs::write(&two, "[limits]\nmessages = 0\n").unwrap();
    let text = Config::load(&[one, two.clone()]).unwrap_err().to_string();
    assert!(
        text.starts_with(&format!("{}:2:12: messages is 0", two.display())),
        "{text}"
    );
}

#[test]
fn a_mistake_in_a_listener_is_told_in_the_file_it_stands_in() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("kenin.toml"), dir.path().join("more.toml"));
    std::fs::write(&one, GOOD).unwrap();
    let config = Config::load(std::slice::from_ref(&one)).unwrap();
    let first = &config.listeners[0].address;
    let text = format!("\n[[listener]]\naddress = \"{first}\"\nmode = \"before-queue\"\n");
    std::fs::write(&two, text).unwrap();
    let text = Config::load(&[one.clone(), two.clone()])
        .unwrap_err()
        .to_string();
    let place = format!("{}:3:11: ", two.display());
    assert!(text.starts_with(&place), "{text}");
    std::fs::write(
        &two,
        "\n[[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"after-queue\"\n",
    )
    .unwrap();
    let config = Config::load(&[one.clone(), two.clone()]).unwrap();
    let told = |key: &str| config.mistake(key, "x").to_string();
    assert!(told("listener.0.address").starts_with(&format!("{}:", one.display())));
    assert!(told("listener.1.mode").starts_with(&format!("{}:4:8: ", two.display())));
    assert!(told("listener.1.trusted_peers").starts_with(&format!("{}:2:1: ", two.display())));
}

#[test]
fn a_milter_needs_no_next_hop_and_takes_no_smtp_settings() {
    let milter = "hostname = \"a.b\"\n[[listener]]\naddress = \"unix:/run/kenin/milter\"\n\
                  mode = \"milter\"\n";
    let config = parse(milter).unwrap();
    assert!(config.next_hop.is_none());
    let listener = &config.listeners[0];
    let path = ListenAddress::Unix("/run/kenin/milter".into());
    assert_eq!((&listener.address, listener.socket_mode), (&path, 0o660));
    let config = parse(&format!("{milter}socket_mode = \"0666\"\n")).unwrap();
    assert_eq!(config.listeners[0].socket_mode, 0o666);
    for (text, place, part) in [
        (
            milter.replace("\"milter\"", "\"after-queue\""),
            ":",
            "[next_hop] is missing",
        ),
        (
            format!("{milter}bare_newline = \"reject\"\n"),
            ":4:8: ",
            "not for a milter",
        ),
        (
            format!("{milter}socket_mode = \"rw\"\n"),
            ":5:15: ",
            "is no mode",
        ),
        (
            format!(
                "{milter}[[listener]]\naddress = \"local:/run/kenin/milter\"\nmode = \"milter\"\n"
            ),
            ":6:11: ",
            "listened on twice",
        ),
        (
            GOOD.replace("127.0.0.1:10025", "unix:/run/kenin/smtp"),
            ":4:11: ",
            "only with mode = \"milter\"",
        ),
    ] {
        let error = wrong(&text);
        assert!(error.contains(place), "{error} should be at {place}");
        assert!(error.contains(part), "{error} should say {part}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let text = Config::load(&["/nowhere/kenin.toml".into()])
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("/nowhere/kenin.toml: No such file"),
        "{text}"
    );
}

#[test]
fn a_store_is_a_file_or_a_database() {
    let store =
        |lines: &str| parse(&format!("{GOOD}[store]\n{lines}\n")).map(|config| config.store);
    assert_eq!(
        store("path = \"/srv/k.sqlite\"").unwrap(),
        StoreAt::File("/srv/k.sqlite".into())
    );
    let url = "url = \"postgresql://kenin@db.example.jp/kenin\"";
    let written = format!("{url}\npassword_file = \"db.password\"\nconnections = 9");
    let StoreAt::Server(server) = store(&written).unwrap() else {
        panic!("a database was written");
    };
    assert_eq!(
        server.password_file.as_deref(),
        Some(Path::new("/etc/kenin/db.password"))
    );
    assert_eq!((server.connections, server.verified), (9, true));
    assert_eq!(
        server.name,
        Path::new("postgresql://kenin@db.example.jp:5432/kenin")
    );
    for (lines, says) in [
        (
            format!("path = \"k.sqlite\"\n{url}"),
            ":10:7: there is a path as well",
        ),
        (
            "password_file = \"x\"".to_owned(),
            ":9:17: is for a database",
        ),
        ("connections = 1".to_owned(), ":9:15: is for a database"),
        (format!("connections = 0\n{url}"), ":9:15: 0 connections"),
        (
            "url = \"mysql://kenin@db/kenin\"".to_owned(),
            ":9:7: is no database",
        ),
        (
            "url = \"postgresql://k:s3cret@db/k\"".to_owned(),
            ":9:7: holds a password",
        ),
    ] {
        let told = store(&lines).unwrap_err();
        assert!(told.to_string().contains(says), "{told}");
        assert!(!told.to_string().contains("s3cret"), "{told}");
    }
}
