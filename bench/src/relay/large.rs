//! Large mail, many at once: how much memory Kenin takes that no file backs.

use serde_json::{Value, json};

use crate::direct::bar;
use crate::kenin::Kenin;
use crate::load::{Trouble, closed};
use crate::mails;
use crate::process::mebibytes;
use crate::smtp::{self, Sink, opener};

/// What is sent, and the bar.
struct Load {
    what: &'static str,
    size: usize,
    sessions: usize,
    mails: usize,
    limit: f64,
}

/// The second stays below the default `message_size` of 50 MiB.
const LOADS: [Load; 2] = [
    Load {
        what: "10 MB mail, 8 in flight, memory",
        size: 10_000_000,
        sessions: 8,
        mails: 40,
        limit: 60.0,
    },
    Load {
        what: "50 concurrent 50 MB mails, memory",
        size: 50_000_000,
        sessions: 50,
        mails: 50,
        limit: 200.0,
    },
];

/// A fresh Kenin for each load; its memory is looked at every 10 ms.
pub(super) fn measure() -> Result<Value, Trouble> {
    let mut rows = Vec::new();
    for load in LOADS {
        let wire = smtp::wire(&mails::signed(load.size));
        let sink = Sink::start("smime=pass")?;
        let kenin = Kenin::relay(sink.address, "")?;
        let rest = kenin.tree().memory();
        let before = kenin.tree().cpu();
        let watch = kenin.tree().watch();
        let run = closed(&*opener(kenin.address(), &wire), load.sessions, load.mails);
        let peak = watch.peak();
        let run = run?;
        sink.wait(load.mails)?;
        let used = kenin.tree().cpu().saturating_sub(before).as_secs_f64();
        let cpu = used / load.mails as f64;
        println!(
            "{}: at rest {}, peak {} (resident with mapped files {}), {:.1} ms CPU a mail, p50 {:.1} s",
            load.what,
            mebibytes(rest.anonymous),
            mebibytes(peak.anonymous),
            mebibytes(peak.resident),
            cpu * 1e3,
            run.quantile(0.5)
        );
        let anonymous = peak.anonymous as f64 / 1e6;
        rows.push(json!({
            "bytes": wire.len(), "sessions": load.sessions, "mails": load.mails,
            "at_rest": rest.json(), "peak": peak.json(), "cpu_seconds": cpu,
            "bar": bar(load.what, anonymous, "MB", load.limit, true),
        }));
    }
    Ok(Value::Array(rows))
}
