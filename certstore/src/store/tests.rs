use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::Origin;
use crate::testpki::ca;

fn index() -> RevocationIndex {
    RevocationIndex::passing()
}

async fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(&dir.path().join("kenin.sqlite")).await.unwrap()
}

#[tokio::test]
async fn what_is_put_is_found_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let ca = ca("A");
    let leaf = ca.leaf("Alice", "alice@example.jp");
    assert_eq!(store.revision("default").await.unwrap(), 0);
    assert!(
        store
            .put_certificate("default", &ca.certificate, Origin::Admin, false)
            .await
            .unwrap()
    );
    assert!(
        store
            .put_certificate("default", &leaf, Origin::Admin, false)
            .await
            .unwrap()
    );
    assert!(
        !store
            .put_certificate("default", &leaf, Origin::Admin, false)
            .await
            .unwrap(),
        "known already"
    );
    assert_eq!(
        store.revision("default").await.unwrap(),
        1,
        "nothing new, no new revision"
    );
    store.close().await;

    let store = open(&dir).await;
    let found = store.authorities("default").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].der(), ca.certificate.der());
    assert_eq!(store.revision("default").await.unwrap(), 1);
}

#[tokio::test]
async fn a_store_that_is_only_read_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kenin.sqlite");
    assert!(Store::open_to_read(&path).await.is_err(), "it is not made");
    assert!(!path.exists());
    let store = open(&dir).await;
    let ca = ca("A");
    store
        .put_crl(
            "default",
            &ca.crl(Some(300), 1000),
            ca.certificate.public_key(),
        )
        .await
        .unwrap();
    // Also beside a service that has it open.
    for _ in 0..2 {
        let reader = Store::open_to_read(&path).await.unwrap();
        assert_eq!(reader.crls("default", &index()).await.unwrap().len(), 1);
        assert!(
            reader
                .put_crl(
                    "default",
                    &ca.crl(Some(301), 2000),
                    ca.certificate.public_key()
                )
                .await
                .is_err()
        );
        reader.close().await;
        store.clone().close().await;
    }
}

#[tokio::test]
async fn an_older_list_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let ca = ca("A");
    let new = ca.crl(Some(300), 1000);
    assert!(
        store
            .put_crl("default", &new, ca.certificate.public_key())
            .await
            .unwrap()
    );
    assert!(
        !store
            .put_crl("default", &new, ca.certificate.public_key())
            .await
            .unwrap()
    );
    assert!(
        !store
            .put_crl(
                "default",
                &ca.crl(Some(301), 900),
                ca.certificate.public_key()
            )
            .await
            .unwrap(),
        "a higher number of an earlier day"
    );
    let held = store.crls("default", &index()).await.unwrap();
    assert_eq!(held[0].sha256(), new.sha256());
    assert!(
        store
            .put_crl(
                "default",
                &ca.crl(Some(299), 2000),
                ca.certificate.public_key()
            )
            .await
            .unwrap()
    );
    assert_eq!(store.crls("default", &index()).await.unwrap().len(), 1);
    assert_eq!(store.revision("default").await.unwrap(), 2);
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let ca = ca("A");
    store
        .put_certificate("one", &ca.certificate, Origin::Admin, false)
        .await
        .unwrap();
    store
        .put_crl("one", &ca.crl(Some(1), 1000), ca.certificate.public_key())
        .await
        .unwrap();
    assert!(store.authorities("two").await.unwrap().is_empty());
    assert!(store.crls("two", &index()).await.unwrap().is_empty());
    assert_eq!(store.revision("two").await.unwrap(), 0);
}

#[tokio::test]
async fn every_primary_key_begins_with_the_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let rows = sqlx::query(
        "SELECT m.name, (SELECT p.name FROM pragma_table_info(m.name) p WHERE p.pk = 1) \
         FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE '%sqlx%'",
    )
    .fetch_all(&store.pool)
    .await
    .unwrap();
    assert!(rows.len() >= 6);
    for row in rows {
        let (table, first): (String, Option<String>) = (row.get(0), row.get(1));
        assert_eq!(first.as_deref(), Some("tenant"), "{table}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (7, 'later', 1, x'00', 0)",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let error = Store::open(&dir.path().join("kenin.sqlite"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 7,
                known: 4,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("written by a newer Kenin"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kenin.sqlite");
    std::fs::write(
        &path,
        "this is no database, and long enough to be taken for one".repeat(99),
    )
    .unwrap();
    let error = Store::open(&path).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: ", path.display())),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_else_may_read_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(&dir).await;
    let mode = std::fs::metadata(dir.path().join("kenin.sqlite"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn aborted_messages_are_counted_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let count = async |hash: u8, now| {
        store
            .count_aborted("default", &[hash; 32], now)
            .await
            .unwrap()
    };
    assert_eq!(count(1, 1000).await, 1);
    assert_eq!(count(2, 1000).await, 1);
    assert_eq!(count(1, 2000).await, 2);
    assert_eq!(count(1, 2000 + DAY).await, 3);
    assert_eq!(count(1, 2002 + 2 * DAY).await, 1);
    assert_eq!(
        store.revision("default").await.unwrap(),
        0,
        "no snapshot depends on it"
    );
}
