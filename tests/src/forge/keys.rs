//! Keys and raw signatures by OpenSSL, so that what Kenin must accept or refuse was made by other
//! code. Broken padding and impossible scalars are made here too; nothing here is a real key.

use std::process::Command;

use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

use super::der::{explicit, int, null, oid, seq};
use crate::world::run;

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// OpenSSL's handle for it.
    pub fn openssl(self) -> MessageDigest {
        match self {
            Self::Md5 => MessageDigest::md5(),
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha224 => MessageDigest::sha224(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    /// The digest of some bytes.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        openssl::hash::hash(self.openssl(), bytes).unwrap().to_vec()
    }

    /// Its object identifier, dotted.
    pub fn dotted(self) -> &'static str {
        match self {
            Self::Md5 => "1.2.840.113549.2.5",
            Self::Sha1 => "1.3.14.3.2.26",
            Self::Sha224 => "2.16.840.1.101.3.4.2.4",
            Self::Sha256 => "2.16.840.1.101.3.4.2.1",
            Self::Sha384 => "2.16.840.1.101.3.4.2.2",
            Self::Sha512 => "2.16.840.1.101.3.4.2.3",
        }
    }

    /// The name that `openssl -md` and `micalg` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// AlgorithmIdentifier without parameters (RFC 5754 §2).
    pub fn identifier(self) -> Vec<u8> {
        seq([oid(self.dotted())])
    }
}

/// A signature algorithm with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Alg {
    Pkcs1(Hash),
    Pss { hash: Hash, mgf: Hash, salt: i32 },
    Ecdsa(Hash),
    Ed25519,
}

impl Alg {
    /// AlgorithmIdentifier as a SignerInfo or a certificate carries it.
    pub fn identifier(self) -> Vec<u8> {
        match self {
            Self::Pkcs1(hash) => {
                let last = match hash {
                    Hash::Md5 => 4,
                    Hash::Sha1 => 5,
                    Hash::Sha224 => 14,
                    Hash::Sha256 => 11,
                    Hash::Sha384 => 12,
                    Hash::Sha512 => 13,
                };
                seq([oid(&format!("1.2.840.113549.1.1.{last}")), null()])
            }
            Self::Pss { hash, mgf, salt } => {
                let parameters = seq([
                    explicit(0, &seq([oid(hash.dotted()), null()])),
                    explicit(
                        1,
                        &seq([
                            oid("1.2.840.113549.1.1.8"),
                            seq([oid(mgf.dotted()), null()]),
                        ]),
                    ),
                    explicit(2, &int(i64::from(salt))),
                ]);
                seq([oid("1.2.840.113549.1.1.10"), parameters])
            }
            Self::Ecdsa(Hash::Sha1 | Hash::Md5) => seq([oid("1.2.840.10045.4.1")]),
            Self::Ecdsa(hash) => {
                let last = match hash {
                    Hash::Sha224 => 1,
                    Hash::Sha384 => 3,
                    Hash::Sha512 => 4,
                    _ => 2,
                };
                seq([oid(&format!("1.2.840.10045.4.3.{last}"))])
            }
            Self::Ed25519 => seq([oid("1.3.101.112")]),
        }
    }

    /// The digest that goes with it in a SignerInfo (RFC 8933; RFC 8419 for Ed25519).
    pub fn hash(self) -> Hash {
        match self {
            Self::Pkcs1(hash) | Self::Pss { hash, .. } | Self::Ecdsa(hash) => hash,
            Self::Ed25519 => Hash::Sha512,
        }
    }

    /// RSASSA-PSS in the usual form.
    pub fn pss(hash: Hash) -> Self {
        let salt = hash.openssl().size() as i32;
        Self::Pss {
            hash,
            mgf: hash,
            salt,
        }
    }
}

/// A private key.
#[derive(Clone)]
pub struct Key {
    pkey: PKey<Private>,
}

impl Key {
    /// Whether it is RSA that PKCS #1 v1.5 is for.
    pub fn is_rsa(&self) -> bool {
        self.pkey.id() == openssl::pkey::Id::RSA
    }

    /// RSA of a size, e = 65537.
    pub fn rsa(bits: u32) -> Self {
        Self {
            pkey: PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap(),
        }
    }

    /// RSA that signs by PSS and nothing else (id-RSASSA-PSS), e = 65537.
    pub fn rsa_pss(bits: u32) -> Self {
        let mut make = Command::new("openssl");
        make.args(["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt"]);
        let made = run(make.arg(format!("rsa_keygen_bits:{bits}")));
        Self {
            pkey: PKey::private_key_from_pem(&made).unwrap(),
        }
    }

    /// The same, restricted to a digest, MGF1 with it, and a salt of its length at least (RFC 4055 §1.2).
    pub fn rsa_pss_by(bits: u32, hash: Hash) -> Self {
        let mut make = Command::new("openssl");
        make.args(["genpkey", "-algorithm", "RSA-PSS"]);
        let (name, salt) = (hash.name(), hash.openssl().size());
        for said in [
            format!("rsa_keygen_bits:{bits}"),
            format!("rsa_pss_keygen_md:{name}"),
            format!("rsa_pss_keygen_mgf1_md:{name}"),
            format!("rsa_pss_keygen_saltlen:{salt}"),
        ] {
            make.arg("-pkeyopt").arg(said);
        }
        Self {
            pkey: PKey::private_key_from_pem(&run(&mut make)).unwrap(),
        }
    }

