use kenin_smtp_filter::Division;

use super::*;
use crate::pipeline::tests::mail_to;

const NOW: UnixTime = UnixTime(1_000_000);

fn to(recipients: &[&str], raw: &str) -> Mail {
    mail_to(recipients, raw, Division::Copies)
}

#[tokio::test]
async fn who_has_a_message_is_known_at_the_next_try_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sqlite");
    let store = Store::open(&path).await.unwrap();
    let record = Delivered::new(Some(store));
    let raw = "Received: one\r\nSubject: x\r\nX-Spam: 1\r\n\r\nbody\r\n";
    let again = "Received: two\r\nSubject: x\r\nX-Spam: 2\r\n\r\nbody\r\n";
    let first = to(&["a@x.example", "b@x.example", "c@x.example"], raw);
    assert!(record.of(&first, NOW).await.is_empty());
    assert!(record.nothing.is_certain(), "nobody asks any more");
    record.keep(&first, &[0, 2], NOW).await;
    let store = Store::open(&path).await.unwrap();
    for record in [record, Delivered::new(Some(store))] {
        let next = to(&["b@x.example", "c@x.example", "a@x.example"], again);
        assert_eq!(record.of(&next, NOW).await, [1, 2]);
        for other in [
            again.replace("Subject: x", "Subject: y"),
            again.replace("body", "text"),
        ] {
            let other = to(&["a@x.example"], &other);
            assert!(record.of(&other, NOW).await.is_empty());
        }
    }
}

#[tokio::test]
async fn without_a_store_nobody_is_known() {
    let record = Delivered::new(None);
    let mail = to(&["a@x.example"], "Subject: x\r\n\r\nbody\r\n");
    record.keep(&mail, &[0], NOW).await;
    assert!(record.of(&mail, NOW).await.is_empty());
}

/// While one message asks whether anything is kept, the others do not take it that nothing is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_at_the_same_time_is_answered_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s.sqlite")).await.unwrap();
    let record = std::sync::Arc::new(Delivered::new(Some(store)));
    let mail = to(&["a@x.example"], "Subject: x\r\n\r\nbody\r\n");
    record.keep(&mail, &[0], NOW).await;
    let asking = (0..64).map(|_| {
        let (record, mail) = (record.clone(), mail.clone());
        tokio::spawn(async move { record.of(&mail, NOW).await })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), [0]);
    }
}

#[test]
fn what_is_kept_while_somebody_asks_is_not_forgotten() {
    let nothing = Nothing::default();
    assert!(!nothing.is_certain());
    let (early, asked) = (nothing.ask(), nothing.ask());
    nothing.is_found(asked);
    assert!(nothing.is_certain());
    nothing.is_over();
    nothing.is_found(early);
    assert!(!nothing.is_certain());
    nothing.is_found(nothing.ask());
    assert!(nothing.is_certain());
}

/// Another node may have kept something since.
#[test]
fn of_a_shared_store_nothing_is_certain_for_long() {
    let nothing = Nothing {
        lasts: Some(Duration::ZERO),
        ..Nothing::default()
    };
    nothing.is_found(nothing.ask());
    assert!(!nothing.is_certain());
    let nothing = Nothing {
        lasts: Some(Duration::from_secs(600)),
        ..Nothing::default()
    };
    assert!(!nothing.is_certain(), "before anybody asked");
    nothing.is_found(nothing.ask());
    assert!(nothing.is_certain());
    nothing.is_over();
    assert!(!nothing.is_certain());
}
