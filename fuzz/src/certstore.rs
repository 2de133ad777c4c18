//! Targets for what `certstore/` reads of strangers: answers of directories, and URLs in certificates.

use kenin_certstore::directory::first_message;
use kenin_certstore::fetch::{Place, Ports, Scheme};

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

/// Of an answer, in octets.
const LIMIT: usize = 64 << 10;
