//! Keys that nobody should take in: too small, badly made, or of two halves that do not belong together.
//!
//! What is looked for shows in the key alone. Whether a key was used by somebody else, or was published, is not known here.

use super::public::{bit_length, is_odd};
use super::{
    Aes, DecryptionKey, DigestAlgorithm, Kdf, KeyKind, KeyWrap, OaepParameters, PublicKey,
    RejectionSecret, Secret, SigningKey, SoftKey, Wrapped, Wrapping, random,
};

/// Why a key must not be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Nothing is done with such a key.
    #[error("keys of this kind are not used")]
    Kind,
    /// The modulus has too few or too many bits: this many.
    #[error("the modulus has {0} bits, which must be 2048 to 8192")]
    Size(u32),
    /// The exponent is even, or not above 2^16 (NIST SP 800-56B §6.2).
    #[error("the exponent is even, or smaller than 65537")]
    Exponent,
    /// A small prime divides the modulus.
    #[error("a small number divides the modulus")]
    Factor,
    /// Made by a generator whose primes can be computed from the modulus (CVE-2017-15361).
    #[error("made by a generator whose keys can be broken (ROCA)")]
    Roca,
    /// The two primes are so close that the modulus is factored at once (NIST SP 800-56B §6.2.1.1).
    #[error("the two primes are too close to each other")]
    ClosePrimes,
    /// It says by which digests it signs (RFC 4055 §1.2), and nothing is signed by those.
    #[error("the key is restricted to digests by which nothing is signed")]
    Restriction,
    /// No point of the curve, one of small order, or numbers that are no key.
    #[error("the public key is none of its group")]
    Group,
    /// What the private half does, the public half does not undo.
    #[error("the private and the public half do not belong together")]
    Halves,
}

impl PublicKey {
    /// What is wrong with the key, as far as its public half shows.
    #[must_use]
    pub fn weakness(&self) -> Option<Weakness> {
        match self.kind() {
            KeyKind::Rsa { bits } => self
                .rsa_numbers()
                .and_then(|rsa| rsa_weakness(*bits, rsa.modulus(), rsa.exponent()))
                .or_else(|| {
                    let wanted = self.restriction()?;
                    (!wanted.is_for_signing()).then_some(Weakness::Restriction)
                }),
            // Who agrees or encapsulates looks at the key first.
            KeyKind::Ec(_) | KeyKind::X25519 | KeyKind::MlKem(_) => {
                probe(self).is_none().then_some(Weakness::Group)
            }
            KeyKind::Ed25519 | KeyKind::MlDsa(_) => None,
            KeyKind::Dsa { .. } | KeyKind::Unsupported(_) => Some(Weakness::Kind),
        }
    }
}

impl SoftKey {
    /// What is wrong with the key: with its public half, between its primes, or between its halves.
    #[must_use]
    pub fn weakness(&self) -> Option<Weakness> {
        if let Some(weakness) = self.public().weakness() {
            return Some(weakness);
        }
        if let KeyKind::Rsa { bits } = self.public().kind() {
            let distance = self.private().distance_of_primes();
            if distance.is_none_or(|distance| distance <= (bits / 2).saturating_sub(100)) {
                return Some(Weakness::ClosePrimes);
            }
        }
        let fits = opens_what_its_public_half_protects(self) || signs_for_its_public_half(self);
        (!fits).then_some(Weakness::Halves)
    }
}

/// Whether what is protected by the public half of a key is opened by the private one: for keys in tokens too. Always no
/// for keys that open nothing.
pub fn opens_what_its_public_half_protects(key: &dyn DecryptionKey) -> bool {
    let (Some((wrapped, secret)), Ok(rejection)) = (probe(key.public()), RejectionSecret::random())
    else {
        return false;
    };
    wrapped
        .unwrap(key, &rejection, secret.len())
        .is_ok_and(|opened| opened == secret)
}

/// Whether what the private half of a key signs is verified by the public one: for keys in tokens too. Always no for
/// keys that sign nothing.
pub fn signs_for_its_public_half(key: &dyn SigningKey) -> bool {
    let algorithm = key.default_algorithm();
    let Ok(message) = random::array::<32>() else {
        return false;
    };
    key.sign(algorithm, &message).is_ok_and(|signature| {
        let verified = key.public_key().verify(algorithm, &message, &signature);
        verified.is_ok()
    })
}

