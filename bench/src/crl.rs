//! `crl`: a revocation list from a file to the first answer, beside libcrypto on the same list: parse, check the
//! signature, index, look up. Then a list of the size of all JPKI partitions together, which the peer is spared, and
//! what a reader notices while a new list takes the place of an old one.
//!
//! Every contestant runs in a process of its own, so that its memory is its own.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use kenin_certstore::RevocationIndex;
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm, SigningKey, SoftKey};
use kenin_pki::der::write;
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_pki::time::UnixTime;
use serde_json::{Value, json};

use crate::measure::{Samples, cpu_time, human};

/// Interleaved rounds for the shorter list.
const ROUNDS: usize = 5;
/// Look-ups that are timed one by one; every other serial is in the list.
const LOOK_UPS: u32 = 200_000;

/// A size of list.
struct Size {
    label: &'static str,
    entries: u32,
    /// Octets of a serial number.
    serial: usize,
}

const MILLION: Size = Size {
    label: "10^6 entries, 16-octet serials",
    entries: 1_000_000,
    serial: 16,
};
const NATION: Size = Size {
    label: "25·10^6 entries, 4-octet serials",
    entries: 25_000_000,
    serial: 4,
};

/// Runs the measurement, prints the table and returns what `results/` keeps.
pub(crate) fn crl() -> Result<Value, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let issuer = Issuer::new()?;
    fs::write(dir.path().join("issuer.der"), issuer.certificate.der())?;
    let mut rows = Vec::new();

    let file = dir.path().join("million.crl");
    issuer.write(&MILLION, 0, &file)?;
    println!(
        "{} ({} MB), median of {ROUNDS} interleaved rounds, ± half the spread\n",
        MILLION.label,
        megabytes(&file)?
    );
    let mut peers = [Figures::new("libcrypto"), Figures::new("Kenin")];
    for _ in 0..ROUNDS {
        for peer in &mut peers {
            peer.run(dir.path(), &file, &MILLION)?;
        }
    }
    println!("{}", Figures::heading());
    for peer in &peers {
        println!("{}", peer.line());
        rows.push(peer.json(&MILLION));
    }
    println!("\nbars: check and index ≤ 1 s, ≤ 64 MiB, look-up ≤ 1 µs\n");
    fs::remove_file(&file)?;

    let file = dir.path().join("nation.crl");
    issuer.write(&NATION, 0, &file)?;
    println!("{} ({} MB), one round\n", NATION.label, megabytes(&file)?);
    let mut own = Figures::new("Kenin");
    own.run(dir.path(), &file, &NATION)?;
    println!("{}\n{}", Figures::heading(), own.line());
    rows.push(own.json(&NATION));
    println!("\nbars: ≤ 30 s, ≤ 200 MiB resident, look-up p99 ≤ 10 µs\n");

    let next = dir.path().join("next.crl");
    issuer.write(&NATION, 1, &next)?;
    let swap = child(&["crl-swap", path(&file)?, path(&next)?, path(dir.path())?])?;
    println!(
        "a new list takes the place of the old one while another thread looks up: longest gap between two \
         look-ups {} at the swap, {} in a second without one (bar 10 ms)",
        human(number(&swap, "gap_at_swap")),
        human(number(&swap, "gap_before")),
    );
    Ok(json!({ "bench": "crl", "rows": rows, "swap": swap }))
}

/// What one contestant needed.
struct Figures {
    name: &'static str,
    wall: Samples,
    cpu: Samples,
    anonymous: Samples,
    resident: Samples,
    median: Samples,
    p99: Samples,
}

impl Figures {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            wall: Samples::new(),
            cpu: Samples::new(),
            anonymous: Samples::new(),
            resident: Samples::new(),
            median: Samples::new(),
            p99: Samples::new(),
        }
    }

    fn run(&mut self, dir: &Path, file: &Path, size: &Size) -> Result<(), Box<dyn Error>> {
        let entries = size.entries.to_string();
        let serial = size.serial.to_string();
        let arguments = [
            "crl-read",
            self.name,
            path(file)?,
            path(dir)?,
            &entries,
            &serial,
        ];
        let said = child(&arguments)?;
        self.wall.push(number(&said, "seconds"));
        self.cpu.push(number(&said, "cpu_seconds"));
        self.anonymous.push(number(&said, "anonymous_mib"));
        self.resident.push(number(&said, "peak_mib"));
        self.median.push(number(&said, "lookup_p50"));
        self.p99.push(number(&said, "lookup_p99"));
        Ok(())
    }

    fn heading() -> String {
        format!(
            "{:<12}{:>18}{:>18}{:>16}{:>16}{:>16}{:>16}",
            "", "check, index", "CPU", "anonymous MiB", "peak MiB", "look-up p50", "p99"
        )
    }

    fn line(&self) -> String {
        format!(
            "{:<12}{:>18}{:>18}{:>16.0}{:>16.0}{:>16}{:>16}",
            self.name,
            self.wall.cell(1.0) + " s",
            self.cpu.cell(1.0) + " s",
            self.anonymous.median(),
            self.resident.median(),
            human(self.median.median()),
            human(self.p99.median()),
        )
    }

    fn json(&self, size: &Size) -> Value {
        json!({
            "list": size.label, "who": self.name,
            "seconds": self.wall.json_in("seconds"), "cpu": self.cpu.json(),
            "anonymous_mib": self.anonymous.median(), "peak_mib": self.resident.median(),
            "lookup_p50": self.median.median(), "lookup_p99": self.p99.median(),
        })
    }
}

