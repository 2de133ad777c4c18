use super::*;

fn noon() -> UnixTime {
    UnixTime(43_200)
}

fn evening() -> UnixTime {
    UnixTime(64_800)
}

/// A cache that nobody answers.
fn cache(key: u8, clock: Clock) -> Cache {
    let settings = CacheSettings {
        server: "unix:/nonexistent/redis.sock".parse().unwrap(),
        user: None,
        password: None,
    };
    Cache::new(&settings, None, &[key; 32], clock).unwrap()
}

fn place<'a>(tenant: &'a str, kind: &'a str, key: &'a [u8]) -> Placed<'a> {
    Placed { tenant, kind, key }
}

const HOUR: Duration = Duration::from_secs(3600);

/// STO-02 and STO-03: a value is of one tenant, kind, key and version, and of its time.
#[test]
fn a_value_opens_in_its_place_and_time_only() {
    let here = cache(1, noon);
    let mine = place("one", "directory", b"alice");
    let sealed = here.seal(&mine, b"an answer", HOUR).unwrap();
    assert_eq!(
        here.open(&mine, &sealed).as_deref(),
        Some(&b"an answer"[..])
    );
    for other in [
        place("two", "directory", b"alice"),
        place("one", "ocsp", b"alice"),
        place("one", "directory", b"bob"),
        place("onedirectory", "", b"alice"),
        place("one", "directoryalice", b""),
    ] {
        assert_eq!(here.open(&other, &sealed), None);
        assert_ne!(here.name(&other), here.name(&mine));
    }
    assert_eq!(cache(2, noon).open(&mine, &sealed), None);
    // Redis kept it for six hours, or gave it back from an old copy.
    assert_eq!(cache(1, evening).open(&mine, &sealed), None);
    here.raise_version(7);
    assert_eq!(here.open(&mine, &sealed), None);
    let newer = here.seal(&mine, b"another", HOUR).unwrap();
    here.raise_version(3);
    assert_eq!(here.open(&mine, &newer).as_deref(), Some(&b"another"[..]));
}

#[test]
fn a_changed_byte_is_a_miss_wherever_it_stands() {
    let here = cache(1, noon);
    let mine = place("one", "directory", b"alice");
    let sealed = here.seal(&mine, b"an answer", HOUR).unwrap();
    for at in 0..sealed.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = sealed.clone();
            changed[at] ^= flip;
            assert_eq!(here.open(&mine, &changed), None, "{at}");
        }
        assert_eq!(here.open(&mine, &sealed[..at]), None, "{at}");
    }
}

#[test]
fn names_tell_nothing() {
    let name = cache(1, noon).name(&place("one", "directory", b"alice@example.jp"));
    let hex = name.strip_prefix("kenin:").unwrap();
    assert_eq!(hex.len(), 64);
    assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(
        cache(2, noon).name(&place("one", "directory", b"alice@example.jp")),
        name
    );
}

#[tokio::test]
async fn a_cache_that_is_away_is_a_miss_and_soon_no_question() {
    let cache = Arc::new(cache(1, noon));
    let mine = cache.of("one");
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(mine.get("directory", b"alice").await, None);
        mine.put("directory", b"alice", b"an answer", HOUR).await;
    }
    // Three failures, then nobody asks.
    assert!(began.elapsed() < Duration::from_secs(2));
    let counts = cache.counts();
    assert_eq!((counts.hits, counts.misses), (0, 20));
    assert_eq!((counts.refused, counts.failures), (0, 3));
    assert!(cache.probe().await.is_err());
}

#[tokio::test]
async fn what_is_too_long_or_too_short_lived_is_not_put() {
    let cache = Arc::new(cache(1, noon));
    let mine = cache.of("one");
    let long = vec![0; MAX_VALUE + 1];
    mine.put("directory", b"alice", &long, HOUR).await;
    mine.put("directory", b"alice", b"x", Duration::ZERO).await;
    assert_eq!(cache.counts().failures, 0);
}
