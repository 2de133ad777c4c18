//! `kenin explain`: every step from the bytes of a file to its verdict, as a tree; the header field it
//! would get; and what ordinary programs will show. The same engine as `verify`; stamps nothing.

use std::io::{self, Write};
use std::path::PathBuf;

use kenin_pki::certificate::Certificate;
use kenin_policy::stamp::{StampContext, stamp};
use kenin_policy::verdict::{CheckResult, SignatureVerdict};
use kenin_policy::{ResultWord, StampMode};
use kenin_smime::{Candidate, Check, Ess, SignatureFacts, SignerFacts, SignerId};

use super::arguments::{Explain, Format};
use super::engine::{Engine, Judged};
use super::input::{self, Kind};
use super::paint::{Paint, harmless};
use super::report;
use crate::exit::{Exit, Failure};

mod programs;
mod tree;

use tree::Tree;

/// Explains one file.
pub(super) fn command(
    config: &[PathBuf],
    options: &Explain,
    paint: Paint,
) -> Result<Exit, Failure> {
    input::standard_input_once([&options.file].into_iter().chain(&options.judge.content))?;
    let engine = Engine::new(config, &options.judge)?;
    let bytes = input::read(&options.file, engine.message_limit()).map_err(|error| {
        let mut failure = Failure::file(&options.file, &error);
        failure.exit = Exit::NoInput;
        failure
    })?;
    let read = bytes.len();
    let judged = engine.judge(bytes);
    let name = options.file.to_string_lossy();
    let explanation = Explanation {
        judged: &judged,
        engine: &engine,
        paint,
    };
    let mut out = io::stdout().lock();
    match options.format {
        Format::Text => {
            let tree = explanation.tree(&name, read);
            out.write_all(tree.draw().as_bytes())?;
        }
        Format::Json | Format::Jsonl => writeln!(out, "{}", explanation.json(&name, read))?,
    }
    Ok(if judged.verdict.is_pass() {
        Exit::Ok
    } else {
        Exit::Negative
    })
}

struct Explanation<'a> {
    judged: &'a Judged,
    engine: &'a Engine,
    paint: Paint,
}

