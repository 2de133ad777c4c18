//! `relay`: Kenin as an SMTP filter beside one that does nothing, alone and on both sides of a real
//! Postfix's queue; then large mail, many at once.

mod large;
pub(crate) mod noop;
pub(crate) mod opened;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use kenin_tests::parts;
use kenin_tests::postfix::Postfix;
use kenin_tests::world::{Folder, free_address, listens, run, wait_for};
use serde_json::{Value, json};

use crate::kenin::{Kenin, introduce};
use crate::load::Trouble;
use crate::process::{Program, Tree};
use crate::smtp::{self, Sink, opener};
use crate::{behind, direct, mails};

/// A filter in front of a next hop.
enum Filter {
    Kenin(Kenin),
    Noop {
        program: Program,
        address: SocketAddr,
        _folder: Folder,
    },
}

impl Filter {
    fn start(name: &str, next_hop: SocketAddr) -> Result<Self, Trouble> {
        if name == KENIN {
            return Ok(Self::Kenin(Kenin::relay(next_hop, "")?));
        }
        let (address, folder) = (free_address(), Folder::new());
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["noop-relay", &address.to_string(), &next_hop.to_string()]);
        let mut program = Program::start(command, &folder.join("noop.log"));
        program.wait_until(|| listens(address))?;
        Ok(Self::Noop {
            program,
            address,
            _folder: folder,
        })
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Kenin(kenin) => kenin.address(),
            Self::Noop { address, .. } => *address,
        }
    }

    fn tree(&self) -> Tree {
        match self {
            Self::Kenin(kenin) => kenin.tree(),
            Self::Noop { program, .. } => program.tree(),
        }
    }
}

/// Runs the measurement, prints the tables and returns what `results/` keeps.
pub(crate) fn relay() -> Result<Value, Trouble> {
    introduce();
    let mail = mails::signed(10_000);
    let wire = smtp::wire(&mail);
    println!(
        "one mail of {} bytes, clear-signed by S/MIME (RSA-2048, an intermediate, two revocation lists)\n\
         every mail is counted where it arrives; Kenin's must be stamped smime=pass there\n\
         no-op: takes a mail whole and passes it on",
        mail.len()
    );
    refuses_to_praise(&mail)?;
    let mut lanes = Vec::new();
    let mut filters = Vec::new();
    for (name, mark) in FIELD {
        let sink = Sink::start(mark)?;
        let filter = Filter::start(name, sink.address)?;
        let open = opener(filter.address(), &wire);
        // Each mail is answered when the sink has it: nothing is left to wait for but the count.
        let lane = direct::Lane::new(name, filter.tree(), open);
        lanes.push(lane.settled_by(move || sink.wait(0)));
        filters.push(filter);
    }
    let alone = direct::measure(&mut lanes)?;
    drop(filters);

    let before = behind_postfix("before-queue", &wire)?;
    let after = behind_postfix("after-queue", &wire)?;
    println!();
    let large = large::measure()?;
    let share = |of: &Behind| behind::share(&of.lanes, KENIN, NOOP) * 100.0;
    let what = "behind Postfix, share of the no-op relay";
    let bars = [
        direct::bar(
            &format!("{what}, before-queue"),
            share(&before),
            "%",
            90.0,
            false,
        ),
        direct::bar(
            &format!("{what}, after-queue"),
            share(&after),
            "%",
            90.0,
            false,
        ),
    ];
    let cpu = |name: &str| {
        let found = lanes.iter().find(|lane| lane.name == name);
        found.map_or(f64::NAN, |lane| lane.cpu.median() * 1e3)
    };
    println!(
        "(no bar for verification alone: {:.3} ms a mail, the no-op {:.3})",
        cpu(KENIN),
        cpu(NOOP)
    );
    Ok(json!({
        "bench": "relay", "bytes": mail.len(), "alone": alone, "before_queue": before.json,
        "after_queue": after.json, "large": large, "bars": bars,
    }))
}

/// Nobody's time counts before a changed mail is told from a good one.
fn refuses_to_praise(mail: &[u8]) -> Result<(), Trouble> {
    let sink = Sink::start("smime=pass")?;
    let kenin = Kenin::relay(sink.address, "")?;
    let wire = smtp::wire(&mails::tampered(mail));
    opener(kenin.address(), &wire)()?.mail()?;
    if sink.count() != 1 || sink.wait(1).is_ok() {
        return Err("a changed mail does not arrive, or arrives with smime=pass".into());
    }
    Ok(())
}

struct Behind {
    lanes: Vec<behind::Lane>,
    json: Value,
}

/// Both filters on the same side of a queue, set up by the lines of `kenin init postfix`.
fn behind_postfix(mode: &str, wire: &Arc<[u8]>) -> Result<Behind, Trouble> {
    println!("\n{mode}:");
    let (mut lanes, mut filters) = (Vec::new(), Vec::new());
    for (name, mark) in FIELD {
        let sink = Sink::start(mark)?;
        let postfix = Postfix::start(sink.address, behind::NO_PAUSES);
        let again = free_address();
        let filter = Filter::start(name, again)?;
        postfix.execute(&lines(mode, filter.address(), again));
        wait_for("Postfix's second smtpd listens", || listens(again));
        lanes.push(behind::Lane::new(name, postfix, sink, Some(filter.tree())));
        filters.push(filter);
    }
    let json = behind::measure(&mut lanes, NOOP, wire)?;
    Ok(Behind { lanes, json })
}

fn lines(mode: &str, listen: SocketAddr, next_hop: SocketAddr) -> String {
    let folder = Folder::new();
    let mut command = Command::new(parts::kenin());
    command.args(["init", "postfix", "--force", "--mode", mode]);
    command.args(["--hostname", "gw.example.jp"]);
    command.arg("--dir").arg(folder.path());
    command.arg("--state-dir").arg(folder.join("state"));
    command.args(["--listen", &listen.to_string()]);
    command.args(["--next-hop", &next_hop.to_string()]);
    command.env_remove("KENIN_CONFIG");
    String::from_utf8_lossy(&run(&mut command)).into_owned()
}

const KENIN: &str = "Kenin";
const NOOP: &str = "no-op";
/// Who is measured, and how a good mail is known behind it.
const FIELD: [(&str, &str); 2] = [(KENIN, "smime=pass"), (NOOP, "")];
