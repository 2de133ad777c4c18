use super::*;

const KEY: &str = "http://ocsp.example/ 01";

fn host() -> Host {
    Host::Name("ocsp.example".to_owned())
}

fn nothing() -> What {
    What::Certificates(Vec::new())
}

fn go(asked: &Asked, key: &str) -> Option<bool> {
    match asked.begin(Kind::Ocsp, key, &host(), 100) {
        Begin::Go(flight) => Some(flight.end(Ok((nothing(), 200))).is_ok()),
        _ => None,
    }
}

#[test]
fn what_came_is_remembered_until_its_end() {
    let asked = Asked::default();
    assert_eq!(go(&asked, KEY), Some(true));
    assert!(asked.get(Kind::Ocsp, KEY, 199).is_some());
    assert!(asked.get(Kind::Ocsp, KEY, 200).is_none());
    assert!(asked.get(Kind::Crl, KEY, 150).is_none());
    let begin = asked.begin(Kind::Ocsp, KEY, &host(), 150);
    assert!(matches!(begin, Begin::Held(_)));
}

#[test]
fn what_a_clock_that_was_ahead_left_behind_is_not_held() {
    let asked = Asked::default();
    let year = 365 * DAY;
    let Begin::Go(flight) = asked.begin(Kind::Crl, KEY, &host(), year) else {
        panic!()
    };
    flight.end(Ok((nothing(), year + 600))).unwrap();
    assert!(asked.get(Kind::Crl, KEY, year).is_some());
    assert!(asked.get(Kind::Crl, KEY, 100).is_none());
}

#[test]
fn what_failed_rests() {
    let asked = Asked::default();
    let Begin::Go(flight) = asked.begin(Kind::Ocsp, KEY, &host(), 100) else {
        panic!()
    };
    assert!(flight.end(Err("no".to_owned())).is_err());
    let begin = asked.begin(Kind::Ocsp, KEY, &host(), 100);
    assert!(matches!(begin, Begin::NotNow(NotNow::Failed { .. })));
}

#[test]
fn who_wants_the_same_waits_and_is_told() {
    let asked = Asked::default();
    let Begin::Go(flight) = asked.begin(Kind::Ocsp, KEY, &host(), 100) else {
        panic!()
    };
    let Begin::Wait(over) = asked.begin(Kind::Ocsp, KEY, &host(), 100) else {
        panic!()
    };
    assert!(over.has_changed().is_ok());
    // Also where whoever asked panics.
    drop(flight);
    assert!(over.has_changed().is_err());
    let begin = asked.begin(Kind::Ocsp, KEY, &host(), 100);
    assert!(matches!(begin, Begin::NotNow(NotNow::Asked { .. })));
}

#[test]
fn what_was_not_used_for_long_makes_room() {
    let room = Room {
        entries: 3,
        octets: 1000,
    };
    let mut shelf = Shelf::new(room, PacingSettings::default());
    for key in ["a", "b", "c"] {
        shelf.put(key, nothing(), 200, 100);
    }
    assert!(shelf.get("a", 100).is_some());
    shelf.put("d", nothing(), 200, 100);
    assert!(shelf.get("b", 100).is_none());
    shelf.put("e", nothing(), 400, 300);
    assert_eq!(shelf.held.len(), 1, "what has ended goes first");
    shelf.put("f", nothing(), 300, 300);
    assert!(shelf.get("f", 300).is_none());
}

/// Whoever writes a certificate may name the URL of a list as that of an issuer.
#[test]
fn an_issuer_at_the_url_of_a_list_is_not_in_its_way() {
    let url = "http://crl.example/a.crl";
    let place = Host::Name("crl.example".to_owned());
    let asked = Asked::default();
    let Begin::Go(forged) = asked.begin(Kind::Issuer, url, &place, 100) else {
        panic!()
    };
    // Neither while it is asked for, nor when it has failed, nor when it has come.
    for status in [Kind::Crl, Kind::Ocsp] {
        let Begin::Go(flight) = asked.begin(status, url, &place, 100) else {
            panic!()
        };
        let begin = asked.begin(status, url, &place, 100);
        assert!(matches!(begin, Begin::Wait(_)));
        drop(flight);
    }
    drop(forged);
    let begin = asked.begin(Kind::Crl, url, &place, 100);
    assert!(matches!(begin, Begin::NotNow(NotNow::Asked { .. })));

    let asked = Asked::default();
    let Begin::Go(forged) = asked.begin(Kind::Issuer, url, &place, 100) else {
        panic!()
    };
    assert!(forged.end(Err("no".to_owned())).is_err());
    let begin = asked.begin(Kind::Crl, url, &place, 100);
    assert!(matches!(begin, Begin::Go(_)));

    let asked = Asked::default();
    let Begin::Go(forged) = asked.begin(Kind::Issuer, url, &place, 100) else {
        panic!()
    };
    assert!(forged.end(Ok((nothing(), 200))).is_ok());
    assert!(asked.get(Kind::Crl, url, 100).is_none());
    let begin = asked.begin(Kind::Crl, url, &place, 100);
    assert!(matches!(begin, Begin::Go(_)));
}

