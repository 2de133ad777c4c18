//! Measurements beside the peers, in one run: a table to read and `results/NAME.json` to keep.
//!
//! ```sh
//! cargo run --release -p kenin-bench -- engine
//! cargo run --release -p kenin-bench -- milter             # or "milter sign": mail that is signed, alone
//! cargo run --release -p kenin-bench -- relay              # or "relay opened": mail that is opened, alone
//! cargo run --release -p kenin-bench -- idle
//! cargo run --release -p kenin-bench -- crl
//! cargo run --release -p kenin-bench -- store             # or how many certificates
//! cargo run --release -p kenin-bench -- timing unwrap      # or how many calls
//! cargo run --release -p kenin-bench -- timing reply       # or how many mails of each class
//! cargo run --release -p kenin-bench -- soak 2000          # mails
//! cargo run --release -p kenin-bench -- soak 50000 1000 7  # mails, kills, seed
//! ```
//!
//! Machines differ and are noisy: a figure is a ratio taken side by side in one run, or CPU time.

mod behind;
mod crl;
mod direct;
mod engine;
mod idle;
mod kenin;
mod load;
mod mails;
mod measure;
mod milter;
mod peer;
mod process;
mod relay;
mod smtp;
mod soak;
mod store;
mod timing;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["engine"] => engine::engine().and_then(|value| keep("engine", &value)),
        ["milter"] => kept("milter", milter::milter())
            .and_then(|()| kept("milter-sign", milter::signing::measure())),
        ["milter", "sign"] => kept("milter-sign", milter::signing::measure()),
        // A part of `milter`, in a process of its own; so are those below of theirs.
        ["noop-milter", form, path] => milter::noop::serve(path, *form == "replace"),
        ["crl"] => crl::crl().and_then(|value| keep("crl", &value)),
        ["crl-read", rest @ ..] => crl::read(rest),
        ["crl-swap", rest @ ..] => crl::swap(rest),
        ["relay"] => kept("relay", relay::relay())
            .and_then(|()| kept("relay-opened", relay::opened::measure())),
        ["relay", "opened"] => kept("relay-opened", relay::opened::measure()),
        ["relay", "opened", "large"] => kept("relay-opened-large", relay::opened::measure_large()),
        ["copies", count] => relay::opened::least::copies(count),
        ["noop-relay", listen, next_hop] => relay::noop::serve(listen, next_hop),
        ["idle"] => kept("idle", idle::idle()),
        ["hold", kind, address, count] => idle::hold(kind, address, count),
        ["store", numbers @ ..] => store::store(numbers).and_then(|value| keep("store", &value)),
        ["timing", "unwrap", numbers @ ..] => kept("timing-unwrap", timing::unwrap(numbers)),
        ["timing", "reply", numbers @ ..] => kept("timing-reply", timing::reply(numbers)),
        ["soak", numbers @ ..] => match soak::Extent::parse(numbers) {
            Some(extent) => soak::soak(&extent).and_then(|value| keep("soak", &value)),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kenin-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: kenin-bench engine | milter [sign] | relay [opened [large]] | crl | idle | store [CERTIFICATES] | \
         timing unwrap [CALLS] | timing reply [MAILS] | soak [MAILS [KILLS [SEED]]]"
    );
    ExitCode::from(2)
}

fn kept(name: &str, value: Result<Value, load::Trouble>) -> Result<(), Box<dyn Error>> {
    keep(name, &value.map_err(|error| error as Box<dyn Error>)?)
}

fn keep(name: &str, value: &Value) -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(value)? + "\n")?;
    println!("kept in {}", file.display());
    Ok(())
}
