//! The unwrap call with RSAES-PKCS1-v1_5: a content-encryption key is in there, or the padding is wrong, or what is in
//! there has another length. In the order of dice, each ciphertext once.

use std::hint::black_box;
use std::time::Instant;

use kenin_pki::crypto::{
    DigestAlgorithm, KeyType, RejectionSecret, Secret, SigningKey, SoftKey, Wrapped, Wrapping,
};
use kenin_tests::world::Dice;
use openssl::pkey::Public;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use super::BAR;
use super::welch::Compared;
use crate::load::Trouble;

/// Times so many calls, prints the table and returns what `results/` keeps.
pub(super) fn measure(calls: usize) -> Result<Value, Trouble> {
    let key = SoftKey::generate(KeyType::Rsa(2048))?;
    let rejection = key.rejection_secret()?;
    let mut maker = Maker::new(&key)?;
    check(&mut maker, &key, &rejection)?;
    let mut times = Times::default();
    // The first ones find the caches cold.
    run(BATCH, &mut maker, (&key, &rejection), &mut times)?;
    times = Times::default();
    let mut left = calls;
    while left > 0 {
        let count = left.min(BATCH);
        run(count, &mut maker, (&key, &rejection), &mut times)?;
        left -= count;
    }
    println!("unwrap, RSA-2048, {calls} calls in the order of dice; nanoseconds and Welch's t\n");
    println!(
        "{:<34}{:>12}{:>9}{:>22}{:>8}",
        "", "difference", "t", "at most, of fastest", "t"
    );
    let mut silent = true;
    let mut rows = Vec::new();
    for (name, first, second) in [
        ("good, padding wrong", &times.good, &times.padding),
        ("good, another length", &times.good, &times.length),
        (
            "padding wrong, another length",
            &times.padding,
            &times.length,
        ),
    ] {
        let compared = print(name, first, second);
        silent &= compared.most.t.abs() < BAR;
        rows.push(json!({ "pair": name, "compared": compared.json() }));
    }
    let control = print("good with a digest more, good", &times.control, &times.good);
    let seen = control.most.t > BAR;
    println!(
        "\nbar: |t| < {BAR}, while the digest of {} octets more is seen: {}",
        MORE.len(),
        match (silent, seen) {
            (true, true) => "met",
            (false, _) => "MISSED",
            (true, false) => "nothing is told, on a machine that would not tell",
        }
    );
    Ok(json!({
        "bench": "timing unwrap", "unit": "nanoseconds", "calls": calls,
        "pairs": rows, "control": control.json(), "bar": BAR, "met": silent && seen,
    }))
}

fn print(name: &str, first: &[f64], second: &[f64]) -> Compared {
    let compared = Compared::of(first, second);
    let (whole, most) = (compared.whole, compared.most);
    println!(
        "{name:<34}{:>12.1}{:>9.2}{:>12.1}{:>8.0} %{:>8.2}",
        whole.difference,
        whole.t,
        most.difference,
        compared.share * 100.0,
        most.t
    );
    compared
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Good,
    Padding,
    Length,
    /// What is good, with a little work more: whether that is seen.
    Control,
}

/// Nanoseconds of the calls of each class.
#[derive(Default)]
struct Times {
    good: Vec<f64>,
    padding: Vec<f64>,
    length: Vec<f64>,
    control: Vec<f64>,
}

impl Times {
    const fn of(&mut self, class: Class) -> &mut Vec<f64> {
        match class {
            Class::Good => &mut self.good,
            Class::Padding => &mut self.padding,
            Class::Length => &mut self.length,
            Class::Control => &mut self.control,
        }
    }
}

