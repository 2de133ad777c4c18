use super::*;
use crate::DEFAULT_TENANT;
use crate::database::statement;
use crate::testplace::{Place, on_both};

on_both!(
    the_first_mail_of_an_encrypted_content_is_remembered,
    of_two_mails_at_one_time_the_first_one_is_first_for_both,
    of_many_mails_at_one_time_each_is_remembered,
    what_stands_twice_in_what_is_in_hand_is_as_if_it_came_twice,
    what_is_in_hand_together_forgets_what_is_too_old,
    what_was_sent_within_ninety_days_is_known,
    a_clock_that_cannot_be_right_forgets_nothing,
    tenants_remember_their_own,
);

fn mail(contents: &[[u8; 32]], answers: [u8; 32], sender: &str, at: Option<i64>) -> EncryptedMail {
    EncryptedMail {
        contents: contents.to_vec(),
        answers,
        sender: sender.to_owned(),
        message_id: "<1@example.jp>".to_owned(),
        at,
        ..EncryptedMail::default()
    }
}

/// With a name as well.
fn named(id: u8, domain: &str, contents: &[[u8; 32]]) -> EncryptedMail {
    EncryptedMail {
        ids: vec![[id; 32]],
        domains: vec![domain.to_owned()],
        ..mail(contents, [id; 32], domain, Some(1000))
    }
}

async fn known(store: &Store, tenant: &str, sha256: [u8; 32]) -> Option<FirstSeen> {
    let row = statement!(store, fetch_optional as Row:
        "SELECT sha256, answers, sender, message_id, first_at FROM ciphertext WHERE tenant = $1 AND sha256 = $2",
        tenant, sha256.as_slice());
    row.await.unwrap().map(|row| first_seen(row).1)
}

/// When it came last.
async fn last(store: &Store, sha256: [u8; 32]) -> i64 {
    let row = statement!(store, fetch_one as (i64,):
        "SELECT last_at FROM ciphertext WHERE tenant = $1 AND sha256 = $2",
        DEFAULT_TENANT, sha256.as_slice());
    row.await.unwrap().0
}

/// These, in hand together.
async fn put(store: &Store, mails: Vec<EncryptedMail>) -> Vec<Vec<FirstSeen>> {
    let queued = mails.into_iter().map(|mail| Queued {
        tenant: DEFAULT_TENANT.to_owned(),
        mail,
    });
    let batch: Vec<Queued> = queued.collect();
    store
        .remember_together(DEFAULT_TENANT, &batch)
        .await
        .unwrap()
}

async fn is_named(store: &Store, id: u8, domain: &str) -> bool {
    let (ids, domains) = ([[id; 32]], [domain]);
    let found = store.is_encrypted_mail(DEFAULT_TENANT, &ids, &domains, 1000);
    found.await.unwrap()
}

async fn the_first_mail_of_an_encrypted_content_is_remembered(place: &Place) {
    let store = place.open().await;
    let (content, alice, mallory) = ([1; 32], [2; 32], [3; 32]);
    assert_eq!(known(&store, DEFAULT_TENANT, content).await, None);
    let first = FirstSeen {
        answers: alice.to_vec(),
        sender: "Alice <alice@example.jp>".to_owned(),
        message_id: "<1@example.jp>".to_owned(),
        at: 1000,
    };
    // A text that no database and no log should have as it is.
    let sender = "Alice \0<alice@\r\nexample.jp>";
    for (answers, sender, now) in [
        (alice, sender, 1000),
        (alice, sender, 2000),
        (mallory, "mallory@example.com", 3000),
    ] {
        let mail = mail(&[content], answers, sender, Some(now));
        let seen = store.remember_encrypted(DEFAULT_TENANT, mail).await;
        assert_eq!(seen.unwrap(), std::slice::from_ref(&first), "{now}");
    }
    assert_eq!(
        known(&store, DEFAULT_TENANT, content).await,
        Some(first.clone())
    );
    assert_eq!(known(&store, DEFAULT_TENANT, [9; 32]).await, None);
    // No snapshot is made of it.
    assert_eq!(store.revision(DEFAULT_TENANT).await.unwrap(), 0);
    // Of several contents each has its own first mail, in their order.
    let long = "x".repeat(9000);
    let mail = mail(&[[8; 32], content, [7; 32]], mallory, &long, Some(4000));
    let seen = store.remember_encrypted(DEFAULT_TENANT, mail).await;
    let seen = seen.unwrap();
    assert_eq!((seen.len(), &seen[1]), (3, &first));
    for own in [&seen[0], &seen[2]] {
        assert_eq!((own.answers.as_slice(), own.at), (&mallory[..], 4000));
        assert_eq!(own.sender.len(), MAX_TEXT);
    }
}

