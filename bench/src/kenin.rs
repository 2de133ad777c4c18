//! The real `kenin`, as a person would run it: the stamp's key in place, one log line a mail.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use kenin_policy::StampKey;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::parts;
use kenin_tests::world::write_secret;

use crate::load::Trouble;
use crate::milter::client::Address;
use crate::process::{Program, Tree};

/// A running `kenin`.
pub(crate) struct Kenin {
    gateway: Gateway,
    program: Program,
}

impl Kenin {
    /// A filter before the queue.
    pub(crate) fn relay(next_hop: SocketAddr, limits: &str) -> Result<Self, Trouble> {
        Self::start(&Setup {
            limits: limits.to_owned(),
            ..Setup::new(next_hop)
        })
    }

    /// A milter at a TCP port and at a UNIX socket.
    pub(crate) fn milter(limits: &str) -> Result<Self, Trouble> {
        let nowhere = kenin_tests::world::free_address();
        Self::start(&Setup {
            mode: "milter",
            limits: limits.to_owned(),
            ..Setup::new(nowhere)
        })
    }

    /// A filter before the queue that opens mail, and that this machine may tell whom a mail is from (XFORWARD). `put`
    /// writes what `tables` speak of.
    pub(crate) fn opening(
        next_hop: SocketAddr,
        tables: &str,
        put: impl FnOnce(&Gateway) -> Result<(), Trouble>,
    ) -> Result<Self, Trouble> {
        let setup = Setup {
            trusted_peers: Some("[\"127.0.0.0/8\"]".to_owned()),
            tables: tables.to_owned(),
            ..Setup::new(next_hop)
        };
        Self::start_with(&setup, put)
    }

    /// A milter that signs for people. `put` writes what `tables` speak of.
    pub(crate) fn signing(
        tables: &str,
        put: impl FnOnce(&Gateway) -> Result<(), Trouble>,
    ) -> Result<Self, Trouble> {
        let nowhere = kenin_tests::world::free_address();
        let setup = Setup {
            mode: "milter",
            tables: tables.to_owned(),
            ..Setup::new(nowhere)
        };
        Self::start_with(&setup, put)
    }

    fn start(setup: &Setup) -> Result<Self, Trouble> {
        Self::start_with(setup, |_| Ok(()))
    }

    fn start_with(
        setup: &Setup,
        put: impl FnOnce(&Gateway) -> Result<(), Trouble>,
    ) -> Result<Self, Trouble> {
        let setup = Setup {
            top: "[stamp]\nkey = \"stamp.key\"\n".to_owned(),
            log_format: "pretty",
            ..setup.clone()
        };
        let gateway = Gateway::prepare(&setup);
        let (_, key) = StampKey::generate()?;
        write_secret(&gateway.folder.join("stamp.key"), key.as_bytes());
        if setup.mode == "milter" {
            let text = std::fs::read_to_string(gateway.config())?;
            let also = format!(
                "[[listener]]\naddress = \"unix:{}\"\nmode = \"milter\"\nsocket_mode = \"0666\"\n[next_hop]",
                gateway.folder.join("milter.sock").display()
            );
            let text = text.replace("bare_newline = \"reject\"\n", "");
            std::fs::write(gateway.config(), text.replace("[next_hop]", &also))?;
        }
        put(&gateway)?;
        let mut command = Command::new(parts::kenin());
        command.arg("run").arg("--config").arg(gateway.config());
        command.env_remove("KENIN_CONFIG");
        let mut program = Program::start(command, &gateway.folder.join("kenin.log"));
        let address = gateway.address;
        program.wait_until(|| kenin_tests::world::listens(address))?;
        Ok(Self { gateway, program })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    pub(crate) fn tcp(&self) -> Address {
        Address::Tcp(self.gateway.address)
    }

    pub(crate) fn unix(&self) -> Address {
        Address::Unix(self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.gateway.folder.join("milter.sock")
    }

    pub(crate) fn tree(&self) -> Tree {
        self.program.tree()
    }
}

/// Says which `kenin` is measured, and warns where it is no release build.
pub(crate) fn introduce() {
    let path = parts::kenin();
    println!("kenin: {}", path.display());
    if !path.components().any(|part| part.as_os_str() == "release") {
        println!(
            "  WARNING: not below a folder \"release\": the figures are those of a slower build"
        );
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine before the run: {}", load.trim());
}
