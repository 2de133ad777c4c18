//! Certificates of people mail is encrypted for, and what their holders said they can read: one question for each address,
//! since it is asked for each mail.

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;

use crate::database::ask;
use crate::holders::BY_ADDRESS;
use crate::{KeptCapabilities, Origin, Store, StoreError, address_key};

/// A certificate as it lies in the store, for mail to its holder.
#[derive(Clone, Debug)]
pub struct KeptRecipient {
    /// The certificate.
    pub certificate: Certificate,
    /// Where it came from.
    pub origin: Origin,
    /// Seen, but not to be used until somebody says so.
    pub quarantined: bool,
    /// What its holder said last; nothing where nobody heard it.
    pub said: Option<KeptCapabilities>,
}

impl Store {
    /// The same certificates as [`Store::certificates_by_address`] finds, in the same order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recipients_by_address(
        &self,
        tenant: &str,
        address: &Address,
    ) -> Result<Vec<KeptRecipient>, StoreError> {
        let rows = ask!(self, fetch_all as Row: BY_ADDRESS,
            tenant, address_key(address))?;
        rows.into_iter().map(|row| self.recipient(row)).collect()
    }

    fn recipient(&self, row: Row) -> Result<KeptRecipient, StoreError> {
        let (der, origin, quarantined, ciphers, oaep) = row;
        let said = ciphers.zip(oaep);
        Ok(KeptRecipient {
            certificate: self.certificate(&der)?,
            origin: Origin::of(&origin),
            quarantined: quarantined != 0,
            said: said.map(|(ciphers, oaep)| KeptCapabilities::of(&ciphers, oaep)),
        })
    }
}

/// A certificate in DER, where it came from, 1 where it is quarantined, and what its holder said.
type Row = (Vec<u8>, String, i64, Option<String>, Option<i64>);

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::{Aes, ContentKind};

    use super::*;
    use crate::DEFAULT_TENANT;
    use crate::testpki::ca;
    use crate::testplace::{Place, on_both};

    on_both!(recipients_are_told_with_what_they_said);

    async fn recipients_are_told_with_what_they_said(place: &Place) {
        let store = place.open().await;
        let (ca, alice) = (ca("A"), Address::parse("Alice@example.jp").unwrap());
        let found = async |tenant: &str| {
            let found = store.recipients_by_address(tenant, &alice).await.unwrap();
            let told = found.into_iter().map(|one| {
                (
                    *one.certificate.sha256(),
                    one.origin,
                    one.quarantined,
                    one.said,
                )
            });
            told.collect::<Vec<_>>()
        };
        assert!(found(DEFAULT_TENANT).await.is_empty());
        let [silent, heard, waiting] =
            [1000, 3000, 2000].map(|end| ca.leaf_for("Alice", &["alice@example.jp"], end));
        // The address does not stand in it.
        let card = ca.leaf_for("card", &[], 4000);
        for (one, origin, quarantined) in [
            (&silent, Origin::Admin, false),
            (&heard, Origin::Directory, false),
            (&waiting, Origin::Harvest, true),
            (&card, Origin::Admin, false),
        ] {
            let put = store.put_certificate(DEFAULT_TENANT, one, origin, quarantined);
            assert!(put.await.unwrap());
        }
        let register = store.register(DEFAULT_TENANT, card.sha256(), &alice);
        assert!(register.await.unwrap());
        let put = store.put_certificate("other", &heard, Origin::Admin, false);
        assert!(put.await.unwrap());
        let much = KeptCapabilities {
            ciphers: vec![
                ContentKind::AesGcm(Aes::Bits256),
                ContentKind::AesCbc(Aes::Bits128),
            ],
            oaep: true,
        };
        let nothing = KeptCapabilities::default();
        for (tenant, one, said) in [
            (DEFAULT_TENANT, &heard, &much),
            (DEFAULT_TENANT, &waiting, &nothing),
            ("other", &silent, &much),
        ] {
            let put = store.put_capabilities(tenant, one.sha256(), said, 1000);
            put.await.unwrap();
        }
        assert_eq!(
            found(DEFAULT_TENANT).await,
            [
                (*card.sha256(), Origin::Admin, false, None),
                (*silent.sha256(), Origin::Admin, false, None),
                (*heard.sha256(), Origin::Directory, false, Some(much)),
                (*waiting.sha256(), Origin::Harvest, true, Some(nothing)),
            ]
        );
        assert_eq!(
            found("other").await,
            [(*heard.sha256(), Origin::Admin, false, None)]
        );
    }
}
