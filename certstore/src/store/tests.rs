use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;
use crate::Origin;
use crate::testpki::ca;
use crate::testplace::{Hole, Place, Postgres, on_both};

on_both!(
    what_is_put_is_found_after_opening_again,
    a_store_that_is_only_read_stays_as_it_is,
    an_older_list_is_not_kept,
    a_long_list_is_known_where_its_index_is_not,
    tenants_do_not_see_each_other,
    a_newer_schema_is_refused_with_words,
    aborted_messages_are_counted_for_a_day,
    writers_at_the_same_time_keep_the_newest_list,
);

fn index() -> RevocationIndex {
    RevocationIndex::passing()
}

async fn what_is_put_is_found_after_opening_again(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let leaf = ca.leaf("Alice", "alice@example.jp");
    assert_eq!(store.revision("default").await.unwrap(), 0);
    for (certificate, new) in [(&ca.certificate, true), (&leaf, true), (&leaf, false)] {
        let put = store.put_certificate("default", certificate, Origin::Admin, false);
        assert_eq!(put.await.unwrap(), new);
    }
    assert_eq!(
        store.revision("default").await.unwrap(),
        1,
        "nothing new, no new revision"
    );
    store.close().await;

    let store = place.open().await;
    let found = store.authorities("default").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].der(), ca.certificate.der());
    assert_eq!(store.revision("default").await.unwrap(), 1);
}

async fn a_store_that_is_only_read_stays_as_it_is(place: &Place) {
    let error = place.open_to_read().await.unwrap_err();
    assert!(matches!(error, StoreError::Absent { .. }), "{error}");
    assert!(place.open_to_read().await.is_err(), "it is not made");
    let store = place.open().await;
    let ca = ca("A");
    let key = ca.certificate.public_key();
    let list = ca.crl(Some(300), 1000);
    let put = store.put_crl("default", &list, key);
    assert!(put.await.unwrap());
    // Also beside a service that has it open.
    for _ in 0..2 {
        let reader = place.open_to_read().await.unwrap();
        assert_eq!(reader.crls("default", &index()).await.unwrap().len(), 1);
        let put = ca.crl(Some(301), 2000);
        assert!(reader.put_crl("default", &put, key).await.is_err());
        let alice = kenin_pki::address::Address::parse("alice@example.jp").unwrap();
        assert!(reader.register("default", &[1; 32], &alice).await.is_err());
        reader.close().await;
        store.clone().close().await;
    }
}

async fn an_older_list_is_not_kept(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let key = ca.certificate.public_key();
    let new = ca.crl(Some(300), 1000);
    assert!(store.put_crl("default", &new, key).await.unwrap());
    assert!(!store.put_crl("default", &new, key).await.unwrap());
    let earlier = ca.crl(Some(301), 900);
    assert!(
        !store.put_crl("default", &earlier, key).await.unwrap(),
        "a higher number of an earlier day"
    );
    let held = store.crls("default", &index()).await.unwrap();
    assert_eq!(held[0].sha256(), new.sha256());
    let later = ca.crl(Some(299), 2000);
    assert!(store.put_crl("default", &later, key).await.unwrap());
    assert_eq!(store.crls("default", &index()).await.unwrap().len(), 1);
    assert_eq!(store.revision("default").await.unwrap(), 2);
}

/// As on a second node, which has the same store and a folder of its own.
async fn a_long_list_is_known_where_its_index_is_not(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let key = ca.certificate.public_key();
    let whole = ca.crl(Some(1), 1000);
    let received = |index: &RevocationIndex| {
        let mut builder = index.receive().unwrap();
        builder.push(whole.der()).unwrap();
        builder.finish().unwrap()
    };
    let here = index();
    let list = received(&here);
    assert!(store.put_crl("default", &list, key).await.unwrap());
    let there = index();
    for (index, absent) in [(&here, false), (&there, true)] {
        let held = store.crls("default", index).await.unwrap();
        assert_eq!(held, std::slice::from_ref(&list));
        assert_eq!(held[0].is_absent(), absent);
        assert_eq!(held[0].this_update().0, 1000);
        assert!(held[0].verify_signature(key).is_ok());
        // It says nothing new, and takes nothing away.
        assert!(!store.put_crl("default", &held[0], key).await.unwrap());
    }
    assert_eq!(store.revision("default").await.unwrap(), 1);
    // Once it was received there as well, it is there.
    assert_eq!(received(&there), list);
    let held = store.crls("default", &there).await.unwrap();
    assert!(!held[0].is_absent());
}

