//! The signed statement `X-Kenin-Verdict`: a compact JWS (RFC 7515) over what was found and over
//! the header and body of the copy that is delivered.
//!
//! Never holds more about the signer than the trust anchor's disclosure allows. Reading it back is
//! here too, so that writer and reader cannot drift apart. EdDSA: RFC 8037; thumbprint: RFC 7638.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use kenin_pki::crypto::{
    DigestAlgorithm, KeyKind, KeyType, PublicKey, SignatureAlgorithm, SigningKey, SoftKey,
};
use kenin_pki::pem;
use kenin_pki::time::UnixTime;
use serde_json::{Map, Value, json};

use crate::header::{self, Header};

/// Fields that a statement covers, in this order.
const COVERED: [&str; 4] = ["from", "date", "message-id", "subject"];

/// The longest copy of a field value in a statement; the digest covers all of it anyway.
const MAX_SHOWN: usize = 256;

/// The key that signs statements: Ed25519.
pub struct StampKey {
    key: Box<dyn SigningKey>,
    id: String,
    header: String,
}

/// Why a key cannot sign statements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StampKeyError {
    /// It cannot be read.
    #[error("the stamp key cannot be read: {0}")]
    Unreadable(String),
    /// It is another kind of key.
    #[error("the stamp key is not an Ed25519 key")]
    NotEd25519,
}

impl StampKey {
    /// Reads a private key in PKCS#8, PEM or DER.
    ///
    /// # Errors
    /// When it cannot be read or is not an Ed25519 key.
    pub fn from_pkcs8(key: &[u8]) -> Result<Self, StampKeyError> {
        let key = SoftKey::from_pem_or_der(key)
            .map_err(|error| StampKeyError::Unreadable(error.to_string()))?;
        Self::new(Box::new(key))
    }

    /// Makes a new key; gives it and its PKCS#8 PEM text for the file.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<(Self, String), StampKeyError> {
        let unreadable =
            |error: kenin_pki::crypto::KeyError| StampKeyError::Unreadable(error.to_string());
        let key = SoftKey::generate(KeyType::Ed25519).map_err(unreadable)?;
        let text = pem::encode("PRIVATE KEY", &key.to_pkcs8().map_err(unreadable)?);
        Ok((Self::new(Box::new(key))?, text))
    }

    /// A key that may be elsewhere.
    ///
    /// # Errors
    /// When it is not an Ed25519 key.
    pub fn new(key: Box<dyn SigningKey>) -> Result<Self, StampKeyError> {
        if !matches!(key.public_key().kind(), KeyKind::Ed25519) {
            return Err(StampKeyError::NotEd25519);
        }
        let id = thumbprint(key.public_key().bits());
        let header = BASE64URL.encode(format!("{{\"alg\":\"EdDSA\",\"kid\":\"{id}\"}}"));
        Ok(Self { key, id, header })
    }

    /// The `kid`: the thumbprint of the public half.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(self.key.public_key().bits()),
            "kid": self.id, "alg": "EdDSA", "use": "sig",
        })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// Signs a statement that somebody else has written (what stands before the second dot of the JWS), where it is one of
    /// this key, and is about this mail at this time. What it says of the mail is not looked at.
    #[must_use]
    pub fn countersign(&self, statement: &[u8], mail: &Stated<'_>) -> Option<Vec<u8>> {
        let (head, payload) = std::str::from_utf8(statement).ok()?.split_once('.')?;
        let payload: Value = decode(payload).ok()?;
        let says = |name: &str| payload.get(name).and_then(Value::as_str);
        let agrees = head == self.header
            && payload.get("v") == Some(&Value::from(1))
            && payload.get("iat") == Some(&Value::from(mail.time.0))
            && says("id") == Some(mail.id)
            && says("iss") == Some(mail.issuer)
            && says("rev") == Some(mail.revision);
        let signed = agrees.then(|| self.key.sign(SignatureAlgorithm::Ed25519, statement));
        signed?.ok()
    }

    /// Signs a payload; nothing if the key cannot be used now.
    pub(crate) fn sign(&self, payload: &str) -> Option<String> {
        let mut jws = format!("{}.{}", self.header, BASE64URL.encode(payload));
        let signature = self
            .key
            .sign(SignatureAlgorithm::Ed25519, jws.as_bytes())
            .ok()?;
        jws.push('.');
        jws.push_str(&BASE64URL.encode(signature));
        Some(jws)
    }
}

