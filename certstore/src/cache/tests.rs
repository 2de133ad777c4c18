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

/// STO-02: what a node wrote while its clock was ahead had no end for as long as that was wrong.
#[test]
fn what_a_clock_that_was_ahead_wrote_is_not_used() {
    let mine = place("one", "directory", b"alice");
    let ahead = cache(1, evening);
    let sealed = ahead.seal(&mine, b"an answer", HOUR).unwrap();
    assert_eq!(cache(1, noon).open(&mine, &sealed), None);
    // Where it is later it is as good as any.
    assert!(ahead.open(&mine, &sealed).is_some());
    // The longest life that there is.
    let here = cache(1, noon);
    let longest = here.seal(&mine, b"an answer", LONGEST_LIFE).unwrap();
    assert!(here.open(&mine, &longest).is_some());
    let second = Duration::from_secs(1);
    let beyond = here.seal(&mine, b"an answer", LONGEST_LIFE + second);
    assert_eq!(here.open(&mine, &beyond.unwrap()), None);
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

/// STO-02: every bit of a value as long as real ones, and every length that it is cut to.
#[test]
fn no_bit_of_a_certificate_can_be_changed() {
    let here = cache(1, noon);
    let mine = place("one", "directory", b"alice");
    let certificate = crate::testpki::ca("A").certificate;
    let sealed = here.seal(&mine, certificate.der(), HOUR).unwrap();
    assert_eq!(
        here.open(&mine, &sealed).as_deref(),
        Some(certificate.der())
    );
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert_eq!(here.open(&mine, &changed), None, "{at} {bit}");
        }
        assert_eq!(here.open(&mine, &sealed[..at]), None, "{at}");
    }
    let longer = [&sealed[..], b"\0"].concat();
    assert_eq!(here.open(&mine, &longer), None);
}

/// STO-02: a replica that was behind takes over and gives back what had been overwritten.
#[test]
fn what_was_overwritten_comes_back_in_vain() {
    let mine = place("one", "directory", b"alice");
    let node = |version: u64, clock: Clock| {
        let node = cache(1, clock);
        node.raise_version(version);
        node
    };
    let here = node(7, noon);
    let old = here.seal(&mine, b"before", HOUR).unwrap();
    here.raise_version(8);
    let new = here.seal(&mine, b"after", HOUR).unwrap();
    // Also for another node, and for one that has just started.
    for node in [here, node(8, noon)] {
        assert_eq!(node.open(&mine, &old), None);
        assert_eq!(node.open(&mine, &new).as_deref(), Some(&b"after"[..]));
    }
    // Where nothing raised the version the old one is what was said lately, and its end comes all the same.
    let same = node(7, noon).open(&mine, &old);
    assert_eq!(same.as_deref(), Some(&b"before"[..]));
    assert_eq!(node(7, evening).open(&mine, &old), None);
}

/// STO-03: the same letters, cut into tenant, kind and key at every place: no two share a name or a value.
#[test]
fn no_two_places_are_one() {
    let here = cache(1, noon);
    let letters = "onedirectoryone@a";
    let cuts = (0..=letters.len())
        .flat_map(|first| (first..=letters.len()).map(move |then| (first, then)));
    let places: Vec<Placed<'_>> = cuts
        .map(|(first, then)| {
            let (tenant, kind) = (&letters[..first], &letters[first..then]);
            place(tenant, kind, &letters.as_bytes()[then..])
        })
        .collect();
    let names: std::collections::HashSet<String> =
        places.iter().map(|place| here.name(place)).collect();
    assert_eq!(names.len(), places.len());
    for (at, own) in places.iter().enumerate() {
        let sealed = here.seal(own, b"x", HOUR).unwrap();
        for (other, place) in places.iter().enumerate() {
            let opened = here.open(place, &sealed).is_some();
            assert_eq!(opened, at == other, "{at} {other}");
        }
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
