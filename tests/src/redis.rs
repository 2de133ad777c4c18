//! A real Redis over TLS, started and stopped here, and a few words of its protocol to look into it and to spoil
//! what lies there.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use crate::slapd::write_server_certificate;
use crate::world::{Folder, Process, free_address};

/// Its password.
pub const PASSWORD: &str = "hunter2 & more";

/// A running Redis.
pub struct Redis {
    /// Over TLS.
    pub address: SocketAddr,
    folder: Folder,
    process: Process,
}

impl Redis {
    /// An empty one.
    pub fn start() -> Self {
        let folder = Folder::new();
        let authority = write_server_certificate(folder.path());
        std::fs::write(folder.join("ca.pem"), authority).unwrap();
        let address = free_address();
        let process = launch(&folder, address);
        Self {
            address,
            folder,
            process,
        }
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.folder, self.address);
    }

    /// The authority of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Its socket on this machine.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// SIGKILL: nothing is saved.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: it is there, and says nothing.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.ask(&[b"KEYS", b"*"])
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Vec<u8> {
        self.ask(&[b"GET", key]).remove(0)
    }

    /// Puts another value under a key; it lives as long as the one before.
    pub fn set(&self, key: &[u8], value: &[u8]) {
        let said = self.ask(&[b"SET", key, value, b"KEEPTTL"]);
        assert_eq!(said, [b"OK"]);
    }

    /// How many seconds a key has to live.
    pub fn life(&self, key: &[u8]) -> i64 {
        let said = self.ask(&[b"TTL", key]).remove(0);
        String::from_utf8(said).unwrap().parse().unwrap()
    }

    /// Forgets everything.
    pub fn flush(&self) {
        assert_eq!(self.ask(&[b"FLUSHALL"]), [b"OK"]);
    }

    /// Says who asks, and asks.
    fn ask(&self, words: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        stream
            .write_all(&command(&[b"AUTH", PASSWORD.as_bytes()]))
            .unwrap();
        assert_eq!(reply(&mut reader), [b"OK"]);
        stream.write_all(&command(words)).unwrap();
        reply(&mut reader)
    }
}

/// Starts the program with the files of this folder.
fn launch(folder: &Folder, address: SocketAddr) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--bind", "127.0.0.1", "--save", ""])
        .args(["--tls-port", &address.port().to_string()])
        .args(["--tls-auth-clients", "no", "--requirepass", PASSWORD]);
    for (option, file) in [
        ("--tls-cert-file", "server.pem"),
        ("--tls-key-file", "server.key"),
        ("--tls-ca-cert-file", "ca.pem"),
        ("--unixsocket", "redis.sock"),
        ("--dir", "."),
    ] {
        command.arg(option).arg(folder.join(file));
    }
    let mut process = Process::start(command, &folder.join("redis.log"));
    process.ready(address);
    process
}

/// A command as Redis reads it.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The strings of a reply.
fn reply(reader: &mut impl BufRead) -> Vec<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "+" | ":" => vec![rest.as_bytes().to_vec()],
        "$" => {
            let length: usize = rest.parse().expect("there is such a key");
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes).unwrap();
            bytes.truncate(length);
            vec![bytes]
        }
        "*" => {
            let count: usize = rest.parse().unwrap();
            (0..count).flat_map(|_| reply(&mut *reader)).collect()
        }
        _ => panic!("Redis says {line}"),
    }
}
