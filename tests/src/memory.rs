//! Whether octets that nobody may see lie somewhere: in the memory of a process, in files. Python looks for them: it is
//! quick, and somebody else's hand. And a worker that is caught while it opens a mail.
//!
//! Who says that something is not there has to show that the search finds what is.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::Pid;

use crate::client::{Client, Envelope, Reply};
use crate::forge::enveloped::{Parts, Way, as_base64, encrypted, fields, mail};
use crate::kenin::Gateway;
use crate::opened::{BOB, People, text};
use crate::world::{PATIENCE, children};

/// How often each of these lies in the memory of a process (0 where it has ended); nothing, said aloud, where the system
/// does not show it. That takes root.
pub fn in_memory(pid: Pid, needles: &[Vec<u8>]) -> Option<Vec<usize>> {
    let arguments = ["memory".to_owned(), pid.as_raw_nonzero().to_string()];
    let said = look(&arguments, needles);
    if said.trim() == "forbidden" {
        eprintln!("SKIPPED: the memory of another process cannot be read: it takes root");
        return None;
    }
    let counts = said.split_whitespace().map(|count| count.parse().unwrap());
    let counts: Vec<usize> = counts.collect();
    assert_eq!(counts.len(), needles.len());
    Some(counts)
}

/// Which files hold one of these.
pub fn in_files(files: &[PathBuf], needles: &[Vec<u8>]) -> Vec<String> {
    let mut arguments = vec!["files".to_owned()];
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    let said = look(&arguments, needles);
    said.lines().map(str::to_owned).collect()
}

fn look(arguments: &[String], needles: &[Vec<u8>]) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", SEARCH]).args(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> = needles.iter().map(|needle| hex(needle)).collect();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.join("\n").as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the search fails");
    String::from_utf8(output.stdout).unwrap()
}

/// Lower-case hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Octets as they lie in memory, and as a program may write them: in hexadecimal, in base64, as a list of numbers.
pub fn written(octets: &[u8]) -> Vec<Vec<u8>> {
    let hexadecimal = hex(octets);
    let numbers: Vec<String> = octets.iter().map(|octet| octet.to_string()).collect();
    let mut forms = as_base64(octets);
    forms.push(octets.to_vec());
    forms.push(hexadecimal.to_uppercase().into_bytes());
    forms.push(hexadecimal.into_bytes());
    forms.push(numbers.join(", ").into_bytes());
    forms
}

/// The files that a process has open, with a name or without, as paths by which they can be read while it has them; nothing,
/// said aloud, where the system does not show them. That takes root.
pub fn open_files(pid: Pid) -> Option<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: what another process has open cannot be seen: it takes root");
            return None;
        }
        entries => entries.unwrap(),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_file = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.is_file());
    Some(paths.filter(is_file).collect())
}

/// Whether such a file has no name any more, or never had one.
pub fn is_unnamed(open: &Path) -> bool {
    let name = std::fs::read_link(open).unwrap_or_default();
    name.to_string_lossy().ends_with(" (deleted)")
}

/// The processes of a gateway that do this: `worker`, `template`, `key-process`.
pub fn doing(gateway: &mut Gateway, what: &str) -> Vec<Pid> {
    let does = |pid: &Pid| {
        let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let words = words.unwrap_or_default();
        let mut words = words.split(|octet| *octet == 0);
        words.any(|word| word == what.as_bytes())
    };
    let parent = gateway.process().pid();
    children(parent).into_iter().filter(does).collect()
}

/// The copies of its templates, which have a mail in hand.
pub fn copies(gateway: &mut Gateway) -> Vec<Pid> {
    let templates = doing(gateway, "template");
    templates.into_iter().flat_map(children).collect()
}

/// A line of `/proc/PID/status` about memory, in KiB.
pub fn status_kib(pid: Pid, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.expect("a line of this name").parse().unwrap()
}

/// A worker that has the text of a mail for Bob in its memory, while its gateway, which is paused, does not hear it.
pub struct Caught {
    /// The worker.
    pub worker: Pid,
    /// The content-encryption keys of its mail and of those that were sent in vain before.
    pub content_keys: Vec<Vec<u8>>,
    sending: JoinHandle<Option<Reply>>,
}

impl Caught {
    /// Lets the gateway go on, if it still lives, and waits until the client has heard something, which is given, or nothing.
    pub fn let_go(self, gateway: &mut Gateway) -> Option<Reply> {
        gateway.process().resume();
        self.sending.join().ok().flatten()
    }
}

