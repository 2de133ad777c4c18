//! opendkim, as somebody who signs mail before Kenin and checks it after.

use std::path::PathBuf;
use std::process::Command;

use crate::forge::keys::Key;
use crate::world::{Folder, Process};

/// A signer of `example.jp` and a checker who knows its public key without asking any DNS.
pub struct OpenDkim {
    folder: Folder,
    record: String,
}

impl OpenDkim {
    /// Makes a key and both configurations; a signature holds for the very bytes only.
    pub fn new() -> Self {
        Self::signing("simple/simple")
    }

    /// The same with a canonicalization of one's choice.
    pub fn signing(canonicalization: &str) -> Self {
        let folder = Folder::new();
        let dir = folder.path().display();
        let key = Key::rsa(2048);
        std::fs::write(folder.join("key.pem"), key.pem()).unwrap();
        let public = openssl::base64::encode_block(&key.spki());
        let record = format!("v=DKIM1; k=rsa; p={public}");
        std::fs::write(folder.join("dns.txt"), format!("{KEY_NAME} {record}\n")).unwrap();
        let common = "Syslog no\nRequireSafeKeys no\nSocket inet:1@127.0.0.1\n";
        let sign = format!(
            "{common}Mode s\nKeyFile {dir}/key.pem\nSelector s\nDomain example.jp\n\
             Canonicalization {canonicalization}\nInternalHosts 127.0.0.1\n"
        );
        std::fs::write(folder.join("sign.conf"), sign).unwrap();
        let verify = format!("{common}UMask 000\nMode v\nTestDNSData file:{dir}/dns.txt\n");
        std::fs::write(folder.join("verify.conf"), verify).unwrap();
        Self { folder, record }
    }

    /// What a name server would say of the public key: its name and the text there.
    pub fn record(&self) -> (String, String) {
        (KEY_NAME.to_owned(), self.record.clone())
    }

    /// Starts the checker as a milter, at a socket as opendkim writes it, which anybody may use.
    pub fn serve(&self, socket: &str) -> Process {
        let mut command = Command::new("/usr/sbin/opendkim");
        command.arg("-x").arg(self.folder.join("verify.conf"));
        command.args(["-f", "-p", socket]);
        Process::start(command, &self.folder.join("opendkim.log"))
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

const KEY_NAME: &str = "s._domainkey.example.jp";
