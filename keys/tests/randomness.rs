//! Random numbers of copies of one process: no two draw the same, and none what its template draws. Who makes copies has
//! one thread, which no test in a harness has: this is a program of its own.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use kenin_pki::crypto::Secret;
use kenin_sys::{Fork, Otherwise, Template};

fn main() {
    no_copy_draws_what_another_draws();
}

fn no_copy_draws_what_another_draws() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    // The generator has begun: what it would give next is the same in each copy, if nothing tells it.
    let mut seen = HashSet::from([random()]);
    let template = Template::confine(Otherwise::Refuse).unwrap();
    for _ in 0..5 {
        let copy = match template.fork().unwrap() {
            Fork::Template(copy) => copy,
            Fork::Copy => {
                // Twice: what is drawn after the first is the generator's own.
                for _ in 0..2 {
                    theirs.write_all(&random()).unwrap();
                }
                std::process::exit(0);
            }
        };
        for _ in 0..2 {
            let mut drawn = vec![0; LENGTH];
            ours.read_exact(&mut drawn).unwrap();
            assert!(seen.insert(drawn), "a number was drawn twice");
        }
        drop(copy);
    }
    assert!(seen.insert(random()), "a number was drawn twice");
}

fn random() -> Vec<u8> {
    Secret::random(LENGTH).unwrap().expose().to_vec()
}

const LENGTH: usize = 32;