/// Sends mail with this text to Bob until a worker is caught with it; nothing, said aloud, where memory cannot be read.
///
/// # Panics
/// When none is.
pub fn catch(gateway: &mut Gateway, canary: &str) -> Option<Caught> {
    // So long that a worker is not done before its gateway stops, and cannot say it all to nobody.
    let mut entity = text(canary);
    entity.extend_from_slice(
        &format!("{canary} {canary}\r\n")
            .repeat(ROOM / canary.len())
            .into_bytes(),
    );
    let needle = [canary.as_bytes().to_vec()];
    let bob = &People::get().bob;
    let mut content_keys = Vec::new();
    for round in 0..ROUNDS {
        let object = encrypted(Way::Gcm, &[bob], &entity);
        content_keys.push(Parts::of(&object).content_key(bob));
        let id = format!("caught{round}@evil.example");
        let raw = mail(&fields(FROM, &id), &object);
        let used = uses(gateway);
        let address = gateway.address;
        let sending = thread::spawn(move || {
            // Whatever becomes of it: its gateway may be ended meanwhile.
            let mut client = Client::try_connect(address, PATIENCE)?;
            client.reply()?;
            client.try_command("EHLO a.example")?;
            client.mail(&Envelope::new(FROM, BOB), &raw)
        });
        let end = Instant::now() + PATIENCE;
        while uses(gateway) == used {
            assert!(Instant::now() < end, "no key is used:\n{}", gateway.log());
            thread::yield_now();
        }
        // Then it still asks what is remembered. Nothing but the memory that it takes tells that it has the text.
        for worker in copies(gateway) {
            let before = resident(worker);
            while resident(worker).is_some_and(|now| now < before.unwrap_or(0) + ROOM / PAGE) {
                assert!(Instant::now() < end, "it does not open:\n{}", gateway.log());
                thread::yield_now();
            }
        }
        gateway.process().pause();
        for _ in 0..LOOKS {
            for worker in copies(gateway) {
                let Some(found) = in_memory(worker, &needle) else {
                    gateway.process().resume();
                    return None;
                };
                if found[0] > 0 {
                    return Some(Caught {
                        worker,
                        content_keys,
                        sending,
                    });
                }
            }
        }
        gateway.process().resume();
        let _ = sending.join();
    }
    panic!("no worker was caught:\n{}", gateway.log());
}

/// Pages that a process has in memory; nothing when it has gone.
fn resident(pid: Pid) -> Option<usize> {
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero()));
    pages.ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// How often a key was used, as the key process wrote it down before it answered.
fn uses(gateway: &Gateway) -> usize {
    gateway.log().matches("a key was used").count()
}

const FROM: &str = "attacker@evil.example";
/// Octets of the text, half.
const ROOM: usize = 4 << 20;
const ROUNDS: usize = 20;
const LOOKS: usize = 2;
/// Octets of a page, at least.
const PAGE: usize = 4096;
/// Octets that are looked for come in lines of hexadecimal. What is at the end of one piece of memory and at the beginning
/// of the next is found, too.
const SEARCH: &str = r"
import os, sys
needles = [bytes.fromhex(line) for line in sys.stdin.read().split()]
counts = [0] * len(needles)
overlap = max(map(len, needles)) - 1

def memory(pid):
    memory = os.open(f'/proc/{pid}/mem', os.O_RDONLY)
    for line in open(f'/proc/{pid}/maps'):
        span, rights = line.split()[:2]
        if rights[0] != 'r' or '[v' in line:
            continue
        begin, end = (int(text, 16) for text in span.split('-'))
        before = b''
        while begin < end:
            try:
                piece = os.pread(memory, min(end - begin, 1 << 26), begin)
            except OSError:
                piece = b''
            if not piece:
                begin, before = begin + 4096, b''
                continue
            begin += len(piece)
            piece = before + piece
            for place, needle in enumerate(needles):
                counts[place] += piece.count(needle)
            before = piece[-overlap:]

if sys.argv[1] == 'memory':
    try:
        memory(sys.argv[2])
    except PermissionError:
        print('forbidden')
        sys.exit()
    except (FileNotFoundError, ProcessLookupError):
        pass
    print(*counts)
else:
    for name in sys.argv[2:]:
        try:
            octets = open(name, 'rb').read()
        except OSError:
            continue
        if any(needle in octets for needle in needles):
            print(name)
";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::world::Folder;

    #[test]
    fn octets_are_known_however_they_are_written() {
        let octets: Vec<u8> = (200..232).collect();
        let within = [&b"a"[..], &octets, b"bc"].concat();
        for text in [
            format!("{octets:?}"),
            hex(&octets),
            hex(&octets).to_uppercase(),
            openssl::base64::encode_block(&within),
        ] {
            let found =
                |form: &Vec<u8>| text.as_bytes().windows(form.len()).any(|part| part == form);
            assert!(written(&octets).iter().any(found), "{text}");
        }
    }

    #[test]
    fn what_lies_there_is_found() {
        // Made at run time: the program's own text holds neither.
        let held: Vec<u8> = (0..64_u8)
            .map(|number| number.wrapping_mul(151) ^ 0x5a)
            .collect();
        let absent: Vec<u8> = held.iter().map(|octet| octet ^ 0x33).rev().collect();
        let folder = Folder::new();
        let (with, without) = (folder.join("with"), folder.join("without"));
        fs::write(&with, [&b"before"[..], &held, b"behind"].concat()).unwrap();
        fs::write(&without, b"nothing").unwrap();
        let absentee = folder.join("absent");
        let files = [with.clone(), without, absentee];
        let name = with.display().to_string();
        assert_eq!(in_files(&files, std::slice::from_ref(&held)), [name]);
        assert!(in_files(&files, std::slice::from_ref(&absent)).is_empty());
        // Another process: Python, which is told what to hold.
        let script =
            "import sys; held = bytes.fromhex(sys.argv[1]); print(flush=True); sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script, &hex(&held)]);
        let mut other = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let found = in_memory(Pid::from_child(&other), &[held, absent]);
        drop(other.stdin.take());
        other.wait().unwrap();
        if let Some(found) = found {
            assert!(found[0] > 0);
            assert_eq!(found[1], 0);
        }
    }
}
