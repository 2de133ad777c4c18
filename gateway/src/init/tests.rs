use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::Config;

fn options(dir: &Path, mode: Mode) -> InitOptions {
    InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        ..InitOptions::new(mode, "gw.example.jp")
    }
}

#[test]
fn writes_a_configuration_that_the_program_takes() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [
        Mode::BeforeQueue,
        Mode::AfterQueue,
        Mode::Milter,
        Mode::Lmtp,
    ] {
        let options = InitOptions {
            force: true,
            ..options(dir.path(), mode)
        };
        let done = postfix(&options).unwrap();
        assert!(done.written.contains(&dir.path().join("etc/kenin.toml")));
        let config = Config::load(&[options.dir.join("kenin.toml")]).unwrap();
        assert_eq!(config.authserv_id, "smime.gw.example.jp");
        assert_eq!(config.listeners[0].mode, mode);
        assert_eq!(config.listeners[0].address.tcp(), Some(options.listen));
        let next_hop = config.next_hop.map(|next| next.address);
        let wanted = (mode != Mode::Milter).then(|| options.reinject.to_string());
        assert_eq!(next_hop, wanted);
        assert_eq!(config.state_dir, dir.path().join("state"));
        for name in ["anchors", "intermediates", "crls"] {
            assert!(options.dir.join(name).is_dir());
        }
    }
}

#[test]
fn the_key_is_private_and_survives_force() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), Mode::BeforeQueue);
    postfix(&options).unwrap();
    let key = options.dir.join("stamp.key");
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = fs::read_to_string(&key).unwrap();
    assert!(before.starts_with("-----BEGIN PRIVATE KEY-----\n"));

    let refused = postfix(&options).unwrap_err();
    assert!(matches!(refused, InitError::Exists(_)), "{refused}");
    postfix(&InitOptions {
        force: true,
        ..options
    })
    .unwrap();
    assert_eq!(fs::read_to_string(&key).unwrap(), before);
}

#[test]
fn a_dry_run_writes_nothing_and_says_everything() {
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions {
        dry_run: true,
        ..options(dir.path(), Mode::AfterQueue)
    };
    let done = postfix(&options).unwrap();
    assert!(!options.dir.exists());
    assert!(done.written.contains(&options.dir.join("stamp.key")));
    assert!(
        done.lines
            .contains("content_filter=kenin:[127.0.0.1]:10025")
    );
}

#[test]
fn an_impossible_name_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions {
        hostname: "a\"\nstate_dir = \"/".to_owned(),
        ..options(dir.path(), Mode::BeforeQueue)
    };
    assert!(matches!(postfix(&options), Err(InitError::Usage(_))));
    assert!(!options.dir.exists());
}

