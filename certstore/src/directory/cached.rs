//! A directory behind a cache: what it said lately is not asked again.
//!
//! What comes from the cache is sifted like what comes from the directory, so that a lie in it is worth no more.

use std::time::Duration;

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::der::{Reader, write};

use super::{Directory, DirectoryError, Found};
use crate::cache::AnswerCache;
use crate::holders::address_key;

/// What was found, and where.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What was found.
    pub found: Found,
    /// The directory said it earlier; it was not asked now.
    pub cached: bool,
}

impl Directory {
    /// As [`Self::ask`], but asks a cache first and tells it the answer: for ten minutes, and for one that there is
    /// nobody. That a directory fails is never remembered there.
    ///
    /// # Errors
    ///
    /// Why the directory gave no answer.
    pub async fn ask_through(
        &self,
        cache: Option<&dyn AnswerCache>,
        address: &Address,
    ) -> Result<Asked, DirectoryError> {
        let Some(cache) = cache else {
            let found = self.ask(address).await?;
            return Ok(Asked {
                found,
                cached: false,
            });
        };
        let key = self.key(address);
        if let Some(found) = cache
            .get(KIND, &key)
            .await
            .and_then(|bytes| decode(&bytes, address))
        {
            return Ok(Asked {
                found,
                cached: true,
            });
        }
        let found = self.ask(address).await?;
        let life = match found.certificates.is_empty() {
            true => NOBODY,
            false => SOMEBODY,
        };
        cache.put(KIND, &key, &encode(&found), life).await;
        Ok(Asked {
            found,
            cached: false,
        })
    }

    /// Tells this question from others: another base or attribute is another question.
    fn key(&self, address: &Address) -> Vec<u8> {
        let settings = &self.settings;
        let text = |text: &str| write::octet_string(text.as_bytes());
        let list =
            |all: &[String]| write::seq(&all.iter().map(|one| text(one)).collect::<Vec<_>>());
        write::seq(&[
            text(&settings.server.to_string()),
            text(&settings.base),
            list(&settings.attributes),
            list(&settings.address_attributes),
            text(&address_key(address)),
        ])
    }
}

fn encode(found: &Found) -> Vec<u8> {
    let all: Vec<&[u8]> = found.certificates.iter().map(Certificate::der).collect();
    write::seq(&all)
}

/// None where it is not whole: then the directory is asked.
fn decode(bytes: &[u8], address: &Address) -> Option<Found> {
    let mut all = Reader::new(bytes);
    let mut list = all.sequence().ok()?;
    all.finish().ok()?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        certificates.push(Certificate::from_der(list.any().ok()?.raw).ok()?);
    }
    let empty = certificates.is_empty();
    let mut found = Found::default();
    if !found.take(address, certificates) && !empty {
        return None;
    }
    found.sort();
    Some(found)
}

const KIND: &str = "directory";
const SOMEBODY: Duration = Duration::from_secs(600);
const NOBODY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpki::ca;

    fn found(certificates: Vec<Certificate>) -> Found {
        Found {
            certificates,
            ..Found::default()
        }
    }

    #[test]
    fn what_was_kept_comes_back() {
        let authority = ca("Directory CA");
        let alice = authority.leaf("Alice", "alice@example.jp");
        let address = Address::parse("Alice@example.jp").unwrap();
        let one = found(vec![alice.clone()]);
        assert_eq!(decode(&encode(&one), &address), Some(one));
        let nobody = found(Vec::new());
        assert_eq!(decode(&encode(&nobody), &address), Some(nobody));
        // A certificate of somebody else is worth nothing, wherever it lay.
        let bob = Address::parse("bob@example.jp").unwrap();
        assert_eq!(decode(&encode(&found(vec![alice])), &bob), None);
    }

    #[test]
    fn what_is_broken_is_none() {
        let address = Address::parse("alice@example.jp").unwrap();
        let alice = ca("Directory CA").leaf("Alice", "alice@example.jp");
        let whole = encode(&found(vec![alice]));
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut], &address), None, "{cut}");
        }
        assert_eq!(decode(b"\x30\x02\x05\x00", &address), None);
        assert_eq!(decode(&[&whole[..], b"\x05\x00"].concat(), &address), None);
    }
}
