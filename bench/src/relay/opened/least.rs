//! What a mail has at least that is opened and encrypted again in a process of its own: bare parts that no gateway of this kind
//! is without, by the libraries that Kenin has, measured in the same run.
//!
//! They are less than such a mail needs: nothing that came out is parsed, no path is found, nobody is asked about a status, and
//! nothing is stamped. What verified the same certificates before was another process, of whose mail this one is to know nothing.

use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use kenin_pki::crypto::{
    Aes, ContentCipher, ContentKind, DecryptionKey, KeyType, Opener, Protector, SigningKey,
    SoftKey, Wrapped, Wrapping,
};
use kenin_sys::{Fork, Otherwise, Template, end_at_once};
use serde_json::{Value, json};

use super::ROUNDS;
use crate::engine::SLICE;
use crate::load::Trouble;
use crate::measure::{Samples, per_call};
use crate::process::Tree;

/// The parts, beside what the same mail takes in clear by threads, in CPU seconds; and their sum.
pub(super) fn measure(entity: &[u8], in_clear: f64, bar: f64) -> Result<Value, Trouble> {
    let names = [
        "a process: of 1,000 pages in use it writes to 67",
        "the private operation, RSA-2048",
        "its key and content, decrypted and encrypted",
        "the path of its signer: two certificates, verified",
        "4 KiB, on the disk",
        "four answers of another process",
    ];
    let mut samples = names.map(|_| Samples::new());
    let key = SoftKey::generate(KeyType::Rsa(2048))?;
    let mut disk = tempfile::tempfile()?;
    let (mut here, mut there) = UnixStream::pair()?;
    let other = thread::spawn(move || {
        let mut octet = [0];
        while there.read_exact(&mut octet).is_ok() && there.write_all(&octet).is_ok() {}
    });
    // Nobody's time counts before the answer is right.
    content(entity, &key)?;
    let algorithm = key.default_algorithm();
    let signature = key.sign(algorithm, CERTIFICATE)?;
    let good = key.public_key().verify(algorithm, CERTIFICATE, &signature);
    good.map_err(|_| "a signature does not verify")?;
    for _ in 0..ROUNDS {
        let found = [
            process()?,
            per_call(SLICE, || drop(black_box(key.rsa_raw(&[1; 256])))),
            per_call(SLICE, || drop(black_box(content(entity, &key)))),
            per_call(SLICE, || {
                for _ in 0..2 {
                    let good = key.public_key().verify(algorithm, CERTIFICATE, &signature);
                    let _ = black_box(good);
                }
            }),
            per_call(SLICE, || {
                let _ = disk.write_all(&[1; 4 << 10]);
                let _ = disk.sync_data();
            }),
            per_call(SLICE, || {
                // What the key process grants, what came before, what the key makes of it, what was decided.
                for _ in 0..4 {
                    let _ = here.write_all(b".");
                    let _ = here.read_exact(&mut [0]);
                }
            }),
        ];
        for (samples, one) in samples.iter_mut().zip(found) {
            samples.push(one);
        }
    }
    drop(here);
    other.join().map_err(|_| "the thread that answers")?;
    println!(
        "\nbare parts of a mail that is opened in a process of its own and encrypted again, CPU ms"
    );
    let mut rows = Vec::new();
    let mut sum = in_clear;
    for (name, samples) in names.iter().zip(&samples) {
        println!("{name:<52}{:>16}", samples.cell(1e3));
        sum += samples.median();
        rows.push(json!({ "part": name, "cpu": samples.json() }));
    }
    println!(
        "{:<52}{:>10.3}",
        "the same mail in clear, by threads (above)",
        in_clear * 1e3
    );
    println!("{:<52}{:>10.3} of {bar}", "all of them", sum * 1e3);
    Ok(json!({ "parts": rows, "in_clear_by_threads": in_clear, "sum": sum }))
}

/// CPU seconds of a copy, as a template makes them (`kenin_sys::Template`), that does nothing.
fn process() -> Result<f64, Trouble> {
    let myself = std::env::current_exe()?;
    let before = Tree(std::process::id()).cpu();
    let mut command = Command::new(myself);
    let status = command.args(["copies", &COPIES.to_string()]).status()?;
    if !status.success() {
        return Err("no copies can be made".into());
    }
    let used = Tree(std::process::id()).cpu().saturating_sub(before);
    Ok(used.as_secs_f64() / f64::from(COPIES))
}

/// Makes so many, one after the other, in a process of its own.
pub(crate) fn copies(count: &str) -> Result<(), Box<dyn Error>> {
    let count: u32 = count.parse()?;
    let (mut mine, mut theirs) = UnixStream::pair()?;
    let mut memory = vec![1_u8; 1000 * PAGE];
    let template = Template::confine(Otherwise::Refuse)?;
    for _ in 0..count {
        match template.fork()? {
            Fork::Copy => {
                for octet in memory.iter_mut().step_by(PAGE).take(67) {
                    *octet = 2;
                }
                let said = theirs.write_all(b".");
                end_at_once(i32::from(said.is_err()));
            }
            Fork::Template(copied) => {
                mine.read_exact(&mut [0])?;
                drop(copied);
            }
        }
    }
    Ok(())
}

/// What the ciphers and the public key have to do.
fn content(entity: &[u8], key: &SoftKey) -> Result<(), Trouble> {
    let (cipher, secret) = ContentCipher::fresh(ContentKind::AesCbc(Aes::Bits256))?;
    let wrapped = Wrapped::wrap(Wrapping::RsaPkcs1, key.public_key(), &secret)?;
    let mut encrypted = Vec::with_capacity(entity.len() + 64);
    let mut protector = Protector::new(&cipher, &secret, &[])?;
    protector.update(entity, &mut encrypted);
    let tag = protector.finish(&mut encrypted)?;
    let mut text = String::with_capacity(2 * entity.len());
    base64_simd::STANDARD.encode_append(&encrypted, &mut text);
    let mut opened = Vec::with_capacity(entity.len() + 64);
    let mut opener = Opener::new(&cipher, &secret, &[])?;
    opener.update(&encrypted, &mut opened);
    opener.finish(tag.as_deref(), &mut opened)?;
    if opened != entity {
        return Err("the bare cipher gives something else back".into());
    }
    drop(black_box((wrapped, text)));
    Ok(())
}

/// As long as what is signed of a certificate.
const CERTIFICATE: &[u8] = &[5; 800];
/// Processes of a round.
const COPIES: u32 = 2000;
/// Octets of a page.
const PAGE: usize = 4 << 10;