impl std::fmt::Debug for StampKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StampKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a statement has to say of the mail that it is made for.
#[derive(Clone, Copy, Debug)]
pub struct Stated<'a> {
    /// The id of the mail in our logs.
    pub id: &'a str,
    /// Our authserv-id.
    pub issuer: &'a str,
    /// When it is made.
    pub time: UnixTime,
    /// The revision of what judged.
    pub revision: &'a str,
}

/// What a statement says beside header and body.
#[derive(Clone, Debug)]
pub(crate) struct Claims<'a> {
    pub(crate) id: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) time: UnixTime,
    pub(crate) result: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) signers: Vec<&'a str>,
    pub(crate) revision: &'a str,
    /// Who vouches for the content of a mail that was opened; nothing of one that was not.
    pub(crate) opened: Option<&'a str>,
}

/// The payload for a message as it will be delivered; `raw` holds at least its header.
pub(crate) fn payload(raw: &[u8], header: &Header, body: &[u8], claims: &Claims<'_>) -> String {
    let (shown, digest) = covered(raw, header);
    // Written by hand for its order; every value goes through the JSON writer.
    let text = |value: &str| Value::from(value).to_string();
    let opened = claims.opened.map(|integrity| {
        let integrity = text(integrity);
        format!("\"enc\":\"opened\",\"integrity\":{integrity},")
    });
    format!(
        "{{\"v\":1,\"id\":{},\"iss\":{},\"iat\":{},\"result\":{},\"reason\":{},\"signer\":{},\"rev\":{},{}\
         \"h\":{},\"hn\":{},\"hh\":{},\"bh\":{}}}",
        text(claims.id),
        text(claims.issuer),
        claims.time.0,
        text(claims.result),
        text(claims.reason),
        Value::from(claims.signers.clone()),
        text(claims.revision),
        opened.unwrap_or_default(),
        Value::Object(shown),
        Value::Object(uncovered(raw, header)),
        text(&digest),
        text(&body_digest(body)),
    )
}

/// Why a statement does not hold for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// There is none.
    #[error("the message has no statement")]
    Absent,
    /// There is more than one.
    #[error("the message has more than one statement")]
    Several,
    /// It is no JWS of ours.
    #[error("the statement cannot be read")]
    Malformed,
    /// It was signed with another key.
    #[error("the statement is signed with another key")]
    OtherKey,
    /// Its signature is wrong.
    #[error("the signature of the statement is wrong")]
    Signature,
    /// It was issued by somebody else.
    #[error("the statement is of another issuer")]
    Issuer,
    /// The header fields are others.
    #[error("the header was changed")]
    Header,
    /// The body is another.
    #[error("the body was changed")]
    Body,
}