#[test]
fn before_queue_lines_name_the_proxy_and_its_time_out() {
    let text = lines::postfix(&InitOptions::new(Mode::BeforeQueue, "gw.example.jp"));
    for line in [
        "postconf -P -e 'smtp/inet/smtpd_proxy_filter=127.0.0.1:10025'",
        "postconf -P -e 'smtp/inet/smtpd_proxy_timeout=620s'",
        "postconf -e 'allow_percent_hack=no'",
        "postconf -e 'swap_bangpath=no'",
        "postconf -M -e '127.0.0.1:10026/inet=127.0.0.1:10026 inet n - n - - smtpd'",
        "postconf -P -e '127.0.0.1:10026/inet/smtpd_proxy_filter='",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

/// Whatever is printed is a comment, or a command whose arguments no shell changes.
#[test]
fn every_line_is_safe_for_a_shell() {
    for mode in [
        Mode::BeforeQueue,
        Mode::AfterQueue,
        Mode::Milter,
        Mode::Lmtp,
    ] {
        let mut options = InitOptions::new(mode, "gw.example.jp");
        options.reinject = "[::1]:10026".parse().unwrap();
        let text = lines::postfix(&options);
        // One command asks Postfix what it has, so that nothing of it is lost.
        let asks = text.find("case ").zip(text.find("esac\n"));
        let (asking, text) = match asks {
            Some((from, to)) => {
                let (before, after) = (&text[..from], &text[to + 5..]);
                (text[from..to].to_owned(), format!("{before}{after}"))
            }
            None => (String::new(), text),
        };
        assert_eq!(mode == Mode::Milter, !asking.is_empty());
        for line in text.lines().filter(|l| !l.is_empty()) {
            let plain = line.starts_with("# ") || line == "postfix reload";
            let quoted = line.starts_with("postconf -")
                && line.matches('\'').count() == 2
                && line.ends_with('\'');
            assert!(plain || quoted, "{line}");
        }
    }
}

/// A rule that must encrypt holds for what is shown to Kenin only: whoever sets it up is told what is not.
#[test]
fn the_lines_name_the_mail_that_does_not_come_this_way() {
    let before = lines::postfix(&InitOptions::new(Mode::BeforeQueue, "gw.example.jp"));
    assert!(before.contains("# this host's own programs (sendmail) does not"));
    let milter = lines::postfix(&InitOptions::new(Mode::Milter, "gw.example.jp"));
    let line = "# postconf -e 'non_smtpd_milters=$smtpd_milters'";
    assert!(milter.lines().any(|own| own == line), "{milter}");
}

/// What a milter behind Kenin answers of opened mail the sender hears.
#[test]
fn a_milter_that_refuses_for_content_is_told_to_stand_before_kenin() {
    let notes = lines::notes(&InitOptions::new(Mode::Milter, "gw.example.jp"));
    let told = "refuses mail for its content belongs before\nit:";
    assert!(notes.contains(told), "{notes}");
}

#[test]
fn milters_that_are_there_stay() {
    let mut options = InitOptions::new(Mode::Milter, "gw.example.jp");
    options.listen = "[::1]:10025".parse().unwrap();
    let text = lines::postfix(&options);
    let asking = "case \"$(postconf -h smtpd_milters)\" in\n\
                  *'inet:[::1]:10025'*) ;;\n\
                  *) postconf -e \"smtpd_milters=$(postconf -h smtpd_milters) \
                  { inet:[::1]:10025, default_action=tempfail }\" ;;\nesac\n";
    assert!(text.contains(asking), "{text}");
}

fn exim_options(dir: &Path, mode: Mode) -> InitOptions {
    InitOptions {
        dry_run: true,
        ..options(dir, mode)
    }
}

#[test]
fn exim_is_given_five_pieces_and_no_place_holder() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, protocol) in [(Mode::AfterQueue, false), (Mode::Lmtp, true)] {
        let text = exim(&exim_options(dir.path(), mode)).unwrap().lines;
        let headings = text.lines().filter(|line| line.starts_with("# --- "));
        assert_eq!(headings.count(), 5, "{text}");
        for line in [
            "local_interfaces = <; 0.0.0.0 ; ::0 ; [127.0.0.1]:10026",
            "    condition = ${if eq{$received_port}{10026}}",
            "  condition = ${if !eq{$received_port}{10026}}",
            "  hosts = 127.0.0.1",
            "  port = 10025",
            "127.0.0.1  *  F,4d,1m",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!(text.contains("  protocol = lmtp\n"), protocol);
        let open = ["{again", "{kenin", "{client", "{protocol", "{retry"];
        assert!(open.iter().all(|name| !text.contains(name)), "{text}");
    }
}

#[test]
fn colons_of_ipv6_are_no_list_separators_for_exim() {
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions {
        listen: "[::1]:10025".parse().unwrap(),
        reinject: "[::1]:10026".parse().unwrap(),
        ..exim_options(dir.path(), Mode::AfterQueue)
    };
    let text = exim(&options).unwrap().lines;
    for line in [
        "local_interfaces = <; 0.0.0.0 ; ::0 ; [::1]:10026",
        "    hosts = <; ::1",
        "  hosts = <; ::1",
        "# Exim cannot name ::1 here (its colons): your own rules hold for Kenin too.",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn what_exim_cannot_do_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let good = options(dir.path(), Mode::AfterQueue);
    let refused = [
        InitOptions {
            mode: Mode::Milter,
            ..good.clone()
        },
        InitOptions {
            mode: Mode::BeforeQueue,
            ..good.clone()
        },
        // Mail from outside comes in there: it would be taken for stamped.
        InitOptions {
            reinject: "127.0.0.1:25".parse().unwrap(),
            ..good.clone()
        },
        InitOptions {
            reinject: "0.0.0.0:10026".parse().unwrap(),
            ..good
        },
    ];
    for options in refused {
        let error = exim(&options).unwrap_err();
        assert!(matches!(error, InitError::Usage(_)), "{error}");
        assert!(!options.dir.exists());
    }
}