    /// RSA with a chosen public exponent.
    pub fn rsa_with_exponent(bits: u32, exponent: u32) -> Self {
        let e = BigNum::from_u32(exponent).unwrap();
        Self {
            pkey: PKey::from_rsa(Rsa::generate_with_e(bits, &e).unwrap()).unwrap(),
        }
    }

    fn ec(curve: Nid) -> Self {
        let group = EcGroup::from_curve_name(curve).unwrap();
        Self {
            pkey: PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap(),
        }
    }

    /// NIST P-256.
    pub fn p256() -> Self {
        Self::ec(Nid::X9_62_PRIME256V1)
    }

    /// NIST P-384.
    pub fn p384() -> Self {
        Self::ec(Nid::SECP384R1)
    }

    /// NIST P-521.
    pub fn p521() -> Self {
        Self::ec(Nid::SECP521R1)
    }

    /// A curve that Kenin does not know.
    pub fn secp256k1() -> Self {
        Self::ec(Nid::SECP256K1)
    }

    /// Ed25519.
    pub fn ed25519() -> Self {
        Self {
            pkey: PKey::generate_ed25519().unwrap(),
        }
    }

    /// X25519.
    pub fn x25519() -> Self {
        Self {
            pkey: PKey::generate_x25519().unwrap(),
        }
    }

    /// The algorithm that a mail program would choose for this key.
    pub fn usual(&self) -> Alg {
        use openssl::pkey::Id;
        match self.pkey.id() {
            Id::RSA => Alg::Pkcs1(Hash::Sha256),
            Id::RSA_PSS => Alg::pss(Hash::Sha256),
            Id::EC => Alg::Ecdsa(match self.pkey.bits() {
                384 => Hash::Sha384,
                521 => Hash::Sha512,
                _ => Hash::Sha256,
            }),
            _ => Alg::Ed25519,
        }
    }

    /// SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        self.pkey.public_key_to_der().unwrap()
    }

    /// PKCS#8 in PEM, for the `openssl` program.
    pub fn pem(&self) -> Vec<u8> {
        self.pkey.private_key_to_pem_pkcs8().unwrap()
    }

    /// Pieces of 32 octets that nobody else may have: of the private numbers, as PKCS#8 has them and as a computer keeps
    /// them (the last octet first). Of RSA and the curves of NIST.
    pub fn private_pieces(&self) -> Vec<Vec<u8>> {
        let numbers: Vec<Vec<u8>> = match self.pkey.rsa() {
            Ok(rsa) => {
                let more = [rsa.p(), rsa.q(), rsa.dmp1(), rsa.dmq1(), rsa.iqmp()];
                let all = more.into_iter().flatten().chain([rsa.d()]);
                all.map(|number| number.to_vec()).collect()
            }
            Err(_) => {
                let length = i32::try_from(self.pkey.bits().div_ceil(8)).unwrap();
                let key = self.pkey.ec_key().unwrap();
                vec![key.private_key().to_vec_padded(length).unwrap()]
            }
        };
        let mut pieces = Vec::new();
        for number in &numbers {
            let ends = [number.first_chunk::<32>(), number.last_chunk::<32>()];
            for end in ends.into_iter().flatten() {
                pieces.push(end.to_vec());
                pieces.push(end.iter().rev().copied().collect());
            }
        }
        pieces
    }

    /// Signs.
    pub fn sign(&self, algorithm: Alg, message: &[u8]) -> Vec<u8> {
        if algorithm == Alg::Ed25519 {
            return Signer::new_without_digest(&self.pkey)
                .unwrap()
                .sign_oneshot_to_vec(message)
                .unwrap();
        }
        let mut signer = Signer::new(algorithm.hash().openssl(), &self.pkey).unwrap();
        if let Alg::Pss { mgf, salt, .. } = algorithm {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_mgf1_md(mgf.openssl()).unwrap();
            signer
                .set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt))
                .unwrap();
        }
        signer.sign_oneshot_to_vec(message).unwrap()
    }

    /// The raw RSA private operation on a block as long as the modulus: for broken paddings.
    pub fn rsa_raw(&self, block: &[u8]) -> Vec<u8> {
        let rsa = self.pkey.rsa().unwrap();
        let mut out = vec![0; rsa.size() as usize];
        rsa.private_encrypt(block, &mut out, Padding::NONE).unwrap();
        out
    }

    /// What was encrypted for it by RSA, PKCS #1 v1.5.
    pub fn rsa_decrypt(&self, encrypted: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.size()];
        let rsa = self.pkey.rsa().unwrap();
        let length = rsa.private_decrypt(encrypted, &mut out, Padding::PKCS1);
        out.truncate(length.unwrap());
        out
    }

    /// Modulus length in bytes (RSA).
    pub fn size(&self) -> usize {
        self.pkey.rsa().unwrap().size() as usize
    }
}
