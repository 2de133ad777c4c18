//! Certificates of people in the store: found by mail address or fingerprint, and the addresses that are
//! registered to certificates in which they do not stand.
//!
//! Only a change of what issues others counts as a change of the store: the rest is asked for when it is
//! needed. What is found here is a candidate: whether it leads to an anchor, holds the address and is not revoked is
//! for others to decide.

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;

use crate::database::{Change, READING, ask, statement};
use crate::{Store, StoreError};

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An administrator put it there: pinned, nothing else replaces it.
    Admin,
    /// It came with mail whose signature was good.
    Harvest,
    /// A directory gave it.
    Directory,
}

impl Origin {
    /// The word in the store and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Harvest => "harvest",
            Self::Directory => "directory",
        }
    }

    /// Of a word of a later version nothing is known but that it is not pinned.
    pub(crate) fn of(word: &str) -> Self {
        let all = [Self::Admin, Self::Harvest, Self::Directory];
        let known = all.into_iter().find(|origin| origin.as_str() == word);
        known.unwrap_or(Self::Directory)
    }
}

/// A certificate as it lies in the store.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The certificate.
    pub certificate: Certificate,
    /// Where it came from.
    pub origin: Origin,
    /// Seen, but not to be used until somebody says so.
    pub quarantined: bool,
    /// Addresses that are registered to it.
    pub registered: Vec<String>,
}

impl Store {
    /// Keeps a certificate and its addresses; says whether that changed anything. One that is there stays as it is,
    /// unless an administrator puts it: then it is his from now on, wherever it came from before, and in use.
    pub async fn put_certificate(
        &self,
        tenant: &str,
        certificate: &Certificate,
        origin: Origin,
        quarantined: bool,
    ) -> Result<bool, StoreError> {
        // Alone, so that none is harvested for an address that is being pinned.
        let mut change = self.begin_alone(tenant).await?;
        let new = self.insert(&mut change, tenant, certificate, origin, quarantined);
        if !new.await? {
            return Ok(false);
        }
        match may_issue(certificate) {
            true => self.commit(tenant, change).await?,
            false => self.keep(change).await?,
        }
        Ok(true)
    }

    /// The same for many of one origin, in use at once; says how many of them changed anything.
    pub async fn put_certificates(
        &self,
        tenant: &str,
        certificates: &[Certificate],
        origin: Origin,
    ) -> Result<usize, StoreError> {
        let mut change = self.begin_alone(tenant).await?;
        let (mut new, mut issuers) = (0, false);
        for certificate in certificates {
            let inserted = self.insert(&mut change, tenant, certificate, origin, false);
            if inserted.await? {
                new += 1;
                issuers |= may_issue(certificate);
            }
        }
        match issuers {
            true => self.commit(tenant, change).await?,
            false => self.keep(change).await?,
        }
        Ok(new)
    }

