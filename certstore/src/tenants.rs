//! STO-03: whatever two tenants do in one store, in whatever order, neither can tell that the other is there. Both work
//! with the same certificates, addresses, lists and hashes, so that all collides that can; every answer must be the one
//! that the tenant gets in a store of its own.

use std::path::PathBuf;
use std::sync::Arc;

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::PublicKey;
use kenin_pki::time::UnixTime;
use sqlx::sqlite::SqliteConnectOptions;

use crate::database::Pool;
use crate::testpki::{Ca, ca};
use crate::testplace::{Place, on_both};
use crate::{Kept, Origin, RevocationIndex, Store, address_key, embedded, migrations};

/// Some database might take one for the other.
const TENANTS: [&str; 2] = ["one", "One"];
/// Changes are below it, questions from there on.
const FIRST_QUESTION: usize = 10;
const ACTIONS: usize = 22;

/// What both work with.
struct Things {
    authorities: [Ca; 2],
    certificates: Vec<Certificate>,
    addresses: Vec<Address>,
    /// Three of each authority.
    lists: Vec<Crl>,
    urls: Vec<String>,
    index: RevocationIndex,
}

/// One thing that a tenant does.
#[derive(Debug)]
struct Step {
    tenant: usize,
    action: usize,
    certificate: usize,
    address: usize,
    list: usize,
    flag: bool,
}

/// Numbers that look like any and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let n = u64::try_from(n).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % n).unwrap()
    }
}

impl Things {
    fn new() -> Self {
        let authorities = [ca("A"), ca("B")];
        let [first, _] = &authorities;
        let mut certificates: Vec<Certificate> = authorities
            .iter()
            .map(|authority| authority.certificate.clone())
            .collect();
        for (name, addresses, end) in [
            ("alice", &["alice@example.jp"][..], 1000),
            ("both", &["alice@example.jp", "bob@example.jp"], 2000),
            ("bob", &["Bob@example.jp"], 3000),
            ("card", &[], 4000),
        ] {
            certificates.push(first.leaf_for(name, addresses, end));
        }
        let lists = authorities
            .iter()
            .flat_map(|authority| {
                [(1, 1000), (2, 2000), (3, 3000)].map(|(n, time)| authority.crl(Some(n), time))
            })
            .collect();
        let names = ["alice", "bob", "carol"];
        Self {
            authorities,
            certificates,
            addresses: names
                .map(|name| Address::parse(&format!("{name}@example.jp")).unwrap())
                .to_vec(),
            lists,
            urls: names.map(|name| format!("http://{name}.example/")).to_vec(),
            index: RevocationIndex::passing(),
        }
    }

    fn step(&self, dice: &mut Dice) -> Step {
        Step {
            tenant: dice.below(TENANTS.len()),
            action: dice.below(ACTIONS),
            certificate: dice.below(self.certificates.len()),
            address: dice.below(self.addresses.len()),
            list: dice.below(self.lists.len()),
            flag: dice.below(2) == 1,
        }
    }

    /// A list, and the key that made it.
    fn list(&self, number: usize) -> (&Crl, &PublicKey) {
        let by = &self.authorities[number / 3].certificate;
        (&self.lists[number], by.public_key())
    }

    /// A short name for a certificate or a list.
    fn number(&self, sha256: &[u8; 32]) -> i64 {
        let certificates = self.certificates.iter().map(Certificate::sha256);
        let mut all = certificates.chain(self.lists.iter().map(Crl::sha256));
        let place = all.position(|one| one == sha256);
        i64::try_from(place.expect("one of ours")).unwrap()
    }

