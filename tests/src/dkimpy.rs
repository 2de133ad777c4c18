//! Somebody else's opinion of DKIM signatures and ARC chains: PyPI `dkimpy`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::forge::keys::Key;
use crate::parts;

/// What `dkimpy` finds in one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Whether each DKIM signature holds, from the first to the last.
    pub dkim: Vec<bool>,
    /// `none`, `pass` or `fail` (RFC 8617 §5.2).
    pub chain: String,
    /// The instances of the sets, and whether each seal and each message signature holds.
    pub sets: Vec<(u64, bool, bool)>,
}

const SCRIPT: &str = r#"
import base64, json, sys, dkim
question = json.load(sys.stdin)
def sign(raw):
    return dkim.DKIM(raw).sign(
        question['selector'].encode(), question['domain'].encode(), question['key'].encode(),
        canonicalize=(b'simple', b'simple'),
        include_headers=[name.encode() for name in question['fields']]).decode()
if 'key' in question:
    json.dump([sign(base64.b64decode(mail)) for mail in question['mails']], sys.stdout)
    sys.exit()
names = {name: text.encode() for name, text in question['records']}
def ask(name, timeout=5):
    return names.get(name.decode().rstrip('.') if isinstance(name, bytes) else name.rstrip('.'))
out = []
for mail in question['mails']:
    raw = base64.b64decode(mail)
    signatures = [n for n, v in dkim.rfc822_parse(raw)[0] if n.lower() == b'dkim-signature']
    held = []
    for place in range(len(signatures)):
        try:
            held.append(bool(dkim.DKIM(raw).verify(idx=place, dnsfunc=ask)))
        except dkim.DKIMException:
            held.append(False)
    chain, results, reason = dkim.ARC(raw).verify(dnsfunc=ask)
    sets = [[r['instance'], bool(r['as-valid']), bool(r['ams-valid'])] for r in results or []]
    out.append({'dkim': held, 'chain': chain.decode(), 'sets': sets})
json.dump(out, sys.stdout)
"#;

/// A sender who signs by DKIM; its signatures hold for the very bytes only.
pub struct Signer {
    key: Key,
    domain: &'static str,
}

impl Signer {
    /// One of a domain, with a key of its own.
    pub fn new(domain: &'static str) -> Self {
        let key = Key::rsa(2048);
        Self { key, domain }
    }

    /// What a name server would say of the public key: its name and the text there.
    pub fn record(&self) -> (String, String) {
        let public = openssl::base64::encode_block(&self.key.spki());
        let name = format!("{SELECTOR}._domainkey.{}", self.domain);
        (name, format!("v=DKIM1; k=rsa; p={public}"))
    }

    /// The mails with a DKIM-Signature on top that covers these header fields and the body. `None`
    /// where Python's readers are absent (said aloud).
    ///
    /// # Panics
    /// When it fails.
    pub fn sign(&self, mails: &[Vec<u8>], fields: &[&str]) -> Option<Vec<Vec<u8>>> {
        let key = openssl::pkey::PKey::private_key_from_pem(&self.key.pem()).unwrap();
        let pem = key.rsa().unwrap().private_key_to_pem().unwrap();
        let answer = ask(&json!({
            "mails": encoded(mails), "fields": fields, "selector": SELECTOR, "domain": self.domain,
            "key": String::from_utf8(pem).unwrap(),
        }))?;
        let signed = |(raw, field): (&Vec<u8>, &Value)| {
            let field = field.as_str().unwrap().as_bytes();
            [field, raw].concat()
        };
        Some(mails.iter().zip(list(&answer)).map(signed).collect())
    }
}

/// Asks about mails in one process; it knows these TXT records and asks nobody. `None` where Python's
/// readers are absent (said aloud).
///
/// # Panics
/// When it fails.
pub fn opinions(mails: &[Vec<u8>], records: &[(String, String)]) -> Option<Vec<Opinion>> {
    let answer = ask(&json!({ "mails": encoded(mails), "records": records }))?;
    let opinion = |value: &Value| Opinion {
        dkim: list(&value["dkim"]).iter().map(|v| v == true).collect(),
        chain: value["chain"].as_str().unwrap_or_default().to_owned(),
        sets: list(&value["sets"])
            .iter()
            .map(|set| (set[0].as_u64().unwrap(), set[1] == true, set[2] == true))
            .collect(),
    };
    Some(list(&answer).iter().map(opinion).collect())
}

fn encoded(mails: &[Vec<u8>]) -> Vec<String> {
    let encode = |raw: &Vec<u8>| openssl::base64::encode_block(raw);
    mails.iter().map(encode).collect()
}

/// Runs the script over a question.
fn ask(question: &Value) -> Option<Value> {
    let python = parts::python()?;
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let question = serde_json::to_vec(question).unwrap();
    child.stdin.take().unwrap().write_all(&question).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "dkimpy failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const SELECTOR: &str = "s";

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