    /// Puts one as a part of a change; says whether that changed anything.
    pub(crate) async fn insert(
        &self,
        change: &mut Change,
        tenant: &str,
        certificate: &Certificate,
        origin: Origin,
        quarantined: bool,
    ) -> Result<bool, StoreError> {
        let inserted = ask!(self, change.execute:
            "INSERT INTO certificate (tenant, sha256, subject, der, authority, not_after, origin, quarantined) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, sha256) DO UPDATE SET \
             origin = excluded.origin, quarantined = excluded.quarantined WHERE excluded.origin = 'admin' \
             AND (certificate.origin <> 'admin' OR certificate.quarantined > excluded.quarantined)",
            tenant, certificate.sha256().as_slice(), certificate.subject().canonical(), certificate.der(),
            i64::from(may_issue(certificate)), end_of(certificate), origin.as_str(), i64::from(quarantined))?;
        if inserted == 0 {
            return Ok(false);
        }
        for address in certificate.addresses().unwrap_or_default() {
            ask!(self, change.execute:
                "INSERT INTO address (tenant, address, sha256) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                tenant, address_key(&address), certificate.sha256().as_slice())?;
        }
        Ok(true)
    }

    /// Certificates in which this address stands or to which it is registered: imported ones, then others, then what is
    /// quarantined; of these, those that end last first;
    /// at most [`MAX_FOUND`].
    pub async fn certificates_by_address(
        &self,
        tenant: &str,
        address: &Address,
    ) -> Result<Vec<Kept>, StoreError> {
        let rows = ask!(self, fetch_all as Row: BY_ADDRESS,
            tenant, address_key(address))?;
        self.kept(tenant, rows).await
    }

    /// Certificates whose fingerprint begins like this (hex); at most [`MAX_FOUND`].
    pub async fn certificates_by_fingerprint(
        &self,
        tenant: &str,
        prefix: &str,
    ) -> Result<Vec<Kept>, StoreError> {
        let Some((first, last)) = fingerprints(prefix) else {
            return Ok(Vec::new());
        };
        let rows = ask!(self, fetch_all as Row:
            "SELECT der, origin, quarantined FROM certificate WHERE tenant = $1 \
             AND sha256 >= $2 AND sha256 <= $3 ORDER BY sha256 LIMIT $4",
            tenant, first.as_slice(), last.as_slice(), MAX_FOUND)?;
        self.kept(tenant, rows).await
    }

    /// The certificates behind the `after`-th, those that end first first.
    pub async fn certificates_by_end(
        &self,
        tenant: &str,
        before: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Kept>, StoreError> {
        let rows = ask!(self, fetch_all as Row:
            "SELECT der, origin, quarantined FROM certificate WHERE tenant = $1 AND not_after < $2 \
             ORDER BY not_after, sha256 LIMIT $3 OFFSET $4",
            tenant, before, limit, after)?;
        self.kept(tenant, rows).await
    }

    /// Lets a quarantined certificate be used; says whether it was one.
    pub async fn promote(&self, tenant: &str, sha256: &[u8; 32]) -> Result<bool, StoreError> {
        let statement = "UPDATE certificate SET quarantined = 0, origin = 'admin' \
                         WHERE tenant = $1 AND sha256 = $2 AND quarantined = 1 RETURNING authority";
        self.change_certificate(tenant, sha256, statement).await
    }

    /// Forgets a certificate and what is registered to it; says whether it was there.
    pub async fn forget(&self, tenant: &str, sha256: &[u8; 32]) -> Result<bool, StoreError> {
        // First of the two: what is left after a failure in between is a certificate that speaks for nobody.
        ask!(self, execute:
            "DELETE FROM registration WHERE tenant = $1 AND sha256 = $2",
            tenant, sha256.as_slice())?;
        let statement =
            "DELETE FROM certificate WHERE tenant = $1 AND sha256 = $2 RETURNING authority";
        self.change_certificate(tenant, sha256, statement).await
    }

    async fn change_certificate(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        statement: &'static str,
    ) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        let authority =
            ask!(self, change.fetch_optional as (i64,): statement, tenant, sha256.as_slice())?;
        match authority {
            Some((0,)) => self.keep(change).await?,
            Some(_) => self.commit(tenant, change).await?,
            None => {}
        }
        Ok(authority.is_some())
    }

    /// Registers an address to a certificate; says whether it was new.
    pub async fn register(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        address: &Address,
    ) -> Result<bool, StoreError> {
        let new = ask!(self, execute:
            "INSERT INTO registration (tenant, sha256, address) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            tenant, sha256.as_slice(), address_key(address))?;
        Ok(new > 0)
    }

    /// Takes a registration back; says whether there was one.
    pub async fn unregister(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        address: &Address,
    ) -> Result<bool, StoreError> {
        let gone = ask!(self, execute:
            "DELETE FROM registration WHERE tenant = $1 AND sha256 = $2 AND address = $3",
            tenant, sha256.as_slice(), address_key(address))?;
        Ok(gone > 0)
    }

    /// Whether an address is registered to a certificate.
    pub async fn is_registered(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        address: &Address,
    ) -> Result<bool, StoreError> {
        let (found,) = ask!(self, fetch_one as (bool,):
            "SELECT EXISTS (SELECT 1 FROM registration WHERE tenant = $1 AND sha256 = $2 AND address = $3)",
            tenant, sha256.as_slice(), address_key(address))?;
        Ok(found)
    }

    /// All registrations: fingerprints and addresses.
    pub async fn registrations(&self, tenant: &str) -> Result<Vec<([u8; 32], String)>, StoreError> {
        let mut reading = self.begin_reading().await?;
        let rows = statement!(self, reading.fetch_all as (Vec<u8>, String):
            "SELECT sha256, address FROM registration WHERE tenant = $1 ORDER BY sha256, address",
            tenant);
        let rows = self.attempt(READING, rows).await?;
        let all = rows.into_iter().filter_map(|(sha256, address)| {
            let sha256 = <[u8; 32]>::try_from(sha256).ok()?;
            Some((sha256, address))
        });
        Ok(all.collect())
    }

    async fn registered(&self, tenant: &str, sha256: &[u8; 32]) -> Result<Vec<String>, StoreError> {
        let rows = ask!(self, fetch_all as (String,):
            "SELECT address FROM registration WHERE tenant = $1 AND sha256 = $2 ORDER BY address",
            tenant, sha256.as_slice())?;
        Ok(rows.into_iter().map(|(address,)| address).collect())
    }

    async fn kept(&self, tenant: &str, rows: Vec<Row>) -> Result<Vec<Kept>, StoreError> {
        let mut all = Vec::with_capacity(rows.len());
        for (der, origin, quarantined) in rows {
            let certificate = self.certificate(&der)?;
            all.push(Kept {
                registered: self.registered(tenant, certificate.sha256()).await?,
                certificate,
                origin: Origin::of(&origin),
                quarantined: quarantined != 0,
            });
        }
        Ok(all)
    }
}

/// A certificate in DER, where it came from, and 1 where it is quarantined.
type Row = (Vec<u8>, String, i64);

/// Whether it is a certificate of an authority.
pub(crate) fn may_issue(certificate: &Certificate) -> bool {
    let basic = certificate.basic_constraints().ok().flatten();
    basic.is_some_and(|basic| basic.ca)
}

/// When it ends; 0 where that cannot be read.
pub(crate) fn end_of(certificate: &Certificate) -> i64 {
    certificate.not_after().map_or(0, |time| time.0)
}

/// The first and the last fingerprint that begin like this; nothing where none does.
fn fingerprints(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    let filled = |digit: u32| {
        let written = prefix.chars().map(|c| c.to_digit(16));
        let mut digits = written.chain(std::iter::repeat(Some(digit)));
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            let (high, low) = (digits.next()??, digits.next()??);
            *byte = u8::try_from((high << 4) | low).ok()?;
        }
        Some(bytes)
    };
    if prefix.len() > 2 * 32 {
        return None;
    }
    Some((filled(0)?, filled(15)?))
}

/// One spelling for all that are the same address: local parts in ASCII compare without case (RFC 8550 §3), others
/// octet by octet (RFC 9598 §5).
pub fn address_key(address: &Address) -> String {
    let local = match address.is_ascii() {
        true => address.local().to_ascii_lowercase(),
        false => address.local().to_owned(),
    };
    format!("{local}@{}", address.domain().to_ascii_lowercase())
}

/// Certificates that one question brings at most.
pub const MAX_FOUND: i64 = 16;

/// A [`Row`], and behind it what the holder said. What was imported comes first, and what is quarantined last, so that others do
/// not take its place among so many. The sum keeps the order from being taken from an index: then all
/// certificates would be read for one of them. The limit is [`MAX_FOUND`], and no value: for another value, SQLite prepares a
/// statement anew.
pub(crate) const BY_ADDRESS: &str = "SELECT c.der, c.origin, c.quarantined, s.ciphers, s.oaep FROM certificate c \
     LEFT JOIN capability s ON s.tenant = c.tenant AND s.sha256 = c.sha256 \
     WHERE c.tenant = $1 AND c.sha256 IN \
     (SELECT sha256 FROM address WHERE tenant = $1 AND address = $2 \
      UNION SELECT sha256 FROM registration WHERE tenant = $1 AND address = $2) \
     ORDER BY (c.origin = 'admin') DESC, c.quarantined, c.not_after + 0 DESC, c.sha256 LIMIT 16";

#[cfg(test)]
mod tests;
