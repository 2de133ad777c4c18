//! Somebody else's readers of what Kenin writes: PyPI `authres`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::parts;

/// What `authres` reads in one Authentication-Results field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AuthRes {
    pub authserv_id: String,
    pub results: Vec<AuthResult>,
}

/// One resinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AuthResult {
    pub method: String,
    pub result: String,
    pub comment: String,
    /// `body.smime-part` and its value, and so on.
    pub properties: Vec<(String, String)>,
}

const SCRIPT: &str = r#"
import json, sys, authres
try:
    from authres import smime
    reader = authres.FeatureContext(smime)
except ImportError:
    reader = authres
out = []
for value in json.load(sys.stdin):
    try:
        header = reader.parse_value(value)
        results = []
        for r in header.results:
            results.append({
                'method': r.method, 'result': r.result,
                'comment': r.result_comment or '',
                'properties': [[p.type + '.' + p.name, p.value] for p in r.properties]})
        out.append({'id': header.authserv_id, 'results': results})
    except Exception as error:
        out.append({'error': repr(error)})
json.dump(out, sys.stdout)
"#;

/// Reads field bodies with `authres`; `None` where Python's readers are absent (said aloud).
///
/// # Panics
/// When one of them cannot be read.
pub fn authres(values: &[String]) -> Option<Vec<AuthRes>> {
    let python = parts::python()?;
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(values).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "authres failed");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let read = |(value, json): (&String, &Value)| {
        assert!(
            json["error"].is_null(),
            "authres cannot read {value:?}: {}",
            json["error"]
        );
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let results = json["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| AuthResult {
                method: text(&r["method"]),
                result: text(&r["result"]),
                comment: text(&r["comment"]),
                properties: r["properties"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|p| (text(&p[0]), text(&p[1])))
                    .collect(),
            });
        AuthRes {
            authserv_id: text(&json["id"]),
            results: results.collect(),
        }
    };
    Some(values.iter().zip(&all).map(read).collect())
}