#[test]
fn many_issuers_take_neither_room_nor_turns_of_status() {
    let asked = Asked::default();
    let begin = |kind, key: &str| match asked.begin(kind, key, &host(), 100) {
        Begin::Go(flight) => flight.end(Ok((nothing(), 200))).is_ok(),
        _ => false,
    };
    assert!(begin(Kind::Crl, "list") && begin(Kind::Ocsp, "answer"));
    let came = (0..1000).filter(|number| begin(Kind::Issuer, &number.to_string()));
    assert!(came.count() < 100, "their host has a bucket");
    assert!(!begin(Kind::Issuer, "one more"));
    let mut state = asked.state();
    for number in 0..2 * ISSUERS.entries {
        state.issuers.put(&number.to_string(), nothing(), 200, 100);
    }
    drop(state);
    assert!(asked.get(Kind::Crl, "list", 150).is_some());
    assert!(asked.get(Kind::Ocsp, "answer", 150).is_some());
    assert!(begin(Kind::Crl, "other list") && begin(Kind::Ocsp, "other answer"));
}

#[test]
fn there_is_no_gap_between_what_is_held_and_the_next_turn() {
    for (lasts, rest) in [(3600, 3600), (9999, 3600), (100, 100), (0, 0)] {
        let asked = Asked::default();
        let Begin::Go(flight) = asked.begin(Kind::Crl, KEY, &host(), 1000) else {
            panic!()
        };
        assert!(flight.end(Ok((nothing(), 1000 + lasts))).is_ok());
        let moment = asked.started.elapsed().as_secs() + rest;
        assert_eq!(asked.get(Kind::Crl, KEY, 999 + lasts).is_some(), lasts > 0);
        let mut state = asked.state();
        let turn = state.lists.pacing.ask(KEY, &host(), moment);
        assert!(turn.is_ok(), "{lasts}: {turn:?}");
    }
}

#[test]
fn a_fetch_that_was_not_waited_for_is_no_failure() {
    let asked = Asked::default();
    let Begin::Go(flight) = asked.begin(Kind::Crl, KEY, &host(), 100) else {
        panic!()
    };
    flight.give_up();
    let begin = asked.begin(Kind::Crl, KEY, &host(), 100);
    assert!(matches!(begin, Begin::Go(_)));
}

#[test]
fn a_shelf_is_bounded_in_octets_too() {
    let one = crate::sources::tests::ca("Root", None).certificate;
    let size = one.der().len() + 1;
    let room = Room {
        entries: 10,
        octets: 2 * size + size / 2,
    };
    let mut shelf = Shelf::new(room, PacingSettings::default());
    let certificates = |count| What::Certificates(vec![one.clone(); count]);
    for key in ["a", "b", "c"] {
        assert!(shelf.put(key, certificates(1), 200, 100));
        assert!(shelf.size <= room.octets);
    }
    assert!(shelf.get("a", 100).is_none() && shelf.get("c", 100).is_some());
    // It makes no room for what does not fit anyway.
    assert!(!shelf.put("d", certificates(3), 200, 100));
    assert!(shelf.get("b", 100).is_some() && shelf.get("c", 100).is_some());
    // What takes the place of another of its name counts once.
    assert!(shelf.put("c", certificates(1), 200, 100));
    assert_eq!(shelf.size, 2 * size);
    assert!(shelf.put("e", certificates(2), 200, 100));
    assert_eq!((shelf.held.len(), shelf.size), (1, 2 * size - 1));
}

#[test]
fn what_had_to_make_room_may_be_asked_for_again() {
    let room = Room {
        entries: 1,
        octets: 1000,
    };
    let mut shelf = Shelf::new(room, PacingSettings::default());
    shelf.pacing.ask("a", &host(), 10).unwrap();
    shelf.pacing.fetched_for("a", 1000, 10);
    assert!(shelf.put("a", nothing(), 2000, 100));
    assert!(shelf.put("b", nothing(), 2000, 100));
    assert!(shelf.get("a", 100).is_none());
    assert!(shelf.pacing.ask("a", &host(), 11).is_ok());
}
