//! Somebody else's opinion of DKIM signatures and ARC chains: PyPI `dkimpy`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

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

/// Asks about mails in one process; it knows these TXT records and asks nobody. `None` where Python's
/// readers are absent (said aloud).
///
/// # Panics
/// When it fails.
pub fn opinions(mails: &[Vec<u8>], records: &[(String, String)]) -> Option<Vec<Opinion>> {
    let python = parts::python()?;
    let encoded: Vec<String> = mails
        .iter()
        .map(|raw| openssl::base64::encode_block(raw))
        .collect();
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let question = serde_json::to_vec(&json!({ "mails": encoded, "records": records })).unwrap();
    child.stdin.take().unwrap().write_all(&question).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "dkimpy failed");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let opinion = |value: &Value| Opinion {
        dkim: list(&value["dkim"]).iter().map(|v| v == true).collect(),
        chain: value["chain"].as_str().unwrap_or_default().to_owned(),
        sets: list(&value["sets"])
            .iter()
            .map(|set| (set[0].as_u64().unwrap(), set[1] == true, set[2] == true))
            .collect(),
    };
    Some(all.iter().map(opinion).collect())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
