//! The rules about dependencies, checked over `cargo metadata`: who of ours imports whom, which
//! licences and which crates may come in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Our packages and whom each may import, from ARCHITECTURE.md. A star means all.
const IMPORTS: &[(&str, &[&str])] = &[
    ("kenin", &["*"]),
    ("kenin-policy", &["kenin-smime", "kenin-pki"]),
    ("kenin-smime", &["kenin-pki"]),
    ("kenin-pki", &[]),
    ("kenin-certstore", &["kenin-pki", "kenin-sys"]),
    ("kenin-keys", &["kenin-pki", "kenin-sys"]),
    ("kenin-smtp-filter", &["kenin-sys"]),
    ("kenin-sys", &[]),
    ("kenin-tests", &["*"]),
    ("kenin-bench", &["*"]),
    ("kenin-fuzz", &["*"]),
];

/// Licences that may come in.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that may not come in at all, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "one crypto provider in the binary: aws-lc"),
    ("rsa", "RUSTSEC-2023-0071, and slow"),
    ("native-tls", "one TLS stack: rustls"),
    ("indymilter", "GPL-3"),
    ("milter", "GPL-3"),
];

/// The measured peer: only these of our packages may reach it.
const PEER: &str = "openssl-sys";
const PEER_USERS: &[&str] = &["kenin-tests", "kenin-bench"];

/// Violations in the output of `cargo metadata --format-version 1`, among the packages that are
/// really built: `active` holds `name version` pairs as `cargo tree` prints them. (Metadata also has
/// options that nobody turned on: `ring` stands there as one of rustls.)
pub fn violations(metadata: &Value, active: &BTreeSet<String>) -> Vec<String> {
    let mut out = Vec::new();
    let packages: BTreeMap<&str, &Value> = array(&metadata["packages"])
        .filter(|p| active.contains(&format!("{} {}", text(&p["name"]), text(&p["version"]))))
        .map(|p| (text(&p["id"]), p))
        .collect();
    let nodes: BTreeMap<&str, Vec<&str>> = array(&metadata["resolve"]["nodes"])
        .filter(|n| packages.contains_key(text(&n["id"])))
        .map(|n| {
            (
                text(&n["id"]),
                array(&n["deps"]).map(|d| text(&d["pkg"])).collect(),
            )
        })
        .collect();
    let members: BTreeSet<&str> = array(&metadata["workspace_members"]).map(text).collect();
    let name = |id: &str| packages.get(id).map_or("?", |p| text(&p["name"]));

    for (id, deps) in &nodes {
        let Some(package) = packages.get(id) else {
            continue;
        };
        let this = text(&package["name"]);
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == this) {
            out.push(format!("{this} is banned: {why}"));
        }
        if members.contains(id) {
            let ours: Vec<&str> = deps
                .iter()
                .filter(|d| members.contains(*d))
                .map(|d| name(d))
                .collect();
            out.extend(imports(this, &ours));
        } else {
            out.extend(source(this, text(&package["source"])));
            out.extend(licence(this, text(&package["license"])));
        }
    }
    for id in &members {
        let this = name(id);
        if !PEER_USERS.contains(&this) && reaches(id, &nodes, &|id| name(id) == PEER) {
            out.push(format!("{this} reaches {PEER}, the measured peer"));
        }
    }
    out
}

/// The packages in the output of `cargo tree --prefix none -f {p}`.
pub fn active(tree: &str) -> BTreeSet<String> {
    let package = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?;
        let version = words.next()?.strip_prefix('v')?;
        Some(format!("{name} {version}"))
    };
    tree.lines().filter_map(package).collect()
}

/// What one of ours imports of ours, dev-dependencies included.
fn imports(this: &str, ours: &[&str]) -> Vec<String> {
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == this) else {
        return vec![format!(
            "{this} is in no rule: ARCHITECTURE.md says who may import whom"
        )];
    };
    ours.iter()
        .filter(|name| !allowed.contains(&"*") && !allowed.contains(*name))
        .map(|name| format!("{this} imports {name}, which ARCHITECTURE.md does not allow"))
        .collect()
}

fn source(this: &str, source: &str) -> Option<String> {
    let known = source == "registry+https://github.com/rust-lang/crates.io-index";
    (!known).then(|| format!("{this} comes from {source:?}, not from crates.io"))
}

/// An SPDX expression is fine when some choice of its ORs is fine in all of its ANDs.
fn licence(this: &str, expression: &str) -> Option<String> {
    let known = |word: &str| LICENCES.contains(&word.trim());
    let plain = expression.replace('/', " OR ");
    let allowed = permitted(&plain, &known);
    (!allowed).then(|| format!("{this} has the licence {expression:?}"))
}