async fn of_two_mails_at_one_time_the_first_one_is_first_for_both(place: &Place) {
    let store = place.open().await;
    let both = [[1; 32], [2; 32]];
    let (first, second, other) = tokio::join!(
        store.remember_encrypted(DEFAULT_TENANT, named(5, "one.example", &both)),
        store.remember_encrypted(DEFAULT_TENANT, named(6, "two.example", &both)),
        store.remember_encrypted("other", named(7, "three.example", &both)),
    );
    let first = first.unwrap();
    assert!(first.iter().all(|one| one.answers == [5; 32]));
    assert_eq!((first.len(), &first), (2, &second.unwrap()));
    assert!(other.unwrap().iter().all(|one| one.answers == [7; 32]));
    assert!(is_named(&store, 5, "one.example").await);
    assert!(is_named(&store, 6, "two.example").await);
    assert!(!is_named(&store, 7, "three.example").await);
}

/// More of them than one statement takes.
async fn of_many_mails_at_one_time_each_is_remembered(place: &Place) {
    let store = place.open().await;
    let (shared, domains) = ([255; 32], ["one.example", "two.example"]);
    let mails = (0..40).map(|n: u8| EncryptedMail {
        ids: vec![[n; 32]],
        domains: domains.map(str::to_owned).to_vec(),
        ..mail(
            &[[n + 100; 32], shared, [n; 32]],
            [n; 32],
            &format!("{n}@example.jp"),
            Some(1000 + i64::from(n)),
        )
    });
    let all = put(&store, mails.collect()).await;
    assert_eq!(all.len(), 40);
    for (n, seen) in (0..40_u8).zip(&all) {
        let [one, both, other] = seen.as_slice() else {
            panic!("{n}: {seen:?}")
        };
        assert_eq!((one, one.answers.as_slice()), (other, &[n; 32][..]));
        assert_eq!(
            (&one.sender, one.at),
            (&format!("{n}@example.jp"), 1000 + i64::from(n))
        );
        assert_eq!((both.answers.as_slice(), both.at), (&[0; 32][..], 1000));
        for sha256 in [[n + 100; 32], [n; 32]] {
            assert_eq!(
                known(&store, DEFAULT_TENANT, sha256).await.as_ref(),
                Some(one)
            );
        }
        for domain in domains {
            assert!(is_named(&store, n, domain).await, "{n} {domain}");
        }
        assert!(!is_named(&store, n, "three.example").await);
    }
    assert_eq!(last(&store, shared).await, 1039);
    assert!(!is_named(&store, 40, "one.example").await);
}

async fn what_stands_twice_in_what_is_in_hand_is_as_if_it_came_twice(place: &Place) {
    let store = place.open().await;
    let (content, year) = ([1; 32], 365 * 24 * 60 * 60);
    // Twice in one mail, and in two, of which the first has no time.
    let first = EncryptedMail {
        ids: vec![[5; 32]; 2],
        at: None,
        ..named(5, "own.example", &[content, content])
    };
    let again = named(5, "own.example", &[content]);
    let all = put(&store, vec![first, again]).await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert!(all.iter().flatten().all(|one| one.at == i64::MAX));
    // The last time counts, as it does for names.
    assert_eq!(last(&store, content).await, 1000);
    for (now, expected) in [(year, true), (2 * year, false)] {
        let (ids, domains) = ([[5; 32]], ["own.example"]);
        let found = store.is_encrypted_mail(DEFAULT_TENANT, &ids, &domains, now);
        assert_eq!(found.await.unwrap(), expected, "{now}");
    }
}

async fn what_is_in_hand_together_forgets_what_is_too_old(place: &Place) {
    let store = place.open().await;
    let (old, new) = ([1; 32], [2; 32]);
    put(&store, vec![named(5, "own.example", &[old])]).await;
    let years = 1000 + 2 * 365 * 24 * 60 * 60;
    let at = |at| EncryptedMail {
        at,
        ..named(6, "own.example", &[new])
    };
    put(&store, vec![at(None), at(Some(years))]).await;
    assert_eq!(known(&store, DEFAULT_TENANT, old).await, None);
    assert!(known(&store, DEFAULT_TENANT, new).await.is_some());
    assert!(!is_named(&store, 5, "own.example").await);
    assert!(is_named(&store, 6, "own.example").await);
}