fn run(
    count: usize,
    maker: &mut Maker,
    (key, rejection): (&SoftKey, &RejectionSecret),
    times: &mut Times,
) -> Result<(), Trouble> {
    let mut batch = Vec::with_capacity(count);
    for _ in 0..count {
        let class = match maker.dice.below(31) {
            0..10 => Class::Good,
            10..20 => Class::Padding,
            20..30 => Class::Length,
            _ => Class::Control,
        };
        batch.push((class, maker.wrapped(class)?));
    }
    for (class, wrapped) in &batch {
        let begin = Instant::now();
        let answer = black_box(wrapped).unwrap(key, rejection, LENGTH);
        if *class == Class::Control {
            black_box(DigestAlgorithm::Sha256.digest(black_box(&MORE)));
        }
        let took = begin.elapsed();
        drop(black_box(answer));
        times.of(*class).push(took.as_secs_f64() * 1e9);
    }
    Ok(())
}

/// Nobody's time counts before the answers are right: a key is given for each, and the right one for what is good
/// alone.
fn check(maker: &mut Maker, key: &SoftKey, rejection: &RejectionSecret) -> Result<(), Trouble> {
    for _ in 0..200 {
        for class in [Class::Good, Class::Padding, Class::Length] {
            let block = maker.block(class);
            let wrapped = maker.encrypted(&block)?;
            let unwrapped = wrapped.unwrap(key, rejection, LENGTH)?;
            let at = block.len() - LENGTH;
            let inside = block.get(at..).unwrap_or_default();
            let is_it = unwrapped == Secret::new(inside.to_vec());
            if is_it != (class == Class::Good) || unwrapped.len() != LENGTH {
                return Err(format!("the answer for {class:?} is wrong").into());
            }
        }
    }
    Ok(())
}

/// Makes ciphertexts, right ones and wrong ones by the same steps.
struct Maker {
    rsa: Rsa<Public>,
    size: usize,
    dice: Dice,
}

impl Maker {
    fn new(key: &SoftKey) -> Result<Self, Trouble> {
        let rsa = Rsa::public_key_from_der(key.public_key().spki())?;
        let size = usize::try_from(rsa.size())?;
        Ok(Self {
            rsa,
            size,
            dice: Dice::new(1),
        })
    }

    fn wrapped(&mut self, class: Class) -> Result<Wrapped, Trouble> {
        let block = self.block(class);
        self.encrypted(&block)
    }

    fn encrypted(&self, block: &[u8]) -> Result<Wrapped, Trouble> {
        let mut encrypted_key = vec![0; self.size];
        self.rsa
            .public_encrypt(block, &mut encrypted_key, Padding::NONE)?;
        Ok(Wrapped {
            wrapping: Wrapping::RsaPkcs1,
            encrypted_key,
            peer: Vec::new(),
        })
    }

    /// An encryption block (RFC 8017 §7.2.1), or what is none.
    fn block(&mut self, class: Class) -> Vec<u8> {
        let length = match (class, self.dice.below(5)) {
            (Class::Length, 0) => 5,
            (Class::Length, 1) => 16,
            (Class::Length, 2) => LENGTH - 1,
            (Class::Length, 3) => LENGTH + 1,
            (Class::Length, _) => 48,
            _ => LENGTH,
        };
        let mut block: Vec<u8> = (0..self.size).map(|_| self.octet()).collect();
        let mut set = |at: usize, octet: u8| {
            if let Some(place) = block.get_mut(at) {
                *place = octet;
            }
        };
        set(0, 0);
        set(1, 2);
        set(self.size - length - 1, 0);
        if class == Class::Padding {
            match self.dice.below(5) {
                0 => set(0, 1),
                1 => set(1, 1),
                2 => set(1, 0),
                // Among the eight that must not be zero.
                3 => set(5, 0),
                _ => set(self.size - length - 1, 1),
            }
        }
        block
    }

    /// One that is not zero.
    fn octet(&mut self) -> u8 {
        u8::try_from(self.dice.below(255) + 1).unwrap_or(1)
    }
}

/// Octets of the content-encryption key: AES-256.
const LENGTH: usize = 32;
/// Calls whose ciphertexts are made beforehand.
const BATCH: usize = 1_000;
/// What the control hashes: less than what would be spared by leaving out the key that stands in for a wrong one.
const MORE: [u8; 512] = [0; 512];