impl Explanation<'_> {
    fn tree(&self, name: &str, read: usize) -> Tree {
        let verdict = &self.judged.verdict;
        let word = verdict.result.map_or("encrypted", |result| result.as_str());
        let headline = self.paint.result(word, report::headline(verdict));
        let mut tree = Tree::default();
        tree.branch(
            format!("{}: {headline}", self.paint.bold(&harmless(name))),
            |tree| {
                self.bytes(tree, read);
                self.sender(tree);
                self.layers(tree);
                for (facts, signature) in self.signatures() {
                    self.signature(tree, facts, signature);
                }
                self.decision(tree);
                self.stamp(tree);
                tree.branch("what ordinary programs show", |tree| {
                    for sentence in programs::what_they_show(verdict.reason) {
                        tree.line(*sentence);
                    }
                });
            },
        );
        tree
    }

    /// The object of `verify`, its members in the same order, and three more.
    fn json(&self, name: &str, read: usize) -> String {
        let mut json = self.judged.verdict.to_json(name);
        let closed = json.pop();
        debug_assert_eq!(closed, Some('}'));
        let plain = Self {
            paint: Paint::PLAIN,
            ..*self
        };
        let steps: Vec<serde_json::Value> = plain
            .tree(name, read)
            .lines()
            .skip(1)
            .map(|(depth, text)| serde_json::json!({"depth": depth, "text": text}))
            .collect();
        let programs = programs::what_they_show(self.judged.verdict.reason);
        for (key, value) in [
            ("stamp", serde_json::Value::from(self.stamped())),
            ("programs", programs.into()),
            ("steps", steps.into()),
        ] {
            json.push_str(&format!(",\"{key}\":{value}"));
        }
        json.push('}');
        json
    }

    fn bytes(&self, tree: &mut Tree, read: usize) {
        let what = match self.judged.kind {
            Kind::Mail => "mail",
            Kind::Cms => "a bare CMS object",
        };
        let ends = match self.judged.kind {
            _ if self.judged.bytes.len() == read => "",
            Kind::Mail => ", lone LF taken as CRLF",
            Kind::Cms => ", decoded from base64",
        };
        tree.line(format!("bytes: {read}, read as {what}{ends}"));
        tree.line(format!("time: {}", self.engine.time));
    }

    fn sender(&self, tree: &mut Tree) {
        if self.judged.kind == Kind::Cms {
            tree.line("sender: a bare CMS object has none; identity is not compared");
            return;
        }
        let from: Vec<String> = self
            .judged
            .verdict
            .from
            .iter()
            .map(|f| harmless(f))
            .collect();
        let from = if from.is_empty() {
            "cannot be read".to_owned()
        } else {
            from.join(", ")
        };
        tree.line(format!("sender: From {from}"));
    }

    fn layers(&self, tree: &mut Tree) {
        let examined = &self.judged.examined;
        if examined.layers.is_empty() {
            tree.line("structure: no protected layer");
        } else {
            tree.branch("structure", |tree| {
                for layer in &examined.layers {
                    let root = if layer.root { "" } else { ", below the root" };
                    let defect = layer.defect.map_or_else(String::new, |d| format!(": {d}"));
                    let kind = layer.kind.as_str();
                    tree.line(format!("section {}: {kind}{root}{defect}", layer.section));
                }
                for layer in &examined.encryption {
                    let algorithm = layer.algorithm_oid.as_deref().unwrap_or("unreadable");
                    tree.line(format!(
                        "section {}: encrypted by {} to {} recipient(s), not opened",
                        layer.section,
                        harmless(algorithm),
                        layer.recipients
                    ));
                }
            });
        }
        if let Some(defect) = examined.defect {
            let detail = examined.detail.unwrap_or(defect.detail());
            tree.line(format!(
                "the message as a whole: {} ({detail})",
                defect.id()
            ));
        }
    }

    /// Facts and judgement of each signed layer: the judgement lists root signatures first.
    fn signatures(&self) -> impl Iterator<Item = (Option<&SignatureFacts>, &SignatureVerdict)> {
        self.judged.verdict.signatures.iter().map(|signature| {
            let facts =
                self.judged.examined.signatures.iter().find(|facts| {
                    facts.section == signature.section && facts.root == signature.root
                });
            (facts, signature)
        })
    }

    fn signature(
        &self,
        tree: &mut Tree,
        facts: Option<&SignatureFacts>,
        signature: &SignatureVerdict,
    ) {
        let place = if signature.root {
            "on the whole message"
        } else {
            "below the root"
        };
        tree.branch(
            format!("signature in section {}, {place}", signature.section),
            |tree| {
                if let Some(facts) = facts {
                    facts_of(tree, facts);
                }
                for (name, result) in signature.checks.each() {
                    tree.line(format!("{name}: {}", self.check(result)));
                }
                path_of(tree, signature);
                let word = signature.result.as_str();
                let why = report::why_of(signature);
                let result = self
                    .paint
                    .result(word, &format!("{word} ({})", signature.reason.id()));
                if signature.root {
                    tree.line(format!("result: {result}: {why}"));
                } else {
                    tree.line(format!(
                        "worth, if it were on the whole message: {result}: {why}"
                    ));
                }
            },
        );
    }

    fn check(&self, result: CheckResult) -> String {
        match result {
            CheckResult::Ok => self.paint.result("pass", "ok"),
            CheckResult::Unchecked => "unchecked".to_owned(),
            CheckResult::Failed(reason) => {
                let id = self.paint.result(reason.result().as_str(), reason.id());
                format!("{id}, {}", reason.text())
            }
        }
    }

    fn decision(&self, tree: &mut Tree) {
        let verdict = &self.judged.verdict;
        let trust = &self.engine.trust;
        let word = verdict.result.map_or("no result", |result| result.as_str());
        let result = self
            .paint
            .result(word, &format!("{word} ({})", verdict.reason_id()));
        tree.branch(format!("verdict: {result}"), |tree| {
            tree.line(format!(
                "trusted: {} anchor(s), RSA from {} bits",
                trust.anchors().len(),
                trust.options().minimum_rsa_bits
            ));
            if let Some(reason) = verdict.reason {
                tree.line(format!("why: {}", report::why_all(verdict, reason)));
                tree.line(format!(
                    "what to do: {} ({})",
                    reason.advice(),
                    reason.actor().as_str()
                ));
                let strict = reason.strict_reply().map_or_else(
                    || "delivered".to_owned(),
                    |reply| format!("{} {} {}", reply.code, reply.enhanced, reply.text),
                );
                // Mail without a signature is refused only where a rule asks for one.
                let mode = match reason.result() {
                    ResultWord::None => "where a signature is required",
                    _ => "in strict mode",
                };
                tree.line(format!("{mode}: {strict}"));
            }
            tree.line(format!("RFC 9219: {}", verdict.rfc9219().unwrap_or("none")));
            if let Some((main, sub)) = verdict.indication() {
                let sub = sub.map_or_else(String::new, |sub| format!(", {sub}"));
                tree.line(format!("EN 319 102-1: {main}{sub}"));
            }
            for note in &verdict.notes {
                tree.line(format!("note: {}", note.id.id()));
            }
        });
    }

    /// The fields the service would put on top, one string a line.
    fn stamped(&self) -> Vec<String> {
        if self.judged.kind == Kind::Cms {
            return Vec::new();
        }
        let context = StampContext {
            authserv_id: &self.engine.authserv_id,
            site_authserv_ids: &self.engine.site_authserv_ids,
            key: None,
            id: "explain",
            now: self.engine.time,
            mode: StampMode::Headers,
            tags: false,
            wrapper: None,
            shielded_names: &[],
        };
        // The service takes no mail with a larger header.
        let bytes = &self.judged.bytes;
        let head = bytes.get(..self.engine.limits.header_size).unwrap_or(bytes);
        let edits = stamp(head, &self.judged.verdict, &context);
        let text = String::from_utf8_lossy(&edits.prepend).into_owned();
        text.lines().map(harmless).collect()
    }

    fn stamp(&self, tree: &mut Tree) {
        let lines = self.stamped();
        if lines.is_empty() {
            return;
        }
        tree.branch(
            "header that the service would write (and X-Kenin-Verdict, signed)",
            |tree| {
                for line in lines {
                    tree.line(line);
                }
            },
        );
    }
}