async fn what_was_sent_within_ninety_days_is_known(place: &Place) {
    let store = place.open().await;
    let (content, other, answers) = ([1; 32], [2; 32], [3; 32]);
    let days = |days: i64| 1000 + days * 24 * 60 * 60;
    let put = |sha256: [u8; 32], now: i64| {
        let store = store.clone();
        async move {
            let mail = mail(&[sha256], answers, "a@example.jp", Some(now));
            let seen = store.remember_encrypted(DEFAULT_TENANT, mail).await;
            seen.unwrap()[0].at
        }
    };
    assert_eq!(put(content, days(0)).await, days(0));
    assert_eq!(put(other, days(91)).await, days(91));
    let first = known(&store, DEFAULT_TENANT, content).await;
    assert_eq!(first.unwrap().at, days(0));
    // Who sends it again and again does not make it forgotten.
    assert_eq!(put(content, days(92)).await, days(0));
    assert_eq!(put(other, days(190)).await, days(91));
    let first = known(&store, DEFAULT_TENANT, content).await;
    assert_eq!(first.unwrap().at, days(0));
    assert_eq!(put(other, days(193)).await, days(91));
    let first = known(&store, DEFAULT_TENANT, content).await;
    assert_eq!(first, None, "forgotten");
}

async fn a_clock_that_cannot_be_right_forgets_nothing(place: &Place) {
    let store = place.open().await;
    let (content, other, answers) = ([1; 32], [2; 32], [3; 32]);
    for (sha256, now) in [(content, Some(1000)), (other, None), ([4; 32], Some(2000))] {
        let mail = mail(&[sha256], answers, "a@example.jp", now);
        let put = store.remember_encrypted(DEFAULT_TENANT, mail);
        put.await.unwrap();
    }
    for sha256 in [content, other] {
        assert!(known(&store, DEFAULT_TENANT, sha256).await.is_some());
    }
}

async fn tenants_remember_their_own(place: &Place) {
    let store = place.open().await;
    let (content, alice, bob) = ([1; 32], [2; 32], [3; 32]);
    for (tenant, answers) in [("one", alice), ("One", bob)] {
        let mail = mail(&[content], answers, tenant, Some(1000));
        let seen = store.remember_encrypted(tenant, mail).await;
        assert_eq!(seen.unwrap()[0].answers, answers);
    }
    assert_eq!(known(&store, "one", content).await.unwrap().sender, "one");
    assert_eq!(known(&store, "two", content).await, None);
    // Nor does one make the other forget.
    let later = mail(&[bob], bob, "x", Some(i64::MAX));
    store.remember_encrypted("One", later).await.unwrap();
    assert!(known(&store, "one", content).await.is_some());
}

/// What is in hand together is one transaction: each hears that it failed, and nothing of any is there.
#[tokio::test]
async fn what_fails_is_told_to_all_of_it_and_leaves_nothing() {
    let place = Place::sqlite();
    let store = place.open().await;
    let refuse = statement!(store, execute:
        "CREATE TRIGGER refused BEFORE INSERT ON encrypted_mail WHEN NEW.domain = 'bad.example' \
         BEGIN SELECT RAISE(ABORT, 'refused'); END");
    refuse.await.unwrap();
    let good = || named(5, "good.example", &[[1; 32]]);
    let (first, second) = tokio::join!(
        store.remember_encrypted(DEFAULT_TENANT, good()),
        store.remember_encrypted(DEFAULT_TENANT, named(6, "bad.example", &[[1; 32]])),
    );
    for failed in [first, second] {
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("kenin.sqlite") && error.contains("refused"));
    }
    assert!(!is_named(&store, 5, "good.example").await);
    assert_eq!(known(&store, DEFAULT_TENANT, [1; 32]).await, None);
    let alone = store.remember_encrypted(DEFAULT_TENANT, good()).await;
    assert_eq!(alone.unwrap().len(), 1);
    assert!(is_named(&store, 5, "good.example").await);
}

/// A transaction that SQLite had ended by itself, as on a full disk, made its connection useless: sqlx took it for open.
#[tokio::test]
async fn after_a_transaction_that_ended_badly_the_next_one_begins() {
    let place = Place::sqlite();
    let store = place.open().await;
    for text in [
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER ended AFTER INSERT ON encrypted_mail WHEN NEW.domain = 'ended.example' \
         BEGIN SELECT RAISE(ROLLBACK, 'ended'); END",
        "CREATE TRIGGER late AFTER INSERT ON encrypted_mail WHEN NEW.domain = 'late.example' \
         BEGIN INSERT INTO child VALUES (1); END",
    ] {
        statement!(store, execute: text).await.unwrap();
    }
    // In the middle, and by COMMIT, which leaves it open.
    for domain in ["ended.example", "late.example"] {
        let failed = store.remember_encrypted(DEFAULT_TENANT, named(5, domain, &[[1; 32]]));
        assert!(failed.await.is_err(), "{domain}");
        assert!(!is_named(&store, 5, domain).await);
        // As many as there may be connections.
        for id in 0..5 {
            let next =
                store.remember_encrypted(DEFAULT_TENANT, named(id, "x.example", &[[id; 32]]));
            assert_eq!(next.await.unwrap().len(), 1, "{domain}");
        }
    }
}