/// AND binds stronger than OR; parentheses are taken innermost first.
fn permitted(expression: &str, known: &dyn Fn(&str) -> bool) -> bool {
    let mut text = expression.to_owned();
    while let Some(close) = text.find(')') {
        let Some(open) = text[..close].rfind('(') else {
            return false;
        };
        let inner = flat(&text[open + 1..close], known);
        text.replace_range(open..=close, if inner { "MIT" } else { "Unknown" });
    }
    flat(&text, known)
}

fn flat(expression: &str, known: &dyn Fn(&str) -> bool) -> bool {
    expression
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(known))
}

fn reaches(from: &str, nodes: &BTreeMap<&str, Vec<&str>>, goal: &dyn Fn(&str) -> bool) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        if goal(id) {
            return true;
        }
        if seen.insert(id) {
            open.extend(nodes.get(id).into_iter().flatten().copied());
        }
    }
    false
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace of three and a registry crate, all in order.
    fn metadata() -> Value {
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        json!({
            "packages": [
                {"id": "pki", "name": "kenin-pki", "version": "1.0.0", "license": "MIT", "source": null},
                {"id": "smime", "name": "kenin-smime", "version": "1.0.0", "license": "MIT", "source": null},
                {"id": "policy", "name": "kenin-policy", "version": "1.0.0", "license": "MIT", "source": null},
                {"id": "serde", "name": "serde", "version": "1.0.0", "license": "MIT OR Apache-2.0", "source": registry},
            ],
            "workspace_members": ["pki", "smime", "policy"],
            "resolve": {"nodes": [
                {"id": "pki", "deps": [{"pkg": "serde"}]},
                {"id": "smime", "deps": [{"pkg": "pki"}]},
                {"id": "policy", "deps": [{"pkg": "pki"}, {"pkg": "smime"}]},
                {"id": "serde", "deps": []},
            ]},
        })
    }

    /// Everything in it is built.
    fn found(metadata: &Value) -> Vec<String> {
        let all = array(&metadata["packages"]).map(|p| format!("{} 1.0.0", text(&p["name"])));
        violations(metadata, &all.collect())
    }

    #[test]
    fn what_is_not_built_does_not_count() {
        let mut metadata = metadata();
        metadata["packages"][3]["name"] = json!("ring");
        let tree = "kenin-pki v1.0.0 (/x)\nkenin-smime v1.0.0 (/x)\nkenin-policy v1.0.0 (*)\n\n";
        assert_eq!(violations(&metadata, &active(tree)), Vec::<String>::new());
    }

    /// Plants one change and returns the single complaint.
    fn planted(change: impl FnOnce(&mut Value)) -> String {
        let mut metadata = metadata();
        change(&mut metadata);
        let found = found(&metadata);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn a_good_workspace_has_no_violations() {
        assert_eq!(found(&metadata()), Vec::<String>::new());
    }

    #[test]
    fn each_planted_violation_is_found() {
        let import = planted(|m| m["resolve"]["nodes"][0]["deps"][0]["pkg"] = json!("smime"));
        assert!(import.contains("kenin-pki imports kenin-smime"), "{import}");
        let banned = planted(|m| m["packages"][3]["name"] = json!("ring"));
        assert!(banned.contains("ring is banned"), "{banned}");
        let licence = planted(|m| m["packages"][3]["license"] = json!("GPL-3.0-only"));
        assert!(licence.contains("GPL-3.0-only"), "{licence}");
        let missing = planted(|m| m["packages"][3]["license"] = Value::Null);
        assert!(missing.contains("licence"), "{missing}");
        let git = planted(|m| m["packages"][3]["source"] = json!("git+https://example.org/x"));
        assert!(git.contains("not from crates.io"), "{git}");
        let unknown = planted(|m| m["packages"][2]["name"] = json!("kenin-utils"));
        assert!(unknown.contains("kenin-utils is in no rule"), "{unknown}");
        let mut peer = metadata();
        peer["packages"][3]["name"] = json!("openssl-sys");
        // All three reach it through the lowest.
        assert_eq!(found(&peer).len(), 3);
    }

    #[test]
    fn licence_expressions_are_read() {
        assert!(licence("a", "MIT").is_none());
        assert!(licence("a", "MIT/Apache-2.0").is_none());
        assert!(licence("a", "GPL-3.0 OR MIT").is_none());
        assert!(licence("a", "(MIT OR GPL-2.0) AND Unicode-3.0").is_none());
        assert!(licence("a", "MIT AND GPL-3.0").is_some());
        assert!(licence("a", "(MIT OR Apache-2.0) AND GPL-3.0").is_some());
        assert!(licence("a", "").is_some());
    }
}
