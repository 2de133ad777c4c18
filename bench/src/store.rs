//! `store`: a million certificates in a file and in a PostgreSQL of its own: how long somebody's is looked for, how
//! long the real program takes from its start to its first greeting, and how much memory it then has.

use std::error::Error;
use std::time::Instant;

use kenin_certstore::{DEFAULT_TENANT, Origin, Server, Store};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::postgres::Postgres;
use kenin_tests::sink::Sink;
use kenin_tests::world::Dice;
use serde_json::{Value, json};

use crate::measure::{Samples, human};

/// Certificates, unless told.
const MILLION: u32 = 1_000_000;
/// Interleaved rounds.
const ROUNDS: usize = 5;
/// Look-ups a round, each of somebody else.
const LOOK_UPS: usize = 2_000;
/// Certificates that are put at once.
const BATCH: u32 = 2_000;

/// Runs the measurement, prints the table and returns what `results/` keeps.
pub(crate) fn store(numbers: &[&str]) -> Result<Value, Box<dyn Error>> {
    let count = match numbers {
        [] => MILLION,
        [count] => count.parse()?,
        _ => return Err("store takes one number of certificates".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (sink, database) = (Sink::start(), Postgres::start());
    let url = format!("[store]\nurl = \"{}\"\n", database.url());
    let mut contestants = Vec::new();
    for (name, tables, bar) in [("SQLite", String::new(), 1e-3), ("PostgreSQL", url, 5e-3)] {
        let setup = Setup {
            tables,
            ..Setup::new(sink.address)
        };
        let gateway = Gateway::prepare(&setup);
        let file = gateway.folder.join("state/kenin.sqlite");
        let filled = Instant::now();
        let store = runtime.block_on(async {
            let store = match name {
                "SQLite" => Store::open(&file).await?,
                _ => Store::connect(&Server::new(&database.url())?).await?,
            };
            fill(&store, count).await?;
            Ok::<_, Box<dyn Error>>(store)
        })?;
        println!(
            "{name}: {count} certificates in {}",
            human(filled.elapsed().as_secs_f64())
        );
        contestants.push(Contestant {
            name,
            bar,
            gateway,
            store,
            times: Vec::new(),
            start: Samples::new(),
            resident: Samples::new(),
        });
    }
    for round in 0..ROUNDS {
        for one in &mut contestants {
            let times = runtime.block_on(look_ups(&one.store, count, round as u64))?;
            one.times.extend(times);
            let begun = Instant::now();
            one.gateway.restart();
            one.start.push(begun.elapsed().as_secs_f64());
            one.resident
                .push(one.gateway.resident_kib() as f64 / 1024.0);
            one.gateway.kill();
        }
    }
    println!(
        "\n{count} certificates, {ROUNDS} interleaved rounds of {LOOK_UPS} look-ups by address and one start\n\
         {:<12}{:>14}{:>14}{:>14}{:>22}{:>18}",
        "", "look-up p50", "p99", "bar for p99", "start to greeting s", "resident MiB"
    );
    let mut rows = Vec::new();
    for one in &mut contestants {
        rows.push(one.row());
    }
    Ok(json!({ "bench": "store", "certificates": count, "rows": rows }))
}

/// A kind of store, and the program over it.
struct Contestant {
    name: &'static str,
    /// For the 99th percentile of look-ups, in seconds.
    bar: f64,
    gateway: Gateway,
    store: Store,
    times: Vec<f64>,
    start: Samples,
    resident: Samples,
}

impl Contestant {
    fn row(&mut self) -> Value {
        self.times.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let place = self.times.len() * share / 100;
            self.times.get(place).copied().unwrap_or(f64::NAN)
        };
        let (p50, p99) = (at(50), at(99));
        println!(
            "{:<12}{:>14}{:>14}{:>14}{:>22}{:>18}",
            self.name,
            human(p50),
            human(p99),
            human(self.bar),
            self.start.cell(1.0),
            self.resident.cell(1.0),
        );
        json!({
            "store": self.name, "lookup_p50": p50, "lookup_p99": p99, "lookup_p99_bar": self.bar,
            "start": self.start.json_in("seconds"), "resident": self.resident.json_in("mebibytes"),
        })
    }
}

/// One authority, and people of one key: what is measured is the store.
async fn fill(store: &Store, count: u32) -> Result<(), Box<dyn Error>> {
    let key = SoftKey::generate(KeyType::P256)?;
    let authority = CertificateBuilder::new(common_name("Million")?, key.public_key())
        .authority(None)
        .self_signed(&key)?;
    store
        .put_certificate(DEFAULT_TENANT, &authority, Origin::Admin, false)
        .await?;
    let mut batch: Vec<Certificate> = Vec::new();
    for number in 0..count {
        let name = common_name(&format!("Person {number}"))?;
        let builder = CertificateBuilder::new(name, key.public_key())
            .serial(&number.to_be_bytes())
            .mail_signer(&[&address_of(number)]);
        batch.push(builder.issued_by(&authority, &key)?);
        if batch.len() >= BATCH as usize || number + 1 == count {
            store
                .put_certificates(DEFAULT_TENANT, &batch, Origin::Admin)
                .await?;
            batch.clear();
        }
    }
    Ok(())
}

/// Seconds that each took.
async fn look_ups(store: &Store, count: u32, seed: u64) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut dice = Dice::new(seed);
    let mut times = Vec::with_capacity(LOOK_UPS);
    for _ in 0..LOOK_UPS {
        let number = u32::try_from(dice.below(u64::from(count)))?;
        let address = Address::parse(&address_of(number))?;
        let begun = Instant::now();
        let found = store
            .certificates_by_address(DEFAULT_TENANT, &address)
            .await?;
        times.push(begun.elapsed().as_secs_f64());
        if found.len() != 1 {
            return Err(format!("{address}: {} certificates", found.len()).into());
        }
    }
    Ok(times)
}

fn address_of(number: u32) -> String {
    format!("person{number}@million.example")
}