async fn tenants_do_not_see_each_other(place: &Place) {
    let store = place.open().await;
    let ca = ca("A");
    let put = store.put_certificate("one", &ca.certificate, Origin::Admin, false);
    put.await.unwrap();
    let list = ca.crl(Some(1), 1000);
    let put = store.put_crl("one", &list, ca.certificate.public_key());
    put.await.unwrap();
    assert!(store.authorities("two").await.unwrap().is_empty());
    assert!(store.crls("two", &index()).await.unwrap().is_empty());
    assert_eq!(store.revision("two").await.unwrap(), 0);
}

async fn a_newer_schema_is_refused_with_words(place: &Place) {
    let store = place.open().await;
    let (newest, newer) = (migrations::newest(), migrations::newest() + 1);
    let later = statement!(store, execute:
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES ($1, 'later', TRUE, $2, 0)", newer, [0_u8].as_slice());
    later.await.unwrap();
    store.close().await;
    for error in [
        place.try_open().await.unwrap_err(),
        place.open_to_read().await.unwrap_err(),
    ] {
        let is = matches!(
            error,
            StoreError::NewerSchema { found, known, .. } if (found, known) == (newer, newest)
        );
        assert!(is, "{error}");
        let text = error.to_string();
        assert!(text.contains("written by a newer Kenin"), "{text}");
    }
}

async fn aborted_messages_are_counted_for_a_day(place: &Place) {
    let store = place.open().await;
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

/// Two nodes read their lists at the same time: the older one must not be written last.
async fn writers_at_the_same_time_keep_the_newest_list(place: &Place) {
    let (one, other) = (place.open().await, place.open().await);
    let ca = Arc::new(ca("A"));
    let writing = (1..=8).map(|time| {
        let store = if time % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        let ca = ca.clone();
        tokio::spawn(async move {
            let list = ca.crl(Some(1), time * 1000);
            let put = store.put_crl("default", &list, ca.certificate.public_key());
            put.await.unwrap()
        })
    });
    let mut kept = 0;
    for writer in writing.collect::<Vec<_>>() {
        kept += i64::from(writer.await.unwrap());
    }
    for store in [one, other] {
        let held = store.crls("default", &index()).await.unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].this_update().0, 8000);
        assert_eq!(store.revision("default").await.unwrap(), kept);
    }
}

#[tokio::test]
async fn every_primary_key_begins_with_the_tenant() {
    let first_in_sqlite = "SELECT m.name, (SELECT p.name FROM pragma_table_info(m.name) p WHERE p.pk = 1) \
         FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE '%sqlx%'";
    let first_in_postgresql = "SELECT c.table_name::text, k.column_name::text \
         FROM information_schema.table_constraints c \
         JOIN information_schema.key_column_usage k ON k.constraint_name = c.constraint_name \
         AND k.table_schema = c.table_schema AND k.ordinal_position = 1 \
         WHERE c.constraint_type = 'PRIMARY KEY' AND c.table_schema = 'public' \
         AND c.table_name NOT LIKE '%sqlx%'";
    let mut places = vec![(Place::sqlite(), first_in_sqlite)];
    let server = Postgres::start();
    if let Some(server) = &server {
        places.push((server.place().await, first_in_postgresql));
    }
    for (place, text) in places {
        let store = place.open().await;
        let rows = statement!(store, fetch_all as (String, Option<String>): text);
        let rows = rows.await.unwrap();
        assert!(rows.len() >= 7);
        for (table, first) in rows {
            assert_eq!(first.as_deref(), Some("tenant"), "{table}");
        }
    }
}

