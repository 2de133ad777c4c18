use proptest::prelude::*;

use super::*;
use crate::testpki::ca;

async fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(&dir.path().join("kenin.sqlite")).await.unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[tokio::test]
async fn certificates_are_found_by_address_however_it_is_spelled() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
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

#[tokio::test]
async fn a_registration_is_one_of_a_tenant_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
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
    assert!(store.unregister("default", &key, &alice).await.unwrap());
    assert!(!store.is_registered("default", &key, &alice).await.unwrap());
}

#[tokio::test]
async fn what_is_quarantined_issues_nothing_until_it_is_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
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
            .put_certificate("default", certificate, Origin::Admin, false)
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

#[tokio::test]
async fn those_that_end_first_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    /// STO-03: whatever two tenants do in whatever order, neither reads what is the other's.
    #[test]
    fn tenants_never_see_each_others(steps in proptest::collection::vec((0..2_usize, 0..3_u8, 0..4_u8), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = open(&dir).await;
            let tenants = ["one", "two"];
            let mut model = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
            for (tenant, action, number) in steps {
                let (key, whose) = ([number; 32], address(&format!("p{number}@example.jp")));
                match action {
                    0 => {
                        let new = store.register(tenants[tenant], &key, &whose).await.unwrap();
                        assert_eq!(new, model[tenant].insert(number));
                    }
                    1 => {
                        let gone = store.unregister(tenants[tenant], &key, &whose).await.unwrap();
                        assert_eq!(gone, model[tenant].remove(&number));
                    }
                    _ => {
                        let there = store.is_registered(tenants[tenant], &key, &whose).await.unwrap();
                        assert_eq!(there, model[tenant].contains(&number));
                    }
                }
            }
            for (tenant, model) in tenants.iter().zip(&model) {
                let all = store.registrations(tenant).await.unwrap();
                assert_eq!(all.len(), model.len());
            }
        });
    }
}