/// Whether a serial number is in the list.
type Find = Box<dyn Fn(&[u8]) -> bool>;

/// `crl-read WHO FILE DIR ENTRIES OCTETS`: reads a list, looks up, and says what it took.
pub(crate) fn read(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let [who, file, dir, entries, octets] = arguments else {
        return Err("crl-read WHO FILE DIR ENTRIES OCTETS".into());
    };
    let (file, dir) = (Path::new(file), Path::new(dir));
    let (entries, octets): (u32, usize) = (entries.parse()?, octets.parse()?);
    let issuer = fs::read(dir.join("issuer.der"))?;
    let (start, cpu) = (Instant::now(), cpu_time());
    let find: Find = match *who {
        "Kenin" => {
            let issuer = Certificate::from_der(&issuer)?;
            let index = RevocationIndex::open(&dir.join(format!("lists-{}", std::process::id())))?;
            let list = index.of_file(file)?;
            list.verify_signature(issuer.public_key())
                .map_err(|error| format!("{error}"))?;
            Box::new(move |serial| list.find(serial).is_some())
        }
        _ => {
            let issuer = openssl::x509::X509::from_der(&issuer)?;
            let list = openssl::x509::X509Crl::from_der(&fs::read(file)?)?;
            if !list.verify(issuer.public_key()?.as_ref())? {
                return Err("the signature is wrong".into());
            }
            Box::new(move |serial| {
                let number = openssl::bn::BigNum::from_slice(serial)
                    .and_then(|number| number.to_asn1_integer());
                number.is_ok_and(|number| {
                    use openssl::x509::CrlStatus::Revoked;
                    matches!(list.get_by_serial(&number), Revoked(_))
                })
            })
        }
    };
    // The first look-up may have to sort.
    if !find(&serial(1, 0, octets)) {
        return Err("an entry of the list is not found".into());
    }
    let (seconds, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    let (peak, anonymous) = (status_mib("VmHWM:")?, status_mib("RssAnon:")?);
    let mut times = Vec::with_capacity(usize::try_from(LOOK_UPS)?);
    let mut wrong = 0;
    for number in 0..LOOK_UPS {
        // Half of them in the list, in no order.
        let place = number.wrapping_mul(2_654_435_761) % entries;
        let is_in = number % 2 == 0;
        let wanted = serial(place, if is_in { 0 } else { 9 }, octets);
        let begin = Instant::now();
        let found = find(&wanted);
        times.push(begin.elapsed());
        wrong += u32::from(found != is_in);
    }
    if wrong > 0 {
        return Err(format!("{wrong} look-ups were answered wrongly").into());
    }
    times.sort_unstable();
    let at = |share: usize| {
        let place = times.len() * share / 1000;
        times.get(place).map_or(f64::NAN, Duration::as_secs_f64)
    };
    println!(
        "{}",
        json!({
            "seconds": seconds.as_secs_f64(), "cpu_seconds": cpu.as_secs_f64(),
            "peak_mib": peak, "anonymous_mib": anonymous,
            "lookup_p50": at(500), "lookup_p99": at(990), "lookup_p999": at(999),
        })
    );
    Ok(())
}

/// `crl-swap OLD NEW DIR`: one thread looks up without end, another reads a new list and puts it in the place of
/// the old one.
pub(crate) fn swap(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let [old, new, dir] = arguments else {
        return Err("crl-swap OLD NEW DIR".into());
    };
    let index = RevocationIndex::open(&Path::new(dir).join("swap"))?;
    let list = Arc::new(RwLock::new(Arc::new(index.of_file(Path::new(old))?)));
    let (stop, watching) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(true)),
    );
    let reader = std::thread::spawn({
        let (list, stop, watching) = (Arc::clone(&list), Arc::clone(&stop), Arc::clone(&watching));
        move || {
            let (mut before, mut at_swap) = (Duration::ZERO, Duration::ZERO);
            let mut last = Instant::now();
            let mut number = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                number = number.wrapping_add(2_654_435_761);
                let now: Option<Arc<Crl>> = list.read().ok().map(|list| Arc::clone(&list));
                let found =
                    now.map(|list| list.find(&serial(number % NATION.entries, 0, NATION.serial)));
                std::hint::black_box(found);
                let gap = last.elapsed();
                last = Instant::now();
                let longest = match watching.load(Ordering::Relaxed) {
                    true => &mut before,
                    false => &mut at_swap,
                };
                *longest = gap.max(*longest);
            }
            (before, at_swap)
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    let fresh = Arc::new(index.of_file(Path::new(new))?);
    let seconds = start.elapsed();
    // Only the exchange itself: that two threads share two cores while one of them sorts is the machine's business.
    watching.store(false, Ordering::Relaxed);
    let old = match list.write() {
        Ok(mut list) => std::mem::replace(&mut *list, fresh),
        Err(_) => return Err("the reader panicked".into()),
    };
    drop(old);
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let (before, at_swap) = reader.join().map_err(|_| "the reader panicked")?;
    println!(
        "{}",
        json!({
            "gap_before": before.as_secs_f64(), "gap_at_swap": at_swap.as_secs_f64(),
            "seconds": seconds.as_secs_f64(),
        })
    );
    Ok(())
}

/// Who signs the lists.
struct Issuer {
    key: SoftKey,
    certificate: Certificate,
}

impl Issuer {
    fn new() -> Result<Self, Box<dyn Error>> {
        let key = SoftKey::generate(KeyType::Rsa(2048))?;
        let certificate = CertificateBuilder::new(common_name("Lists")?, key.public_key())
            .authority(None)
            .self_signed(&key)?;
        Ok(Self { key, certificate })
    }

    /// Writes a list; `turn` tells lists of equal size apart.
    fn write(&self, size: &Size, turn: i64, file: &Path) -> Result<(), Box<dyn Error>> {
        let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
        // superseded, as most are.
        let reason = write::seq(&[write::seq(&[
            write::oid(kenin_pki::oid::CRL_REASON),
            write::octet_string(&[0x0a, 1, 4]),
        ])]);
        let mut entries = Vec::new();
        for place in 0..size.entries {
            let day = i64::from(place % 900) * 86_400;
            entries.extend(write::seq(&[
                write::element(0x02, &serial(place, 0, size.serial)),
                write::time(UnixTime(1_700_000_000 + day)),
                reason.clone(),
            ]));
        }
        let now = UnixTime(1_790_000_000 + turn * 86_400);
        let tbs = write::seq(&[
            write::integer(1),
            algorithm.to_identifier().to_der(),
            self.certificate.subject().der().to_vec(),
            write::time(now),
            write::time(now.plus(7 * 86_400)),
            write::element(0x30, &entries),
        ]);
        drop(entries);
        let signature = self.key.sign(algorithm, &tbs)?;
        let tail = [
            algorithm.to_identifier().to_der(),
            write::bit_string(&signature),
        ]
        .concat();
        let mut out = fs::File::create(file)?;
        // The header of the whole, without a copy of the whole.
        let length = tbs.len() + tail.len();
        out.write_all(&[&[0x30, 0x84][..], &u32::try_from(length)?.to_be_bytes()].concat())?;
        out.write_all(&tbs)?;
        out.write_all(&tail)?;
        Ok(())
    }
}

/// A serial number of this many octets: each place has its own, in no order, and `kind` tells those that are in
/// no list.
fn serial(place: u32, kind: u8, octets: usize) -> Vec<u8> {
    // Odd multipliers go through all numbers; the highest bit stays clear, so that it is positive.
    let mixed = place.wrapping_mul(0x9e37_79b1) & 0x3fff_ffff;
    let high = place >> 30;
    let word = mixed | high << 30;
    let mut serial = (word & 0x7fff_ffff).to_be_bytes().to_vec();
    if kind != 0 {
        // Entries end at 25·10^6 of 2^30 places: this one is taken by none of them.
        let free = (0x3000_0000_u32 + place).wrapping_mul(0x9e37_79b1) & 0x3fff_ffff;
        serial = free.to_be_bytes().to_vec();
    }
    if let Some(first) = serial.first_mut() {
        *first |= 0x40;
    }
    let mut rest = u64::from(place).wrapping_mul(0x2545_f491_4f6c_dd1d);
    while serial.len() < octets {
        rest = rest.rotate_left(13).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let [octet, ..] = rest.to_be_bytes();
        serial.push(octet);
    }
    serial
}

fn child(arguments: &[&str]) -> Result<Value, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let mut said = String::new();
        write!(said, "{}", String::from_utf8_lossy(&output.stderr))?;
        return Err(said.into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// A line of the process's status, in MiB.
fn status_mib(name: &str) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no such line")?.parse::<f64>()? / 1024.0)
}

fn path(path: &Path) -> Result<&str, Box<dyn Error>> {
    path.to_str().ok_or_else(|| "a path is no text".into())
}

fn megabytes(file: &PathBuf) -> Result<u64, Box<dyn Error>> {
    Ok(fs::metadata(file)?.len() / 1_000_000)
}
