//! opendkim, as somebody who signs mail before Kenin and checks it after.

use std::path::PathBuf;
use std::process::Command;

use crate::forge::keys::Key;
use crate::world::Folder;

/// A signer of `example.jp` and a checker who knows its public key without asking any DNS.
pub struct OpenDkim {
    folder: Folder,
}

impl OpenDkim {
    /// Makes a key and both configurations.
    pub fn new() -> Self {
        let folder = Folder::new();
        let dir = folder.path().display();
        let key = Key::rsa(2048);
        std::fs::write(folder.join("key.pem"), key.pem()).unwrap();
        let public = openssl::base64::encode_block(&key.spki());
        let record = format!("s._domainkey.example.jp v=DKIM1; k=rsa; p={public}\n");
        std::fs::write(folder.join("dns.txt"), record).unwrap();
        let common = "Syslog no\nRequireSafeKeys no\nSocket inet:1@127.0.0.1\n";
        let sign = format!(
            "{common}Mode s\nKeyFile {dir}/key.pem\nSelector s\nDomain example.jp\n\
             Canonicalization simple/simple\nInternalHosts 127.0.0.1\n"
        );
        std::fs::write(folder.join("sign.conf"), sign).unwrap();
        let verify = format!("{common}Mode v\nTestDNSData file:{dir}/dns.txt\n");
        std::fs::write(folder.join("verify.conf"), verify).unwrap();
        Self { folder }
    }

    fn write(&self, raw: &[u8], name: usize) -> PathBuf {
        let path = self.folder.join(format!("{name:05}.eml"));
        std::fs::write(&path, raw).unwrap();
        path
    }

    fn test(&self, configuration: &str, files: &[PathBuf]) -> String {
        let list: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
        let mut command = Command::new("/usr/sbin/opendkim");
        command.arg("-x").arg(self.folder.join(configuration));
        command.args(["-vv", "-t", &list.join(",")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        // What it would tell an MTA goes to one stream, its verdict to the other.
        String::from_utf8([output.stdout, b"\n".to_vec(), output.stderr].concat()).unwrap()
    }

    /// The mail with a DKIM-Signature on top.
    pub fn sign(&self, raw: &[u8]) -> Vec<u8> {
        let output = self.test("sign.conf", &[self.write(raw, 0)]);
        let start = output.find("hvalue='").expect("opendkim signs") + 8;
        let end = output[start..].find('\'').unwrap() + start;
        let value = output[start..end].replace('\n', "\r\n");
        let mut out = format!("DKIM-Signature: {value}\r\n").into_bytes();
        out.extend_from_slice(raw);
        out
    }

    /// The places of the mails whose signature does not hold.
    pub fn broken(&self, mails: &[Vec<u8>]) -> Vec<usize> {
        let files: Vec<_> = mails
            .iter()
            .enumerate()
            .map(|(n, raw)| self.write(raw, n))
            .collect();
        let mut broken = Vec::new();
        for (n, group) in files.chunks(50).enumerate() {
            let output = self.test("verify.conf", group);
            for (i, file) in group.iter().enumerate() {
                let good = output.lines().any(|line| {
                    line.contains(&file.display().to_string()) && line.ends_with("succeeded")
                });
                if !good {
                    broken.push(n * 50 + i);
                }
            }
        }
        broken
    }
}

impl Default for OpenDkim {
    fn default() -> Self {
        Self::new()
    }
}
