//! `milter`: Kenin, opendkim, rspamd and filters that do nothing look at the same mail, alone and behind
//! the same Postfix.

pub(crate) mod client;
pub(crate) mod noop;
mod packet;
mod peers;
pub(crate) mod signing;

use kenin_tests::postfix::Postfix;
use serde_json::{Value, json};

use crate::load::Trouble;
use crate::smtp::{self, Sink};
use crate::{behind, direct, kenin};
use peers::Field;

/// Runs the measurement, prints the tables and returns what `results/` keeps.
pub(crate) fn milter() -> Result<Value, Trouble> {
    kenin::introduce();
    let field = Field::start(10_000)?;
    println!(
        "one mail of {} bytes, clear-signed by S/MIME (RSA-2048, an intermediate, two revocation lists), \
         with a DKIM signature above it where opendkim is installed\n\
         every answer is checked: smime=pass, dkim=pass, rspamd's action that only DKIM's pass brings; \
         a changed mail gets another answer\n\
         no-op: adds a header field; no-op, new body: sends the body back as well",
        field.mail.len()
    );
    let mut lanes: Vec<direct::Lane> = field
        .contestants
        .iter()
        .map(|one| direct::Lane::new(one.name, one.tree, one.open(&field.parts)))
        .collect();
    let alone = direct::measure(&mut lanes)?;

    let wire = smtp::wire(&field.mail);
    let mut posts = Vec::new();
    let sink = Sink::start("")?;
    let bare = Postfix::start(sink.address, behind::NO_PAUSES);
    posts.push(behind::Lane::new("no milter", bare, sink, None));
    for one in &field.contestants {
        let sink = Sink::start(one.shown)?;
        let main = format!(
            "smtpd_milters = {}\nmilter_protocol = 6\nmilter_default_action = tempfail\n{}",
            one.address.postfix(),
            behind::NO_PAUSES
        );
        let postfix = Postfix::start(sink.address, &main);
        posts.push(behind::Lane::new(one.name, postfix, sink, Some(one.tree)));
    }
    let behind = behind::measure(&mut posts, FLOOR, &wire)?;

    println!();
    let cpu = |name: &str| {
        let found = lanes.iter().find(|lane| lane.name == name);
        found.map_or(f64::NAN, |lane| lane.cpu.median() * 1e3)
    };
    let one_session = |name: &str| {
        let found = posts.iter().find(|lane| lane.name == name);
        found.map_or(f64::NAN, |lane| lane.alone.p50.median() * 1e3)
    };
    println!(
        "one session by TCP, p50: {:.3} ms more than without a milter, {:.3} ms more than the no-op by TCP",
        one_session("Kenin, TCP") - one_session("no milter"),
        one_session("Kenin, TCP") - one_session("no-op, TCP"),
    );
    let share = |name: &str, floor: &str| behind::share(&posts, name, floor) * 100.0;
    let bars = [
        direct::bar(
            "milter verify, CPU a message",
            cpu("Kenin"),
            "ms",
            0.35,
            true,
        ),
        direct::bar(
            "TCP milter beside Postfix, one session, p50",
            one_session("Kenin, TCP"),
            "ms",
            3.0,
            true,
        ),
        direct::bar(
            "behind Postfix, share of the no-op",
            share("Kenin", FLOOR),
            "%",
            90.0,
            false,
        ),
        direct::bar(
            "the same by TCP, of the no-op by TCP",
            share("Kenin, TCP", "no-op, TCP"),
            "%",
            90.0,
            false,
        ),
    ];
    Ok(json!({
        "bench": "milter", "bytes": field.mail.len(), "alone": alone, "behind_postfix": behind,
        "bars": bars,
    }))
}

/// The harder of the two filters that do nothing: it costs Postfix the least.
const FLOOR: &str = "no-op";
