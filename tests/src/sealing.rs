//! The key and domain in whose name a gateway seals what it changes (ARC), as its settings have them.

use crate::dns::NameServer;
use crate::forge::keys::Key;
use crate::kenin::Gateway;
use crate::world::write_secret;

/// Tags in every Subject but those of `plain.example`; Japanese ones for `ja.example`.
pub const TAGS: &str = "[[rule]]\nwhen = { recipient_domain = \"plain.example\" }\nthen = { stamp = \"headers\" }\n\
                    [[rule]]\nwhen = { recipient_domain = \"ja.example\" }\n\
                    then = { stamp = \"subject\", language = \"ja\" }\n\
                    [[rule]]\nwhen = { domain = \"*\" }\nthen = { stamp = \"subject\" }\n";

/// A sealing gateway's key, and its domain.
pub struct Sealing {
    key: Key,
    domain: &'static str,
}

impl Sealing {
    /// A new key.
    pub fn new(domain: &'static str) -> Self {
        let key = Key::rsa(2048);
        Self { key, domain }
    }

    /// What a name server would say of the public key: its name and the text there.
    pub fn record(&self) -> (String, String) {
        let public = openssl::base64::encode_block(&self.key.spki());
        let name = format!("kenin._domainkey.{}", self.domain);
        (name, format!("v=DKIM1; k=rsa; p={public}"))
    }

    /// The table for `kenin.toml`.
    pub fn lines(&self) -> String {
        format!(
            "\n[arc]\ndomain = \"{}\"\nselector = \"kenin\"\nkey = \"arc.key\"\n",
            self.domain
        )
    }

    /// Puts the key where the table says.
    pub fn put_key(&self, gateway: &Gateway) {
        write_secret(&gateway.folder.join("arc.key"), &self.key.pem());
    }

    /// Changes the settings that `kenin init` wrote: tags, seals, and this name server. To be started
    /// (again) after that.
    pub fn switch_on(&self, gateway: &Gateway, dns: &NameServer) {
        let config = std::fs::read_to_string(gateway.config()).unwrap();
        let config = config.replace("\n[dns]\n", "\n") + &self.lines() + &dns.lines();
        std::fs::write(gateway.config(), config).unwrap();
        std::fs::write(gateway.folder.join("mail.toml"), TAGS).unwrap();
        self.put_key(gateway);
    }
}
