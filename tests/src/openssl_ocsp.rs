//! An OCSP responder (RFC 6960) as a process of its own, which can be killed and made silent as any other:
//! a small web server has the `openssl` program make each answer.
//!
//! `openssl ocsp -port` would listen on every address of the machine, and this harness knows loopback only. Its
//! clock is the system's.

use std::net::SocketAddr;
use std::process::Command;

use crate::forge::Town;
use crate::forge::certificates::{Person, pem};
use crate::world::{Folder, Process, free_address};

/// A responder for what the town's issuer has issued.
pub struct Responder {
    /// Where it listens.
    pub address: SocketAddr,
    folder: Folder,
    process: Option<Process>,
}

impl Responder {
    /// One that knows these as good, those as revoked, and nobody else.
    pub fn start(good: &[&Person], revoked: &[&Person]) -> Self {
        let (folder, issuer) = (Folder::new(), &Town::get().issuer);
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        let certificate = pem("CERTIFICATE", &issuer.certificate);
        write("issuer.pem", certificate.as_bytes());
        write("issuer.key", &issuer.key.pem());
        let mut responder = Self {
            address: free_address(),
            folder,
            process: None,
        };
        responder.know(good, revoked);
        responder.restart();
        responder
    }

    /// From now on it knows these, and nobody else.
    pub fn know(&self, good: &[&Person], revoked: &[&Person]) {
        let valid = good.iter().map(|person| ("V", "", hex(&person.serial)));
        let ended = |person: &&Person| ("R", "230101000000Z,keyCompromise", hex(&person.serial));
        // Two of the same name would be one too many for it.
        let lines = valid
            .chain(revoked.iter().map(ended))
            .map(|(word, date, serial)| {
                format!("{word}\t480101000000Z\t{date}\t{serial}\tunknown\t/CN={serial}\n")
            });
        let lines: String = lines.collect();
        std::fs::write(self.folder.join("index.txt"), lines).unwrap();
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Starts it (again).
    pub fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, &self.address.port().to_string()]);
        command.args(["openssl", "ocsp", "-ndays", "1"]);
        for (option, file) in [
            ("-index", "index.txt"),
            ("-CA", "issuer.pem"),
            ("-rsigner", "issuer.pem"),
            ("-rkey", "issuer.key"),
        ] {
            command.arg(option).arg(self.folder.join(file));
        }
        command.args(["-reqin", "/dev/stdin", "-respout", "/dev/stdout"]);
        let mut process = Process::start(command, &self.folder.join("responder.log"));
        process.ready(self.address);
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// SIGSTOP: connections are taken by its system, and nobody answers.
    pub fn pause(&mut self) {
        if let Some(process) = &mut self.process {
            process.pause();
        }
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        if let Some(process) = &mut self.process {
            process.resume();
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// Hands each question that is posted to a command, and its output back.
const SCRIPT: &str = r#"
import http.server, subprocess, sys
port, *command = sys.argv[1:]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        made = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=True).stdout
        self.send_response(200)
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
Server(("127.0.0.1", int(port)), Answer).serve_forever()
"#;
