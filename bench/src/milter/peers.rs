//! Who is measured: Kenin, two filters that do nothing, opendkim and rspamd. A peer that is not installed
//! is left out, and that is said.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kenin_tests::opendkim::OpenDkim;
use kenin_tests::world::Folder;

use super::client::{Address, Client, Expect, Parts};
use crate::kenin::Kenin;
use crate::load::{Open, Trouble};
use crate::mails;
use crate::process::{Program, Tree};

/// One filter at one socket.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) address: Address,
    pub(super) tree: Tree,
    pub(super) expect: Expect,
    /// The header field by which a mail behind it shows that it was looked at and found good.
    pub(super) shown: &'static str,
}

impl Contestant {
    /// Opens connections that show a mail.
    pub(super) fn open(&self, parts: &Arc<Parts>) -> Box<Open<'static>> {
        let (address, parts, expect) = (self.address.clone(), Arc::clone(parts), self.expect);
        Box::new(move || {
            Ok(Box::new(Client::open(
                &address,
                Arc::clone(&parts),
                expect,
            )?))
        })
    }

    /// Whether the right answer comes to a good mail, and another to a tampered one. A filter that does
    /// nothing says the same of both.
    fn check(&self, good: &Arc<Parts>, bad: &Arc<Parts>) -> Result<(), Trouble> {
        let said = Client::open(&self.address, Arc::clone(good), self.expect)?.show()?;
        if !(self.expect)(&said) {
            return Err(format!("{}: a wrong answer to a good mail: {said:?}", self.name).into());
        }
        let said = Client::open(&self.address, Arc::clone(bad), self.expect)?.show()?;
        if (self.expect)(&said) != self.name.starts_with("no-op") {
            return Err(format!("{}: a wrong answer to a bad mail: {said:?}", self.name).into());
        }
        Ok(())
    }
}

/// All that could be started, and what keeps them running.
pub(super) struct Field {
    pub(super) contestants: Vec<Contestant>,
    pub(super) mail: Vec<u8>,
    pub(super) parts: Arc<Parts>,
    _kenin: Kenin,
    _programs: Vec<Program>,
    _folder: Folder,
    _dkim: Option<OpenDkim>,
}

impl Field {
    /// Starts everybody and looks at their answers.
    pub(super) fn start(size: usize) -> Result<Self, Trouble> {
        let folder = Folder::new();
        let dkim = mails::dkim();
        let plain = mails::signed(size);
        let mail = dkim
            .as_ref()
            .map_or(plain.clone(), |dkim| dkim.sign(&plain));
        let parts = Arc::new(Parts::of(&mail)?);
        let kenin = Kenin::milter("")?;
        let mut contestants = Vec::new();
        let mut programs = Vec::new();
        for (name, address) in [("Kenin", kenin.unix()), ("Kenin, TCP", kenin.tcp())] {
            contestants.push(Contestant {
                name,
                address,
                tree: kenin.tree(),
                expect: |said| said.has("Authentication-Results:", "smime=pass"),
                shown: "smime=pass",
            });
        }
        for (name, word, tcp) in NOTHING {
            let replaces = word == "replace";
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["noop-milter", word]);
            let address = if tcp {
                let address = kenin_tests::world::free_address();
                command.arg(address.to_string());
                Address::Tcp(address)
            } else {
                let path = folder.join(word);
                command.arg(&path);
                Address::Unix(path)
            };
            let program = ready(command, &folder.join("noop.log"), &address)?;
            contestants.push(Contestant {
                name,
                address,
                tree: program.tree(),
                expect: if replaces {
                    |said| said.has("X-Noop:", "seen") && said.body > 0
                } else {
                    |said| said.has("X-Noop:", "seen")
                },
                shown: "X-Noop: seen",
            });
            programs.push(program);
        }
        if let Some(dkim) = &dkim {
            for (name, address) in [
                ("opendkim", Address::Unix(folder.join("opendkim.sock"))),
                (
                    "opendkim, TCP",
                    Address::Tcp(kenin_tests::world::free_address()),
                ),
            ] {
                let socket = match &address {
                    Address::Unix(path) => format!("local:{}", path.display()),
                    Address::Tcp(tcp) => format!("inet:{}@127.0.0.1", tcp.port()),
                };
                let mut program = Program::from(dkim.serve(&socket));
                program.wait_until(|| address.answers())?;
                contestants.push(Contestant {
                    name,
                    address,
                    tree: program.tree(),
                    expect: |said| said.has("Authentication-Results:", "dkim=pass"),
                    shown: "dkim=pass",
                });
                programs.push(program);
            }
            if let Some((program, address)) = rspamd(&folder, dkim)? {
                contestants.push(Contestant {
                    name: "rspamd",
                    address,
                    tree: program.tree(),
                    expect: |said| said.has("X-Spam:", "Yes"),
                    shown: "X-Spam: Yes",
                });
                programs.push(program);
            }
        }
        let bad = Arc::new(Parts::of(&mails::tampered(&mail))?);
        for contestant in &contestants {
            contestant.check(&parts, &bad)?;
        }
        Ok(Self {
            contestants,
            mail,
            parts,
            _kenin: kenin,
            _programs: programs,
            _folder: folder,
            _dkim: dkim,
        })
    }
}

/// rspamd with its DKIM module and nothing else: no Lua rule runs. Its verdict shows as the header
/// field of the action "add header", which only a signature that holds brings about here.
fn rspamd(folder: &Folder, dkim: &OpenDkim) -> Result<Option<(Program, Address)>, Trouble> {
    if !Path::new(RSPAMD).exists() {
        println!("{RSPAMD} is not installed: rspamd is left out");
        return Ok(None);
    }
    let home = folder.join("rspamd");
    std::fs::create_dir(&home)?;
    let (name, record) = dkim.record();
    let nowhere = kenin_tests::world::free_address().port();
    let text = RSPAMD_CONF
        .replace("{home}", &home.display().to_string())
        .replace("{name}", &name)
        .replace("{record}", &record)
        .replace("{nowhere}", &nowhere.to_string());
    let file = home.join("rspamd.conf");
    std::fs::write(&file, text)?;
    std::fs::write(home.join("domains"), "com\njp\nexample\n")?;
    let mut command = Command::new(RSPAMD);
    command.args(["-i", "-f", "-c"]).arg(&file);
    let address = Address::Unix(home.join("milter.sock"));
    let program = ready(command, &home.join("out.log"), &address)?;
    Ok(Some((program, address)))
}

fn ready(command: Command, log: &Path, address: &Address) -> Result<Program, Trouble> {
    let mut program = Program::start(command, log);
    program.wait_until(|| address.answers())?;
    Ok(program)
}

/// Name, how `noop-milter` is told what to do, and whether it is asked by TCP.
const NOTHING: [(&str, &str, bool); 3] = [
    ("no-op", "plain", false),
    ("no-op, TCP", "plain", true),
    ("no-op, new body", "replace", false),
];
/// Debian's package `rspamd`.
const RSPAMD: &str = "/usr/bin/rspamd";
const RSPAMD_CONF: &str = include_str!("rspamd.conf");