fn facts_of(tree: &mut Tree, facts: &SignatureFacts) {
    if let Some(defect) = facts.defect {
        let detail = facts.detail.unwrap_or(defect.detail());
        tree.line(format!("layer: {} ({detail})", defect.id()));
    }
    if let Some(content) = &facts.content {
        tree.line(format!(
            "signed bytes: {} to {}",
            content.start, content.end
        ));
    }
    tree.branch(
        format!("certificates in it: {}", facts.certificates.len()),
        |tree| {
            for certificate in &facts.certificates {
                tree.line(describe(certificate));
            }
        },
    );
    if !facts.crls.is_empty() {
        tree.line(format!("revocation lists in it: {}", facts.crls.len()));
    }
    for (number, signer) in facts.signers.iter().enumerate() {
        let number = number.saturating_add(1);
        tree.branch(
            format!("signer {number} of {}", facts.signers.len()),
            |tree| {
                signer_of(tree, signer);
            },
        );
    }
}

fn signer_of(tree: &mut Tree, signer: &SignerFacts) {
    tree.line(format!("named by {}", named_by(&signer.sid)));
    let digest = signer
        .digest
        .map_or(signer.digest_oid.as_str(), |digest| digest.name());
    let algorithm = signer
        .algorithm
        .map_or(signer.algorithm_oid.as_str(), |algorithm| algorithm.name());
    tree.line(format!(
        "algorithm {}, digest {}",
        harmless(algorithm),
        harmless(digest)
    ));
    tree.line(format!("digest of the content: {}", check(signer.content)));
    if let Some(time) = signer.signing_time {
        tree.line(format!(
            "claims to have signed at {time}; a claim, nothing else"
        ));
    }
    match signer.ess {
        Ess::Absent => {}
        Ess::Matched => tree.line("the signed attributes name this certificate (ESS)"),
        Ess::Mismatched => tree.line("the signed attributes name another certificate (ESS)"),
        Ess::Unreadable => tree.line("the signed name of the certificate (ESS) cannot be read"),
    }
    if let Some(defect) = signer.defect {
        let detail = signer.detail.unwrap_or(defect.detail());
        tree.line(format!("defect: {} ({detail})", defect.id()));
    }
    if signer.candidates.is_empty() {
        tree.line("no certificate at hand is the signer's");
    }
    for Candidate {
        certificate,
        signature,
        ..
    } in &signer.candidates
    {
        let signature = check(*signature);
        tree.line(format!(
            "candidate: {}; signature {signature}",
            describe(certificate)
        ));
    }
}

fn path_of(tree: &mut Tree, signature: &SignatureVerdict) {
    if signature.path.is_empty() && signature.status.is_empty() && signature.revoked.is_none() {
        return;
    }
    tree.branch("certification path, from the signer up", |tree| {
        for subject in &signature.path {
            tree.line(harmless(subject));
        }
        if let Some(anchor) = &signature.anchor {
            tree.line(format!("trust anchor {}", harmless(anchor)));
        }
        for status in &signature.status {
            // Each begins with the place of its certificate in the path.
            let place = status.split_once(' ');
            let subject = place.and_then(|(n, _)| signature.path.get(n.parse::<usize>().ok()?));
            match (place, subject) {
                (Some((_, text)), Some(subject)) => {
                    tree.line(format!(
                        "status of {}: {}",
                        harmless(subject),
                        harmless(text)
                    ));
                }
                _ => tree.line(format!("status: {}", harmless(status))),
            }
        }
        if let Some((time, reason)) = &signature.revoked {
            let reason = reason.map_or_else(String::new, |code| format!(", reason code {code}"));
            tree.line(format!("revoked at {time}{reason}"));
        }
    });
}

fn describe(certificate: &Certificate) -> String {
    let time = |time: Option<kenin_pki::time::UnixTime>| {
        time.map_or_else(|| "unreadable".to_owned(), |time| time.to_string())
    };
    format!(
        "{} by {}, serial {}, {} to {}",
        harmless(&certificate.subject().to_string()),
        harmless(&certificate.issuer().to_string()),
        certificate.serial_hex(),
        time(certificate.not_before().ok()),
        time(certificate.not_after().ok())
    )
}

fn check(check: Check) -> String {
    match check {
        Check::Ok => "ok".to_owned(),
        Check::Unchecked => "unchecked".to_owned(),
        Check::Failed(defect) => format!("{} ({})", defect.id(), defect.detail()),
    }
}

fn named_by(sid: &SignerId) -> String {
    match sid {
        // Without DER's sign octet, as the certificate's own is written.
        SignerId::IssuerAndSerial { serial, .. } => match serial.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => format!("issuer and serial {}", hex(rest)),
            serial => format!("issuer and serial {}", hex(serial)),
        },
        SignerId::KeyId(id) => format!("key identifier {}", hex(id)),
        SignerId::Unknown => "nothing readable".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(40)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
