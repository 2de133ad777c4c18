//! The command lines that put Kenin on Postfix's route, ready for a shell.
//!
//! Only `postconf` is used: it edits `main.cf` and `master.cf` and undoes nothing else. With
//! `MAIL_CONFIG` in the environment the same lines edit another Postfix instance.
//!
//! <https://www.postfix.org/SMTPD_PROXY_README.html>,
//! <https://www.postfix.org/FILTER_README.html>.

use std::net::SocketAddr;

use super::{InitOptions, Mode};

/// For stdout.
pub(super) fn postfix(options: &InitOptions) -> String {
    match options.mode {
        Mode::BeforeQueue => before_queue(options),
        Mode::AfterQueue | Mode::Lmtp => after_queue(options),
        Mode::Milter => milter(options),
    }
}

/// For stderr.
pub(super) fn notes(options: &InitOptions) -> String {
    let file = options.dir.join("kenin.toml");
    let file = file.display();
    let order = match options.mode {
        Mode::BeforeQueue => {
            "Milters that look at content (OpenDKIM) belong to the second smtpd: one in front of a\n\
             proxy filter sees no content.\n"
        }
        Mode::AfterQueue => {
            "Milters stay with the first smtpd; the second one skips them. Let mail.toml refuse\n\
             nothing here: Postfix has accepted the mail already and would have to bounce it.\n"
        }
        Mode::Lmtp => {
            "Milters stay with the first smtpd; the second one skips them. What mail.toml refuses is\n\
             refused to its recipient only, and Postfix, which has accepted it, returns it to the sender.\n"
        }
        Mode::Milter => {
            "Milters are asked in the order of smtpd_milters. One that signs (OpenDKIM for mail that goes\n\
             out) belongs behind Kenin. One that verifies (DKIM) or refuses mail for its content belongs before\n\
             it: behind it, its answer tells a sender which encrypted mail opened (docs/decrypting.md).\n"
        }
    };
    format!(
        "\nNext:\n  1. kenin trust add ROOT.pem --config {file}   # whom to trust\n  \
         2. kenin check --config {file}\n  \
         3. kenin run --config {file}                  # as a service: docs/operating.md\n  \
         4. run the lines below as root; they tell Postfix to send mail through Kenin\n{order}\n"
    )
}

fn before_queue(options: &InitOptions) -> String {
    let service = &options.service;
    let listen = options.listen;
    let again = address(options.reinject);
    let mut text = String::from(HEAD);
    text.push_str(&format!(
        "# Mail from outside passes through Kenin before Postfix takes it. Mail of a submission service and of\n\
         # this host's own programs (sendmail) does not: no rule encrypts it (docs/postfix.md).\n\
         # The time-out must cover Kenin's own work (20 s) and the second smtpd's answer.\n\
         postconf -P -e '{service}/smtpd_proxy_filter={listen}'\n\
         postconf -P -e '{service}/smtpd_proxy_timeout=620s'\n\
         # Only where mail.toml refuses nothing: Postfix may not refuse single recipients with it.\n\
         # postconf -P -e '{service}/smtpd_proxy_options=speed_adjust'\n\
         # Rules go by the address as it is written: Postfix must read no other one in its local part.\n\
         postconf -e 'allow_percent_hack=no'\n\
         postconf -e 'swap_bangpath=no'\n\n\
         # The second smtpd takes it back.\n\
         postconf -M -e '{again}/inet={again} inet n - n - - smtpd'\n"
    ));
    let own = [
        ("smtpd_proxy_filter", ""),
        ("receive_override_options", "no_unknown_recipient_checks"),
    ];
    options_of(&mut text, &format!("{again}/inet"), &own, options);
    text.push_str(TAIL);
    text
}

fn milter(options: &InitOptions) -> String {
    let listen = options.listen;
    let socket = format!("inet:{}:{}", bare(listen), listen.port());
    let mut text = String::from(HEAD);
    text.push_str(&format!(
        "# Postfix shows each mail to Kenin before it takes it. While Kenin does not answer, mail waits\n\
         # with its sender: let through unseen it would arrive with whatever stamps it came with.\n\
         case \"$(postconf -h smtpd_milters)\" in\n\
         *'{socket}'*) ;;\n\
         *) postconf -e \"smtpd_milters=$(postconf -h smtpd_milters) {{ {socket}, default_action=tempfail }}\" ;;\n\
         esac\n\
         postconf -e 'milter_protocol=6'\n\
         # Mail of this host's own programs (sendmail) comes by no smtpd. Where rules encrypt,\n\
         # show it to Kenin too.\n\
         # postconf -e 'non_smtpd_milters=$smtpd_milters'\n"
    ));
    text.push_str(TAIL);
    text
}