/// Hashes, names of senders and Message-IDs lay in `/var/tmp`, in files without a name.
#[tokio::test]
async fn what_a_statement_may_take_back_is_in_no_file() {
    let place = Place::sqlite();
    let store = place.open().await;
    let rows = statement!(store, fetch_all as (i64,): "SELECT temp_store FROM pragma_temp_store");
    // MEMORY.
    assert_eq!(rows.await.unwrap(), [(2,)]);
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
    let path = dir.path().join("kenin.sqlite");
    let _store = Store::open(&path).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_at_once() {
    let server = Server::new("postgresql://kenin@127.0.0.1:1/kenin").unwrap();
    let begun = Instant::now();
    for error in [
        Store::connect(&server).await.unwrap_err(),
        Store::connect_to_read(&server).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.starts_with("postgresql://kenin@127.0.0.1:1/kenin: ") && text.contains("refused"),
            "{text}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Where one question waited in vain the next does not, and nobody has to start anything again.
#[tokio::test]
async fn a_database_that_comes_back_is_found_again() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let store = server.place().await.open().await;
    let alice = kenin_pki::address::Address::parse("alice@example.jp").unwrap();
    assert!(store.register("default", &[1; 32], &alice).await.unwrap());

    server.stop();
    assert!(store.revision("default").await.is_err());
    let begun = Instant::now();
    for _ in 0..100 {
        let asked = store.is_registered("default", &[1; 32], &alice).await;
        let text = asked.unwrap_err().to_string();
        assert!(text.ends_with("it does not answer"), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "nobody waits");

    server.begin();
    assert_eq!(store.revision("default").await.unwrap(), 0);
    let asked = store.is_registered("default", &[1; 32], &alice).await;
    assert!(asked.unwrap(), "nothing was lost");
}

/// What was begun does not hold up others for ever.
#[tokio::test]
async fn a_question_that_takes_too_long_ends() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let place = server.place().await;
    let (one, other) = (place.open().await, place.open().await);
    let held = one.begin_alone("default").await.unwrap();
    let waiting = other.begin_alone("default").await;
    let text = waiting.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("timeout"), "{text}");
    assert!(other.begin_alone("another").await.is_ok());
    drop(held);
    assert!(other.begin_alone("default").await.is_ok());
}

/// Packets that vanish, as behind a firewall that forgot the connections: none that waits for what never comes takes
/// the place of one that would be answered.
#[tokio::test]
async fn a_database_that_fell_silent_is_asked_over_new_connections() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let hole = Hole::before(&server).await;
    let (direct, behind) = server.place_behind(&hole).await;
    let (direct, store) = (direct.open().await, behind.open().await);
    assert_eq!(store.revision("default").await.unwrap(), 0);
    // Every connection there may be waits for an answer when it happens.
    let held = direct.begin_alone("default").await.unwrap();
    let asking = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.begin_alone("default").await.map(drop) })
    });
    let asking: Vec<_> = asking.collect();
    let begun = Instant::now();
    let waiting = async {
        loop {
            let (count,) = statement!(direct, fetch_one as (i64,):
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event = 'advisory'")
            .await
            .unwrap();
            if count == 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), waiting)
        .await
        .unwrap();
    hole.swallow(true);
    for asking in asking {
        let text = asking.await.unwrap().unwrap_err().to_string();
        assert!(text.ends_with("it does not answer"), "{text}");
    }
    // The store's part of our time for one message, and what a busy machine makes of it.
    assert!(begun.elapsed() < Duration::from_millis(3500));
    assert!(store.revision("default").await.is_err());
    drop(held);
    hole.swallow(false);
    let begun = Instant::now();
    assert_eq!(store.revision("default").await.unwrap(), 0);
    assert!(store.begin_alone("default").await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(2), "nobody waits");
}
