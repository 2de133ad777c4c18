//! `openssl cms -verify` with all that it can check of a signer: purpose, policies, revocation of the whole chain,
//! strength of the keys, the sender's address.

use std::process::Command;

use super::Trial;
use crate::forge::certificates::{AT_SECONDS, pem};
use crate::world::Folder;

/// The program with one root that it trusts.
pub struct OpenSsl {
    folder: Folder,
    root: String,
}

impl OpenSsl {
    /// Trusts this root (DER) and nothing of the system's.
    pub fn trusting(root: &[u8]) -> Self {
        Self {
            folder: Folder::new(),
            root: pem("CERTIFICATE", root),
        }
    }

    /// Whether it accepts a mail; its complaint otherwise.
    pub fn verify(&self, trial: &Trial) -> Result<(), String> {
        let (mail, store) = (self.folder.join("mail.eml"), self.folder.join("store.pem"));
        std::fs::write(&mail, &trial.mail).unwrap();
        // It has no option for revocation lists; they stand in the file of the anchors.
        let lists = trial.lists.iter().map(|list| pem("X509 CRL", list));
        let trusted: String = std::iter::once(self.root.clone()).chain(lists).collect();
        std::fs::write(&store, trusted).unwrap();
        let mut command = Command::new("openssl");
        command.args(["cms", "-verify", "-out", "/dev/null", "-in"]);
        command.arg(&mail).arg("-CAfile").arg(&store);
        command.args(["-no-CApath", "-no-CAstore", "-purpose", "smimesign"]);
        command.args(["-crl_check_all", "-extended_crl", "-use_deltas"]);
        // anyPolicy: a path without the policies that it requires itself is refused. Level 2 is from RSA-2048.
        command.args(["-policy", "2.5.29.32.0", "-auth_level", "2"]);
        command.args(["-attime", &AT_SECONDS.to_string()]);
        if let Some(from) = &trial.from {
            command.args(["-verify_email", from]);
        }
        let output = command.output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