/// A host as Postfix writes it in a socket.
fn bare(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn after_queue(options: &InitOptions) -> String {
    let again = address(options.reinject);
    let listen = options.listen;
    let client = if options.mode == Mode::Lmtp {
        "lmtp"
    } else {
        "smtp"
    };
    let mut text = String::from(HEAD);
    text.push_str(
        "# The way from the queue to Kenin: no byte of a message may change on it.\n\
         postconf -M -e 'kenin/unix=kenin unix - - n - 10 PROGRAM'\n"
            .replace("PROGRAM", client)
            .as_str(),
    );
    for (key, value) in [
        ("smtp_send_xforward_command", "yes"),
        ("disable_mime_output_conversion", "yes"),
        ("smtp_generic_maps", ""),
        ("smtp_header_checks", ""),
        ("smtp_body_checks", ""),
        ("smtp_tls_security_level", "none"),
        // Kenin answers the dot after the second smtpd did: 20 s and 590 s at most.
        ("smtp_data_done_timeout", "620s"),
    ] {
        text.push_str(&format!("postconf -P -e 'kenin/unix/{key}={value}'\n"));
    }
    text.push_str(&format!(
        "\n# The second smtpd takes it back and does nothing again that was done already.\n\
         postconf -M -e '{again}/inet={again} inet n - n - - smtpd'\n"
    ));
    let own = [
        ("content_filter", ""),
        (
            "receive_override_options",
            "no_unknown_recipient_checks,no_header_body_checks,no_milters,no_address_mappings",
        ),
    ];
    options_of(&mut text, &format!("{again}/inet"), &own, options);
    let ip = listen.ip();
    let ip = if ip.is_ipv6() {
        format!("ipv6:{ip}")
    } else {
        ip.to_string()
    };
    text.push_str(&format!(
        "\n# From now on everything in the queue goes through Kenin.\n\
         postconf -e 'content_filter=kenin:[{ip}]:{}'\n",
        listen.port()
    ));
    text.push_str(TAIL);
    text
}

/// What both modes need at the second smtpd: it serves Kenin only, and was told all by the first.
fn options_of(text: &mut String, service: &str, own: &[(&str, &str)], options: &InitOptions) {
    let client = options.reinject.ip();
    let networks = if client.is_loopback() {
        "127.0.0.0/8,[::1]/128".to_owned()
    } else {
        // Kenin reaches another host from the address it listens on.
        let ip = options.listen.ip();
        if ip.is_ipv6() {
            format!("[{ip}]/128")
        } else {
            format!("{ip}/32")
        }
    };
    let networks = networks.as_str();
    let shared = [
        ("mynetworks", networks),
        ("smtpd_authorized_xforward_hosts", networks),
        ("smtpd_client_restrictions", "permit_mynetworks,reject"),
        ("smtpd_helo_restrictions", ""),
        ("smtpd_sender_restrictions", ""),
        ("smtpd_relay_restrictions", "permit_mynetworks,reject"),
        ("smtpd_recipient_restrictions", "permit_mynetworks,reject"),
        ("smtpd_data_restrictions", ""),
        ("smtpd_end_of_data_restrictions", ""),
        ("smtpd_tls_security_level", "none"),
        ("smtpd_sasl_auth_enable", "no"),
        ("smtpd_client_connection_count_limit", "0"),
        ("smtpd_client_connection_rate_limit", "0"),
        ("smtpd_error_sleep_time", "0"),
        ("smtpd_soft_error_limit", "1001"),
        ("smtpd_hard_error_limit", "1000"),
    ];
    for (key, value) in own.iter().chain(&shared) {
        text.push_str(&format!("postconf -P -e '{service}/{key}={value}'\n"));
    }
}

/// `master.cf` wants the brackets of an IPv6 address too.
fn address(address: SocketAddr) -> String {
    address.to_string()
}

const HEAD: &str =
    "# Put Kenin on Postfix's route. Run as root; MAIL_CONFIG names another instance.\n";
const TAIL: &str = "\npostfix reload\n";