/// Checks the statement in a delivered message: exactly one, signed with `key`, issued by `issuer`,
/// for this header and this body.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify_statement(
    raw: &[u8],
    key: &PublicKey,
    issuer: &str,
) -> Result<Value, StatementError> {
    let header = header::scan(raw);
    let mut fields = header
        .fields
        .iter()
        .filter(|field| field.may_be(raw, |name| name == "x-kenin-verdict"));
    let field = fields.next().ok_or(StatementError::Absent)?;
    if fields.next().is_some() {
        return Err(StatementError::Several);
    }
    let jws: String = field
        .value(raw)
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(*byte))
        .collect();
    let (signed, signature) = jws.rsplit_once('.').ok_or(StatementError::Malformed)?;
    let (head, payload) = signed.split_once('.').ok_or(StatementError::Malformed)?;
    let head: Value = decode(head)?;
    // An extension that must be understood is not (RFC 7515 section 4.1.11).
    if head.get("alg") != Some(&Value::from("EdDSA")) || head.get("crit").is_some() {
        return Err(StatementError::Malformed);
    }
    if head.get("kid").and_then(Value::as_str) != Some(&thumbprint(key.bits())) {
        return Err(StatementError::OtherKey);
    }
    let signature = BASE64URL
        .decode(signature)
        .map_err(|_| StatementError::Malformed)?;
    key.verify(SignatureAlgorithm::Ed25519, signed.as_bytes(), &signature)
        .map_err(|_| StatementError::Signature)?;
    let payload: Value = decode(payload)?;
    let says = |name: &str| payload.get(name).and_then(Value::as_str);
    if says("iss") != Some(issuer) {
        return Err(StatementError::Issuer);
    }
    let (shown, digest) = covered(raw, &header);
    if says("hh") != Some(&digest)
        || payload.get("h") != Some(&Value::Object(shown))
        || payload.get("hn") != Some(&Value::Object(uncovered(raw, &header)))
    {
        return Err(StatementError::Header);
    }
    if says("bh") != Some(&body_digest(raw.get(header.body..).unwrap_or_default())) {
        return Err(StatementError::Body);
    }
    Ok(payload)
}

fn decode(part: &str) -> Result<Value, StatementError> {
    let bytes = BASE64URL
        .decode(part)
        .map_err(|_| StatementError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| StatementError::Malformed)
}

/// The covered fields, for reading and as a digest: each that stands exactly once, in the relaxed
/// form of RFC 6376 §3.4.2.
fn covered(raw: &[u8], header: &Header) -> (Map<String, Value>, String) {
    let mut shown = Map::new();
    let mut relaxed = Vec::new();
    for name in COVERED {
        let mut fields = header
            .fields
            .iter()
            .filter(|field| field.may_be(raw, |own| own == name));
        let (Some(field), None) = (fields.next(), fields.next()) else {
            continue;
        };
        if !field.plain {
            continue;
        }
        let value = relaxed_value(field.value(raw));
        let text = String::from_utf8_lossy(&value);
        shown.insert(
            name.to_owned(),
            text.chars().take(MAX_SHOWN).collect::<String>().into(),
        );
        relaxed.extend_from_slice(name.as_bytes());
        relaxed.push(b':');
        relaxed.extend_from_slice(&value);
        relaxed.extend_from_slice(b"\r\n");
    }
    (shown, sha256(&[&relaxed]))
}

/// How often each of the fields stands that is not covered, in any spelling: one that is not there must
/// not come in later, not even twice.
fn uncovered(raw: &[u8], header: &Header) -> Map<String, Value> {
    let mut out = Map::new();
    for name in COVERED {
        let fields = header
            .fields
            .iter()
            .filter(|field| field.may_be(raw, |own| own == name));
        let (count, plain) = fields.fold((0_u64, true), |(count, plain), field| {
            (count.saturating_add(1), plain && field.plain)
        });
        if count != 1 || !plain {
            out.insert(name.to_owned(), count.into());
        }
    }
    out
}

fn relaxed_value(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' if out.last().is_none_or(|last| *last == b' ') => {}
            b'\t' => out.push(b' '),
            other => out.push(other),
        }
    }
    while out.last() == Some(&b' ') {
        out.pop();
    }
    out
}

/// SHA-256 of a body in the simple form of RFC 6376 §3.4.3.
fn body_digest(body: &[u8]) -> String {
    let mut content = body;
    while let Some(shorter) = content.strip_suffix(b"\r\n") {
        content = shorter;
    }
    sha256(&[content, b"\r\n"])
}

fn sha256(parts: &[&[u8]]) -> String {
    let mut digester = kenin_pki::crypto::Digester::new(DigestAlgorithm::Sha256);
    for part in parts {
        digester.update(part);
    }
    BASE64URL.encode(digester.finish())
}

/// RFC 7638 over the members that RFC 8037 §2 requires.
fn thumbprint(public: &[u8]) -> String {
    let x = BASE64URL.encode(public);
    let jwk = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
    sha256(&[jwk.as_bytes()])
}
