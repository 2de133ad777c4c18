//! Targets for what `certstore/` reads of strangers: answers of directories and of web servers, and URLs in
//! certificates.

use kenin_certstore::directory::first_message;
use kenin_certstore::fetch::{Place, Ports, Scheme, answer_of};

/// A message ends within what came and within its limit, says the same without what follows it, is not whole a moment
/// before its end, and nothing of it can end a line of ours.
pub fn ldap_message(data: &[u8]) {
    let (end, said) = match first_message(data, LIMIT) {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            return;
        }
    };
    assert!(end <= data.len() && end <= LIMIT);
    assert!(!said.contains(char::is_control), "{said:?}");
    let (whole, _) = data.split_at(end);
    let again = first_message(whole, LIMIT).ok().flatten();
    assert_eq!(again, Some((end, said)));
    for cut in 0..end {
        let (part, _) = whole.split_at(cut);
        assert!(matches!(first_message(part, LIMIT), Ok(None)), "{cut}");
    }
}

/// A URL that is taken names the same when it is written again, at a port that is asked, and nothing in it can split a
/// request or a line of ours.
pub fn place(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let ports = Ports::default();
    let place = match Place::parse(text, &ports) {
        Ok(place) => place,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            return;
        }
    };
    assert!(ports.permit(place.port()));
    assert!(place.target().starts_with('/'));
    assert!(place.target().bytes().all(|byte| byte.is_ascii_graphic()));
    let directory = matches!(place.scheme(), Scheme::Ldap | Scheme::Ldaps);
    assert_eq!(place.search().is_some(), directory);
    if let Some(search) = place.search() {
        assert!(!search.dn().is_empty() && !search.dn().contains(char::is_control));
    }
    // A slash that is added, or an address in its usual spelling, may make it too long.
    let written = place.to_string();
    if written.len() <= text.len() {
        assert_eq!(Place::parse(&written, &ports).as_ref(), Ok(&place));
    }
}

/// An answer comes to the same however its octets are cut, its body is as long as it was said to be, and nothing in
/// it can end a line of ours, or lead elsewhere than to a place that reads.
pub fn http_answer(data: &[u8]) {
    let most = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    let answered = |data: &[u8], piece| {
        let answer = answer_of(data, piece, most);
        answer.map_err(|error| error.to_string())
    };
    let whole = answered(data, LIMIT);
    for piece in [1, 7] {
        assert_eq!(answered(data, piece), whole, "the cut changes nothing");
    }
    match whole {
        Ok((None, length, body)) => {
            assert!(body.len() <= LIMIT);
            assert_eq!(u64::try_from(body.len()), Ok(length));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let again = [head.as_bytes(), &body].concat();
            assert_eq!(answered(&again, LIMIT), Ok((None, length, body)));
        }
        Ok((Some(location), _, body)) => {
            assert!(body.is_empty());
            let ports = Ports::default();
            let from = Place::parse("http://ca.example/list.crl", &ports);
            let next = from.and_then(|place| place.redirected(&location, &ports));
            let shown = next.map_or_else(|error| error.to_string(), |place| place.to_string());
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
        Err(error) => assert!(!error.contains(char::is_control), "{error:?}"),
    }
}

/// Of an answer, in octets.
const LIMIT: usize = 64 << 10;
