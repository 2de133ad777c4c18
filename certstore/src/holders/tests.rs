use proptest::prelude::*;

use super::*;
use crate::database::Pool;
use crate::testpki::ca;
use crate::testplace::{Place, on_both};

on_both!(
    certificates_are_found_by_address_however_it_is_spelled,
    certificates_are_found_by_the_beginning_of_their_fingerprint,
    a_registration_is_one_of_a_tenant_and_can_be_taken_back,
    what_is_quarantined_issues_nothing_until_it_is_promoted,
    those_that_end_first_come_first,
    two_tenants_never_see_each_others,
    an_import_pins_what_mail_brought_before,
    many_are_put_at_once,
);

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

async fn certificates_are_found_by_address_however_it_is_spelled(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let leaf = ca.leaf("Alice", "Alice@Example.JP");
    assert!(
        store
            .put_certificate("default", &leaf, Origin::Admin, false)
            .await
            .unwrap()
    );
    for spelling in ["alice@example.jp", "ALICE@EXAMPLE.jp"] {
        let found = store
            .certificates_by_address("default", &address(spelling))
            .await
            .unwrap();
        assert_eq!(found.len(), 1, "{spelling}");
        assert_eq!(found[0].certificate.der(), leaf.der());
        assert_eq!(
            (found[0].origin, found[0].quarantined),
            (Origin::Admin, false)
        );
    }
    // What an attacker puts into an address is an address.
    for odd in [
        "\"*\"@example.jp",
        "\"' OR 1=1 --\"@example.jp",
        "\"%\"@example.jp",
    ] {
        let found = store
            .certificates_by_address("default", &address(odd))
            .await
            .unwrap();
        assert!(found.is_empty(), "{odd}");
    }
    assert!(
        store
            .certificates_by_fingerprint("default", "%")
            .await
            .unwrap()
            .len()
            <= 1
    );
    // It issues nothing, so no snapshot has to be made again for it.
    assert!(store.authorities("default").await.unwrap().is_empty());
    assert_eq!(store.revision("default").await.unwrap(), 0);
    assert!(store.forget("default", leaf.sha256()).await.unwrap());
    assert!(!store.forget("default", leaf.sha256()).await.unwrap());
    let found = store
        .certificates_by_address("default", &address("alice@example.jp"))
        .await;
    assert!(found.unwrap().is_empty());
}

