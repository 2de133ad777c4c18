//! Certificates that came with good mail: kept for later, and kept away from what an administrator said.
//!
//! Whether the mail was good is for the caller to know. What is decided here is what such a certificate may become:
//! it never takes the place of another one, and never issues anything.

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;

use crate::database::ask;
use crate::holders::{address_key, end_of, may_issue};
use crate::{Origin, Store, StoreError};

impl Store {
    /// Keeps the certificate of somebody who signed mail from this address; says whether it was new. With `use_it` it
    /// may be used at once, without it waits for somebody to promote it.
    ///
    /// It always waits where any of its addresses has a certificate that an administrator put there, or one in use
    /// that ends no sooner: an old message is no news. One that does not hold the address, or that may issue others,
    /// is not kept.
    ///
    /// # Errors
    /// When the store fails; then nothing is kept.
    pub async fn harvest(
        &self,
        tenant: &str,
        certificate: &Certificate,
        address: &Address,
        use_it: bool,
    ) -> Result<bool, StoreError> {
        let addresses = certificate.addresses().unwrap_or_default();
        let key = address_key(address);
        if may_issue(certificate) || !addresses.iter().any(|own| address_key(own) == key) {
            return Ok(false);
        }
        // Alone: what two messages bring at once must not miss each other.
        let mut change = self.begin_alone(tenant).await?;
        let mut quarantined = !use_it;
        for own in &addresses {
            if quarantined {
                break;
            }
            let (taken,) = ask!(self, change.fetch_one as (bool,):
                "SELECT EXISTS (SELECT 1 FROM certificate c WHERE c.tenant = $1 \
                 AND (c.origin = 'admin' OR (c.quarantined = 0 AND c.not_after >= $3)) AND c.sha256 IN \
                 (SELECT sha256 FROM address WHERE tenant = $1 AND address = $2 \
                  UNION SELECT sha256 FROM registration WHERE tenant = $1 AND address = $2))",
                tenant, address_key(own), end_of(certificate))?;
            quarantined = taken;
        }
        let new = self.insert(
            &mut change,
            tenant,
            certificate,
            Origin::Harvest,
            quarantined,
        );
        if !new.await? {
            return Ok(false);
        }
        self.keep(change).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpki::ca;
    use crate::testplace::{Place, on_both};

    on_both!(
        what_is_harvested_waits_unless_it_may_be_used,
        what_an_administrator_put_there_stays_the_only_one_in_use,
        only_what_ends_later_is_used,
        what_does_not_hold_the_address_or_may_issue_is_not_kept,
    );

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    async fn found(store: &Store, who: &str) -> Vec<(Origin, bool)> {
        let found = store
            .certificates_by_address("default", &address(who))
            .await;
        let found = found.unwrap().into_iter();
        found.map(|kept| (kept.origin, kept.quarantined)).collect()
    }

    async fn what_is_harvested_waits_unless_it_may_be_used(place: &Place) {
        let store = place.open().await;
        let (ca, alice) = (ca("A"), address("alice@example.jp"));
        let one = ca.leaf_for("one", &["alice@example.jp"], 1000);
        assert!(store.harvest("default", &one, &alice, false).await.unwrap());
        // Seen again it stays what it is.
        assert!(!store.harvest("default", &one, &alice, true).await.unwrap());
        assert_eq!(
            found(&store, "alice@example.jp").await,
            [(Origin::Harvest, true)]
        );
        let two = ca.leaf_for("two", &["Bob@example.jp"], 1000);
        let bob = address("bob@EXAMPLE.jp");
        assert!(store.harvest("default", &two, &bob, true).await.unwrap());
        assert_eq!(
            found(&store, "bob@example.jp").await,
            [(Origin::Harvest, false)]
        );
        assert!(found(&store, "carol@example.jp").await.is_empty());
        assert_eq!(store.revision("default").await.unwrap(), 0);
    }

    /// PKI-07: whoever gets a certificate for somebody's address must not get that person's mail by writing once.
    async fn what_an_administrator_put_there_stays_the_only_one_in_use(place: &Place) {
        let store = place.open().await;
        let (ca, alice) = (ca("A"), address("alice@example.jp"));
        let pinned = ca.leaf_for("pinned", &["alice@example.jp"], 1000);
        let put = store.put_certificate("default", &pinned, Origin::Admin, false);
        assert!(put.await.unwrap());
        let other = ca.leaf_for("other", &["alice@example.jp"], 9000);
        assert!(
            store
                .harvest("default", &other, &alice, true)
                .await
                .unwrap()
        );
        assert_eq!(
            found(&store, "alice@example.jp").await,
            [(Origin::Admin, false), (Origin::Harvest, true)]
        );
        // Nor by another address of its own that the certificate holds as well.
        let both = ca.leaf_for("both", &["mallory@example.jp", "alice@example.jp"], 9000);
        let mallory = address("mallory@example.jp");
        assert!(
            store
                .harvest("default", &both, &mallory, true)
                .await
                .unwrap()
        );
        assert_eq!(
            found(&store, "mallory@example.jp").await,
            [(Origin::Harvest, true)]
        );
        // Nor where the address is registered to a certificate that an administrator put there.
        let card = ca.leaf_for("card", &[], 1000);
        let put = store.put_certificate("default", &card, Origin::Admin, false);
        assert!(put.await.unwrap());
        let carol = address("carol@example.jp");
        assert!(
            store
                .register("default", card.sha256(), &carol)
                .await
                .unwrap()
        );
        let own = ca.leaf_for("own", &["carol@example.jp"], 9000);
        assert!(store.harvest("default", &own, &carol, true).await.unwrap());
        assert_eq!(
            found(&store, "carol@example.jp").await,
            [(Origin::Admin, false), (Origin::Harvest, true)]
        );
        // Another tenant has its own administrator.
        assert!(store.harvest("other", &other, &alice, true).await.unwrap());
        let elsewhere = store
            .certificates_by_address("other", &alice)
            .await
            .unwrap();
        assert!(!elsewhere[0].quarantined);
    }

    async fn only_what_ends_later_is_used(place: &Place) {
        let store = place.open().await;
        let (ca, alice) = (ca("A"), address("alice@example.jp"));
        for (name, end) in [("new", 2000), ("old", 1000), ("newest", 3000)] {
            let leaf = ca.leaf_for(name, &["alice@example.jp"], end);
            assert!(store.harvest("default", &leaf, &alice, true).await.unwrap());
        }
        let kept = store
            .certificates_by_address("default", &alice)
            .await
            .unwrap();
        let kept = kept
            .iter()
            .map(|one| (one.certificate.subject().to_string(), one.quarantined));
        assert_eq!(
            kept.collect::<Vec<_>>(),
            [
                ("CN=newest".to_owned(), false),
                ("CN=new".to_owned(), false),
                ("CN=old".to_owned(), true)
            ]
        );
    }

    async fn what_does_not_hold_the_address_or_may_issue_is_not_kept(place: &Place) {
        let store = place.open().await;
        let (ca, alice) = (ca("A"), address("alice@example.jp"));
        let other = ca.leaf_for("other", &["bob@example.jp"], 1000);
        let none = ca.leaf_for("none", &[], 1000);
        for odd in [&other, &none, &ca.certificate] {
            assert!(!store.harvest("default", odd, &alice, true).await.unwrap());
        }
        let all = store.certificates_by_end("default", i64::MAX, 0, 10).await;
        assert!(all.unwrap().is_empty());
    }
}
