//! Measurements beside the peers, in one run: a table to read and `results/NAME.json` to keep.
//!
//! ```sh
//! cargo run --release -p kenin-bench -- engine
//! cargo run --release -p kenin-bench -- soak 2000          # mails
//! cargo run --release -p kenin-bench -- soak 50000 1000 7  # mails, kills, seed
//! ```
//!
//! Machines differ and are noisy: a figure is a ratio taken side by side in one run, or CPU time.

mod engine;
mod measure;
mod peer;
mod soak;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["engine"] => engine::engine().and_then(|value| keep("engine", &value)),
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
    eprintln!("usage: kenin-bench engine | soak [MAILS [KILLS [SEED]]]");
    ExitCode::from(2)
}

fn keep(name: &str, value: &serde_json::Value) -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(value)? + "\n")?;
    println!("kept in {}", file.display());
    Ok(())
}
