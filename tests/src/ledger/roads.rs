//! The roads that a mail can take through Kenin to the sink, and the set-up of each.

use std::process::Command;
use std::time::Duration;

use crate::kenin::{Gateway, Setup};
use crate::parts;
use crate::postfix::Postfix;
use crate::sink::Sink;
use crate::world::{free_address, run, wait_within};

/// A road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Our own client, SMTP.
    Smtp,
    /// Our own client, LMTP.
    Lmtp,
    /// A real Postfix, its content filter.
    AfterQueue,
    /// A real Postfix, its proxy filter; another one outside keeps the mail.
    BeforeQueue,
    /// A real Postfix that delivers to Kenin by LMTP.
    PostfixLmtp,
    /// A real Postfix that asks Kenin as its milter; another one outside keeps the mail.
    Milter,
}

impl Road {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Smtp,
        Self::Lmtp,
        Self::AfterQueue,
        Self::BeforeQueue,
        Self::PostfixLmtp,
        Self::Milter,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
            Self::AfterQueue => "postfix-after-queue",
            Self::BeforeQueue => "postfix-before-queue",
            Self::PostfixLmtp => "postfix-lmtp",
            Self::Milter => "postfix-milter",
        }
    }

    /// The mode of the listener, and of `kenin init postfix`.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Smtp | Self::BeforeQueue => "before-queue",
            Self::Lmtp | Self::PostfixLmtp => "lmtp",
            Self::AfterQueue => "after-queue",
            Self::Milter => "milter",
        }
    }

    /// Whether our own client is the sender, and no Postfix.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Smtp | Self::Lmtp)
    }

    /// Whether a mail to recipients who are treated differently becomes several: a milter has one body
    /// for all.
    pub fn divides(self) -> bool {
        self != Self::Milter
    }

    /// Whether the Postfix beside Kenin leaves the mail with the sender until Kenin has answered, so
    /// that another one outside has to keep it.
    pub fn needs_outside(self) -> bool {
        matches!(self, Self::BeforeQueue | Self::Milter)
    }
}

/// Postfix and Kenin in a mode of `kenin init postfix`, set up by the very lines it prints.
pub fn behind_postfix(sink: &Sink, mode: &str, main: &str) -> (Postfix, Gateway) {
    let postfix = Postfix::start(sink.address, main);
    let again = free_address();
    let mut gateway = Gateway::prepare(&Setup::new(again));
    let trust = std::fs::read(gateway.folder.join("trust.toml")).unwrap();
    let mut command = Command::new(parts::kenin());
    command.args([
        "init",
        "postfix",
        "--force",
        "--mode",
        mode,
        "--hostname",
        "gw.example.jp",
    ]);
    command.arg("--dir").arg(gateway.folder.path());
    command.arg("--state-dir").arg(gateway.folder.join("state"));
    command.args(["--listen", &gateway.address.to_string()]);
    command.args(["--next-hop", &again.to_string()]);
    command
        .args(["--http", &gateway.http.to_string()])
        .env_remove("KENIN_CONFIG");
    let lines = String::from_utf8(run(&mut command)).unwrap();
    std::fs::write(gateway.folder.join("trust.toml"), trust).unwrap();
    gateway.restart();
    postfix.execute(&lines);
    if mode != "milter" {
        wait_within(
            Duration::from_secs(30),
            "Postfix's second smtpd listens",
            || crate::world::listens(again),
        );
    }
    (postfix, gateway)
}