    fn numbers<'a>(&self, all: impl IntoIterator<Item = &'a [u8; 32]>) -> Vec<i64> {
        all.into_iter().map(|one| self.number(one)).collect()
    }

    fn address(&self, text: &str) -> i64 {
        let mut keys = self.addresses.iter().map(address_key);
        let place = keys.position(|key| key == text);
        i64::try_from(place.expect("one of ours")).unwrap()
    }

    fn kept(&self, all: Vec<Kept>) -> Vec<i64> {
        let mut told = Vec::new();
        for one in all {
            told.push(self.number(one.certificate.sha256()));
            told.push(match one.origin {
                Origin::Admin => -1,
                Origin::Harvest => -2,
                Origin::Directory => -3,
            });
            told.push(i64::from(one.quarantined));
            told.extend(one.registered.iter().map(|text| self.address(text)));
        }
        told
    }

    /// Does it, and tells what came of it.
    async fn act(&self, store: &Store, tenant: &str, step: &Step) -> Vec<i64> {
        let yes = |is: bool| vec![i64::from(is)];
        let certificate = &self.certificates[step.certificate];
        let (sha256, address) = (certificate.sha256(), &self.addresses[step.address]);
        let (list, by) = self.list(step.list);
        let (url, text) = (&self.urls[step.address], address.to_string());
        match step.action {
            0 => {
                let put = store.put_certificate(tenant, certificate, Origin::Admin, step.flag);
                yes(put.await.unwrap())
            }
            1 => {
                let kept = store.harvest(tenant, certificate, address, step.flag);
                yes(kept.await.unwrap())
            }
            2 => yes(store.promote(tenant, sha256).await.unwrap()),
            3 => yes(store.forget(tenant, sha256).await.unwrap()),
            4 => yes(store.register(tenant, sha256, address).await.unwrap()),
            5 => yes(store.unregister(tenant, sha256, address).await.unwrap()),
            6 => yes(store.put_crl(tenant, list, by).await.unwrap()),
            7 => {
                let at = UnixTime(i64::try_from(step.certificate).unwrap());
                store.put_fetched(tenant, url, list, at).await.unwrap();
                Vec::new()
            }
            8 => vec![store.count_aborted(tenant, sha256, 1000).await.unwrap()],
            9 => {
                let to = [text.as_str()];
                store
                    .put_delivered(tenant, sha256, &to, 1000)
                    .await
                    .unwrap();
                Vec::new()
            }
            10 => self.kept(
                store
                    .certificates_by_address(tenant, address)
                    .await
                    .unwrap(),
            ),
            11 => {
                let prefix = format!("{:02x}", sha256[0]);
                let found = store.certificates_by_fingerprint(tenant, &prefix);
                self.kept(found.await.unwrap())
            }
            12 => {
                let found = store.certificates_by_end(tenant, i64::MAX, 0, 100);
                self.kept(found.await.unwrap())
            }
            13 => yes(store.is_registered(tenant, sha256, address).await.unwrap()),
            14 => {
                let all = store.registrations(tenant).await.unwrap();
                let pair =
                    |(sha256, text): &([u8; 32], String)| [self.number(sha256), self.address(text)];
                all.iter().flat_map(pair).collect()
            }
            15 => {
                let all = store.authorities(tenant).await.unwrap();
                self.numbers(all.iter().map(Certificate::sha256))
            }
            16 => {
                let all = store.crls(tenant, &self.index).await.unwrap();
                self.numbers(all.iter().map(Crl::sha256))
            }
            17 => vec![store.revision(tenant).await.unwrap()],
            18 => {
                let all = store.fetched(tenant).await.unwrap();
                let one = |one: &crate::FetchedList| {
                    let place = self.urls.iter().position(|url| *url == one.url);
                    let place = i64::try_from(place.expect("one of ours")).unwrap();
                    [place, self.number(&one.sha256), one.at.0]
                };
                all.iter().flat_map(one).collect()
            }
            19 => yes(store.has_crl(tenant, list, by).await.unwrap()),
            20 => {
                let all = store.delivered(tenant, sha256, 1000).await.unwrap();
                all.iter().map(|text| self.address(text)).collect()
            }
            _ => yes(store.any_delivered(tenant, 1000).await.unwrap()),
        }
    }

    /// Every question about everything.
    async fn all(&self, store: &Store, tenant: &str) -> Vec<Vec<i64>> {
        let mut told = Vec::new();
        for action in FIRST_QUESTION..ACTIONS {
            for number in 0..self.certificates.len() {
                let step = Step {
                    tenant: 0,
                    action,
                    certificate: number,
                    address: number % self.addresses.len(),
                    list: number % self.lists.len(),
                    flag: false,
                };
                told.push(self.act(store, tenant, &step).await);
            }
        }
        told
    }
}

/// A store that no disk slows down.
async fn in_memory() -> Store {
    let options = SqliteConnectOptions::new()
        .in_memory(true)
        .foreign_keys(true);
    // With its one connection it would go.
    let connection = embedded::Connections::open(options, 1).await.unwrap();
    migrations::build(&connection).await.unwrap();
    Store {
        name: PathBuf::from("memory"),
        pool: Pool::Sqlite(connection),
        silent: Arc::default(),
        swept: Arc::default(),
        together: Arc::default(),
    }
}

/// So many steps of both in one store, each beside the same step in a store of the tenant's own.
async fn interleaved(shared: &Store, seed: u64, steps: usize) {
    let things = Things::new();
    let alone = [in_memory().await, in_memory().await];
    let mut dice = Dice(seed);
    for number in 0..steps {
        let step = things.step(&mut dice);
        let tenant = TENANTS[step.tenant];
        let seen = things.act(shared, tenant, &step).await;
        let wanted = things.act(&alone[step.tenant], tenant, &step).await;
        assert_eq!(seen, wanted, "seed {seed}, step {number}: {step:?}");
    }
    for (tenant, alone) in TENANTS.iter().zip(&alone) {
        let (seen, wanted) = (things.all(shared, tenant), things.all(alone, tenant));
        assert_eq!(seen.await, wanted.await, "seed {seed}: {tenant}");
    }
    // And somebody who was never there sees an empty store.
    let empty = in_memory().await;
    let (seen, wanted) = (things.all(shared, "two"), things.all(&empty, "two"));
    assert_eq!(seen.await, wanted.await, "seed {seed}");
}

/// The row's number is a million steps, which takes minutes: a step is a handful of statements, and is done twice.
/// Twenty thousand are here, each action some hundred times a tenant; the million is the test below.
#[tokio::test]
async fn neither_of_two_tenants_can_tell_that_the_other_is_there() {
    for seed in 0..4 {
        interleaved(&in_memory().await, seed, 5_000).await;
    }
}

#[tokio::test]
#[ignore = "takes minutes: cargo test -p kenin-certstore -- --ignored million"]
async fn neither_of_two_tenants_can_tell_in_a_million_steps() {
    for seed in 100..120 {
        interleaved(&in_memory().await, seed, 50_000).await;
    }
}

on_both!(nor_in_a_database_of_either_kind);

async fn nor_in_a_database_of_either_kind(place: &Place) {
    interleaved(&place.open().await, 7, 400).await;
}