async fn a_registration_is_one_of_a_tenant_and_can_be_taken_back(place: &Place) {
    let store = place.open().await;
    let leaf = ca("A").leaf("Alice", "x@example.jp");
    let (key, alice) = (*leaf.sha256(), address("alice@example.jp"));
    assert!(!store.is_registered("default", &key, &alice).await.unwrap());
    assert!(store.register("default", &key, &alice).await.unwrap());
    assert!(
        !store
            .register("default", &key, &address("Alice@example.jp"))
            .await
            .unwrap()
    );
    assert!(
        store
            .is_registered("default", &key, &address("ALICE@example.jp"))
            .await
            .unwrap()
    );
    assert!(!store.is_registered("other", &key, &alice).await.unwrap());
    assert!(
        !store
            .is_registered("default", &key, &address("bob@example.jp"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .is_registered("default", &[0; 32], &alice)
            .await
            .unwrap()
    );
    store
        .put_certificate("default", &leaf, Origin::Admin, false)
        .await
        .unwrap();
    let found = store
        .certificates_by_address("default", &alice)
        .await
        .unwrap();
    assert_eq!(found[0].registered, ["alice@example.jp"]);
    assert_eq!(
        store.registrations("default").await.unwrap(),
        [(key, "alice@example.jp".to_owned())]
    );
    // A card that is taken out speaks for nobody any more.
    assert!(store.forget("default", &key).await.unwrap());
    assert!(!store.is_registered("default", &key, &alice).await.unwrap());
    assert!(store.register("default", &key, &alice).await.unwrap());
    // Beyond ASCII every octet counts.
    let taro = address("Taro太郎@example.jp");
    assert!(store.register("default", &key, &taro).await.unwrap());
    let other = address("tARO太郎@example.jp");
    assert!(!store.is_registered("default", &key, &other).await.unwrap());
    assert!(store.unregister("default", &key, &alice).await.unwrap());
    assert!(!store.is_registered("default", &key, &alice).await.unwrap());
}

async fn what_is_quarantined_issues_nothing_until_it_is_promoted(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let (certificate, key) = (&ca.certificate, ca.certificate.sha256());
    store
        .put_certificate("default", certificate, Origin::Harvest, true)
        .await
        .unwrap();
    assert!(store.authorities("default").await.unwrap().is_empty());
    // Seen again it stays what it is.
    assert!(
        !store
            .put_certificate("default", certificate, Origin::Directory, false)
            .await
            .unwrap()
    );
    assert!(store.authorities("default").await.unwrap().is_empty());
    assert!(store.promote("default", key).await.unwrap());
    assert!(!store.promote("default", key).await.unwrap());
    assert_eq!(store.authorities("default").await.unwrap().len(), 1);
    assert_eq!(
        store.revision("default").await.unwrap(),
        2,
        "the snapshot has one more issuer"
    );
}

async fn those_that_end_first_come_first(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    for (name, end) in [("late", 3000), ("early", 1000), ("middle", 2000)] {
        let leaf = ca.leaf_until(name, end);
        store
            .put_certificate("default", &leaf, Origin::Admin, false)
            .await
            .unwrap();
    }
    let names = |kept: Vec<Kept>| -> Vec<String> {
        kept.iter()
            .map(|one| one.certificate.subject().to_string())
            .collect()
    };
    let found = store
        .certificates_by_end("default", 2500, 0, 10)
        .await
        .unwrap();
    assert_eq!(names(found), ["CN=early", "CN=middle"]);
    let found = store
        .certificates_by_end("default", i64::MAX, 1, 1)
        .await
        .unwrap();
    assert_eq!(names(found), ["CN=middle"]);
}

async fn certificates_are_found_by_the_beginning_of_their_fingerprint(place: &Place) {
    let store = place.open().await;
    let leaf = ca("A").leaf("Alice", "alice@example.jp");
    let put = store.put_certificate("default", &leaf, Origin::Admin, false);
    put.await.unwrap();
    let whole: String = leaf
        .sha256()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let count = async |prefix: &str| {
        let found = store.certificates_by_fingerprint("default", prefix).await;
        found.unwrap().len()
    };
    for length in [0, 1, 2, 7, 8, 63, 64] {
        assert_eq!(count(&whole[..length]).await, 1, "{length}");
        assert_eq!(count(&whole[..length].to_uppercase()).await, 1, "{length}");
    }
    let last = if whole.ends_with('0') { '1' } else { '0' };
    let another = format!("{}{last}", &whole[..63]);
    let long = format!("{whole}0");
    for none in [another.as_str(), &long, "%", "é", " "] {
        assert_eq!(count(none).await, 0, "{none}");
    }
}

/// Else a newer certificate that mail brings would be used beside the one that the administrator named.
async fn an_import_pins_what_mail_brought_before(place: &Place) {
    let store = place.open().await;
    let (ca, alice) = (ca("A"), address("alice@example.jp"));
    let leaf = ca.leaf_for("Alice", &["alice@example.jp"], 2000);
    let found = async || {
        let found = store.certificates_by_address("default", &alice).await;
        let found = found.unwrap().into_iter();
        let all = found.map(|kept| (kept.origin, kept.quarantined));
        all.collect::<Vec<_>>()
    };
    let import = async |one: &Certificate| {
        let put = store.put_certificate("default", one, Origin::Admin, false);
        put.await.unwrap()
    };
    // Whether it waited or was used.
    for use_it in [false, true] {
        assert!(
            store
                .harvest("default", &leaf, &alice, use_it)
                .await
                .unwrap()
        );
        assert_eq!(found().await, [(Origin::Harvest, !use_it)]);
        assert!(import(&leaf).await);
        assert_eq!(found().await, [(Origin::Admin, false)]);
        assert!(!import(&leaf).await);
        // From now on mail brings nothing that is used by itself, nor takes the word back.
        assert!(!store.harvest("default", &leaf, &alice, true).await.unwrap());
        let newer = ca.leaf_for("Alice", &["alice@example.jp"], 3000);
        assert!(
            store
                .harvest("default", &newer, &alice, true)
                .await
                .unwrap()
        );
        assert_eq!(
            found().await,
            [(Origin::Admin, false), (Origin::Harvest, true)]
        );
        for one in [&leaf, &newer] {
            assert!(store.forget("default", one.sha256()).await.unwrap());
        }
    }
    assert_eq!(store.revision("default").await.unwrap(), 0);
    // However many mail brings that end later, the one that was named is found.
    assert!(import(&leaf).await);
    let brought = (0..MAX_FOUND).map(|n| ca.leaf_for("Alice", &["alice@example.jp"], 4000 + n));
    let brought: Vec<Certificate> = brought.collect();
    for one in &brought {
        assert!(store.harvest("default", one, &alice, true).await.unwrap());
    }
    let all = found().await;
    assert_eq!((all.len(), all[0]), (16, (Origin::Admin, false)));
    for one in brought.iter().chain([&leaf]) {
        assert!(store.forget("default", one.sha256()).await.unwrap());
    }
    // An authority that waited issues from now on, and a snapshot is made anew for it.
    let authority = &ca.certificate;
    let put = store.put_certificate("default", authority, Origin::Directory, true);
    assert!(put.await.unwrap());
    let before = store.revision("default").await.unwrap();
    let all = [leaf.clone(), authority.clone()];
    let put = store.put_certificates("default", &all, Origin::Admin);
    assert_eq!(put.await.unwrap(), 2);
    assert_eq!(store.authorities("default").await.unwrap().len(), 1);
    assert_eq!(store.revision("default").await.unwrap(), before + 1);
    // Another tenant's is another's.
    let put = store.put_certificate("other", &leaf, Origin::Directory, true);
    assert!(put.await.unwrap());
    assert!(!import(&leaf).await);
    let other = store
        .certificates_by_address("other", &alice)
        .await
        .unwrap();
    assert_eq!(
        (other[0].origin, other[0].quarantined),
        (Origin::Directory, true)
    );
}

async fn many_are_put_at_once(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let people = [ca.leaf_until("one", 1000), ca.leaf_until("two", 2000)];
    let put = store.put_certificates("default", &people, Origin::Admin);
    assert_eq!(put.await.unwrap(), 2);
    assert_eq!(store.revision("default").await.unwrap(), 0);
    let all = [people[0].clone(), ca.certificate.clone()];
    let put = store.put_certificates("default", &all, Origin::Admin);
    assert_eq!(put.await.unwrap(), 1);
    assert_eq!(store.revision("default").await.unwrap(), 1);
    let found = store.certificates_by_end("default", 3000, 0, 10).await;
    assert!(found.unwrap().len() >= 2);
}

async fn two_tenants_never_see_each_others(place: &Place) {
    // Some order, the same every time.
    let steps = (0..300_usize).map(|n| {
        let mixed = (n * 2_654_435_761) >> 7;
        (
            mixed % 2,
            [0, 0, 1, 2][mixed / 2 % 4],
            [0, 1, 2, 3][mixed / 8 % 4],
        )
    });
    interleaved(&place.open().await, steps.collect()).await;
}

/// Steps of two tenants: whose, what (0 registers, 1 takes back, else asks), and which certificate.
async fn interleaved(store: &Store, steps: Vec<(usize, u8, u8)>) {
    let tenants = ["one", "two"];
    let mut model = [
        std::collections::BTreeSet::new(),
        std::collections::BTreeSet::new(),
    ];
    for (tenant, action, number) in steps {
        let (key, whose) = ([number; 32], address(&format!("p{number}@example.jp")));
        match action {
            0 => {
                let new = store.register(tenants[tenant], &key, &whose).await.unwrap();
                assert_eq!(new, model[tenant].insert(number));
            }
            1 => {
                let gone = store.unregister(tenants[tenant], &key, &whose).await;
                assert_eq!(gone.unwrap(), model[tenant].remove(&number));
            }
            _ => {
                let there = store.is_registered(tenants[tenant], &key, &whose).await;
                assert_eq!(there.unwrap(), model[tenant].contains(&number));
            }
        }
    }
    for (tenant, model) in tenants.iter().zip(&model) {
        let all = store.registrations(tenant).await.unwrap();
        assert_eq!(all.len(), model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    /// STO-03: whatever two tenants do in whatever order, neither reads what is the other's.
    #[test]
    fn tenants_never_see_each_others(steps in proptest::collection::vec((0..2_usize, 0..3_u8, 0..4_u8), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::sqlite();
            interleaved(&place.open().await, steps).await;
        });
    }
}

/// What was chosen for its order read every certificate of the tenant for each look-up.
#[tokio::test]
async fn a_look_up_by_address_does_not_read_everybodys() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("a.sqlite")).await.unwrap();
    let Pool::Sqlite(connections) = &store.pool else {
        panic!("it is a file")
    };
    let mut lent = connections.lend().await.unwrap();
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "EXPLAIN QUERY PLAN {BY_ADDRESS}"
    )))
    .fetch_all(lent.connection().unwrap())
    .await
    .unwrap();
    assert!(BY_ADDRESS.ends_with(&format!(" LIMIT {MAX_FOUND}")));
    let steps: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
    for table in ["SEARCH c ", "SEARCH s "] {
        let narrow = steps
            .iter()
            .any(|step| step.starts_with(table) && step.contains("sha256=?"));
        assert!(narrow, "{steps:?}");
    }
    assert!(
        !steps.iter().any(|step| step.starts_with("SCAN")),
        "{steps:?}"
    );
}
