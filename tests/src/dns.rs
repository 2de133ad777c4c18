//! A domain name system of one's own: dnsmasq, which knows what it is told and nobody else.

use std::net::SocketAddr;
use std::process::Command;

use crate::world::{Folder, Process, free_address};

/// A name server with a few records.
pub struct NameServer {
    /// Where it answers.
    pub address: SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl NameServer {
    /// Starts one with these TXT records; every other name does not exist.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(texts: &[(String, String)]) -> Self {
        let (folder, address) = (Folder::new(), free_address());
        let mut lines = format!(
            "port={}\nlisten-address={}\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\n\
             pid-file={}\nlocal=/#/\n",
            address.port(),
            address.ip(),
            folder.join("pid").display()
        );
        for (name, text) in texts {
            // Strings of at most 255 octets; dnsmasq takes commas between them.
            let pieces: Vec<String> = text
                .as_bytes()
                .chunks(200)
                .map(|piece| format!("\"{}\"", String::from_utf8_lossy(piece)))
                .collect();
            lines.push_str(&format!("txt-record={name},{}\n", pieces.join(",")));
        }
        let file = folder.join("dnsmasq.conf");
        std::fs::write(&file, lines).unwrap();
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command.arg("--keep-in-foreground");
        command.arg(format!("--conf-file={}", file.display()));
        let mut process = Process::start(command, &folder.join("dnsmasq.log"));
        // It answers by TCP too, which shows that it is there.
        process.ready(address);
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }

    /// The lines of `kenin.toml` that have it asked.
    pub fn lines(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\n", self.address)
    }
}