/// A random key wrapped for a public key. `None` where that does not work.
fn probe(key: &PublicKey) -> Option<(Wrapped, Secret)> {
    let (digest, wrap) = (DigestAlgorithm::Sha256, KeyWrap::Aes(Aes::Bits256));
    let wrapping = match key.kind() {
        KeyKind::Rsa { .. } => {
            let wanted = key.oaep().cloned();
            Wrapping::RsaOaep(wanted.unwrap_or_else(|| OaepParameters::new(digest)))
        }
        KeyKind::Ec(_) | KeyKind::X25519 => Wrapping::Agreement {
            kdf: Kdf::X963(digest),
            wrap,
            shared_info: Vec::new(),
        },
        KeyKind::MlKem(_) => Wrapping::Kem {
            kdf: Kdf::Hkdf(digest),
            wrap,
            info: Vec::new(),
        },
        KeyKind::Dsa { .. } | KeyKind::Ed25519 | KeyKind::MlDsa(_) | KeyKind::Unsupported(_) => {
            return None;
        }
    };
    let secret = random::secret(32).ok()?;
    let wrapped = Wrapped::wrap(wrapping, key, &secret).ok()?;
    Some((wrapped, secret))
}

fn rsa_weakness(bits: u32, modulus: &[u8], exponent: &[u8]) -> Option<Weakness> {
    if !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Some(Weakness::Size(bits));
    }
    if !is_odd(exponent) || bit_length(exponent) < 17 {
        return Some(Weakness::Exponent);
    }
    let remainders = remainders(modulus);
    if !is_odd(modulus) || remainders.iter().any(|(_, remainder)| *remainder == 0) {
        return Some(Weakness::Factor);
    }
    // Primes of that generator are powers of 65537 modulo the product of these primes, and so is what they make.
    // Another modulus is one for all of them in one case of two hundred million.
    let roca = remainders
        .into_iter()
        .all(|(prime, remainder)| is_power(remainder, prime));
    roca.then_some(Weakness::Roca)
}

/// A number modulo each of the small primes, with the prime. The number is reduced by a few of them together, whose product
/// has no more than 32 bits.
fn remainders(number: &[u8]) -> Vec<(u32, u32)> {
    let reduced = |some: &[u32]| {
        let product = some
            .iter()
            .fold(1, |product: u32, prime| product.wrapping_mul(*prime));
        (some.to_vec(), remainder(number, product))
    };
    let together = SMALL_PRIMES.chunks(4).map(reduced);
    let each = together.flat_map(|(some, rest)| {
        let of = move |prime: u32| (prime, rest.checked_rem(prime).unwrap_or(0));
        some.into_iter().map(of)
    });
    each.collect()
}

/// A number modulo another.
fn remainder(number: &[u8], by: u32) -> u32 {
    let by = u64::from(by);
    let (head, limbs) = number.as_rchunks::<4>();
    let head = head
        .iter()
        .fold(0, |head, octet| (head << 8) | u64::from(*octet));
    let limbs = limbs
        .iter()
        .map(|limb| u64::from(u32::from_be_bytes(*limb)));
    let rest = std::iter::once(head)
        .chain(limbs)
        .fold(0, |rest: u64, limb| {
            // It is below 2^32, as what it is divided by is.
            ((rest << 32) | limb).checked_rem(by).unwrap_or(0)
        });
    u32::try_from(rest).unwrap_or(0)
}

/// Whether a power of 65537 has this remainder modulo a small prime.
fn is_power(wanted: u32, prime: u32) -> bool {
    let generator = 65_537_u32.checked_rem(prime).unwrap_or(0);
    let mut power = 1;
    // There are fewer powers than the prime says.
    for _ in 0..prime {
        if power == wanted {
            return true;
        }
        power = power
            .wrapping_mul(generator)
            .checked_rem(prime)
            .unwrap_or(0);
    }
    false
}

const MIN_BITS: u32 = 2048;
const MAX_BITS: u32 = 8192;
/// The odd ones of the 39 primes whose product is the smallest modulus of that generator (Nemec and others, The Return of
/// Coppersmith's Attack, 2017, §2.2); for larger keys it is a multiple of it.
const SMALL_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests;
