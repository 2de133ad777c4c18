//! The pieces of Exim's configuration that put Kenin on its route.
//!
//! Exim has no milter and no proxy in front of its queue: a router in front of all others hands
//! every mail to Kenin, and a second listener takes it back. What came in there is known by its
//! port, which is kept with the mail; a header field could be forged and would let mail pass by.
//! No file of Exim is touched: how it is put together differs too much between systems.
//!
//! <https://www.exim.org/exim-html-current/doc/html/spec_html/>, chapters 13, 15, 30 and 32.

use std::net::IpAddr;

use super::{InitOptions, Mode};

/// Whether the options make sense with Exim.
pub(super) fn fits(options: &InitOptions) -> Result<(), String> {
    if !matches!(options.mode, Mode::AfterQueue | Mode::Lmtp) {
        let text =
            "Exim has no milter and no proxy before its queue; say --mode after-queue or lmtp";
        return Err(text.to_owned());
    }
    let again = options.reinject;
    if PUBLIC.contains(&again.port()) {
        return Err(format!(
            "--next-hop {again}: mail from outside comes in at this port and would pass Kenin by; \
             name another"
        ));
    }
    for (option, address) in [("--listen", options.listen), ("--next-hop", again)] {
        if address.ip().is_unspecified() {
            return Err(format!(
                "{option} {address}: Exim needs one address, such as 127.0.0.1:{}",
                address.port()
            ));
        }
    }
    Ok(())
}

/// For stdout.
pub(super) fn pieces(options: &InitOptions) -> String {
    let protocol = if options.mode == Mode::Lmtp {
        "\n  protocol = lmtp"
    } else {
        ""
    };
    PIECES
        .replace("{again}", &listener(options))
        .replace("{again-port}", &options.reinject.port().to_string())
        .replace("{client}", &list(client(options)))
        .replace("{kenin}", &list(options.listen.ip()))
        .replace("{kenin-port}", &options.listen.port().to_string())
        .replace("{retry}", &retry(options.listen.ip()))
        .replace("{protocol}", protocol)
}

/// For stderr.
pub(super) fn notes(options: &InitOptions) -> String {
    let file = options.dir.join("kenin.toml");
    let file = file.display();
    let refused = if options.mode == Mode::Lmtp {
        "What mail.toml refuses is refused to its recipient only, and Exim, which has accepted it,\n\
         returns it to the sender.\n"
    } else {
        "Let mail.toml refuse nothing here: Exim has accepted the mail already and would have to\n\
         bounce it.\n"
    };
    format!(
        "\nNext:\n  1. kenin trust add ROOT.pem --config {file}   # whom to trust\n  \
         2. kenin check --config {file}\n  \
         3. kenin run --config {file}                  # as a service: docs/operating.md\n  \
         4. put the pieces below where their headings say; \"exim -bV\" checks them; restart Exim\n\
         {refused}\n"
    )
}

/// The address from which Kenin hands mail back.
fn client(options: &InitOptions) -> IpAddr {
    let again = options.reinject.ip();
    if again.is_loopback() {
        again
    } else {
        options.listen.ip()
    }
}

/// An item of `local_interfaces`.
fn listener(options: &InitOptions) -> String {
    format!("[{}]:{}", options.reinject.ip(), options.reinject.port())
}

/// A host list of one address; a colon is what separates two otherwise.
fn list(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("<; {ip}"),
    }
}

/// The rule for mail that waits for Kenin.
fn retry(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}  *  F,4d,1m"),
        IpAddr::V6(ip) => {
            format!("# Exim cannot name {ip} here (its colons): your own rules hold for Kenin too.")
        }
    }
}

const PIECES: &str = include_str!("exim.conf");

/// Ports on which a mail server serves others.
const PUBLIC: [u16; 4] = [24, 25, 465, 587];
