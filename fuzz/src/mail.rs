//! Targets for what `smime/` and `policy/` read and write.

use kenin_pki::UnixTime;
use kenin_pki::crypto::Secret;
use kenin_policy::protect::{answered as answered_by, message_ids};
use kenin_policy::scrub::Scrubber;
use kenin_policy::step::{Answer, Case, run};
use kenin_policy::trust::PathOptions;
use kenin_policy::{
    HeaderEdits, Language, MailRules, ResultWord, StampContext, StampMode, TrustPolicy, header,
    stamp,
};
use kenin_smime::header_protection::{HeaderProtection, protect_header};
use kenin_smime::open::{EncryptedLayer, Integrity, expand, reassemble};
use kenin_smime::{Examined, Limits, examine, examine_cms, mime};

const NOW: UnixTime = UnixTime(1_790_000_000);

/// What the reader reports lies inside the message, and counts stay below the caps.
pub fn entity(data: &[u8]) {
    let limits = Limits::default();
    let examined = examine(data, &limits, &[]);
    for field in &examined.fields {
        assert!(field.name.start <= field.name.end && field.name.end <= field.whole.end);
        assert!(field.whole.end <= data.len());
    }
    assert!(examined.body.start <= examined.body.end && examined.body.end <= data.len());
    bounded(&examined, &limits);
}

/// Bare CMS keeps the caps too.
pub fn signed_data(data: &[u8]) {
    let limits = Limits::default();
    bounded(&examine_cms(data, None, &limits, &[]), &limits);
    bounded(&examine_cms(data, Some(b"content"), &limits, &[]), &limits);
}

/// Encrypted objects keep the caps, a key that nobody wrapped opens nothing that has a tag, and a content that
/// protects nothing brings no field of its own into the message.
pub fn enveloped(data: &[u8]) {
    let limits = Limits::default();
    let layers = [
        EncryptedLayer::of_cms(data, &limits),
        EncryptedLayer::of(data, &limits),
    ];
    for layer in layers.into_iter().flatten() {
        assert!(layer.recipients().len() <= limits.recipients);
        let key = Secret::new(vec![7; layer.key_len()]);
        if let Ok(opened) = layer.open_with(&key) {
            assert_eq!(opened.integrity, Integrity::None);
        }
    }
    let raw = b"From: a@example.jp\r\nSubject: outer\r\n\r\n";
    let out = reassemble(raw, data, &limits, &|name| name == "subject");
    for field in mime::fields(&out) {
        let content = out
            .get(field.name.clone())
            .and_then(|name| name.get(..8))
            .is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        let known = ["from", "subject", "mime-version"];
        assert!(content || known.iter().any(|name| field.is(&out, name)));
    }
}

/// Encryption leaves no word of a Subject, of Comments and of Keywords outside, and who opens it has all fields again.
pub fn hidden_header(data: &[u8]) {
    let Some(halves) = protect_header(data, HeaderProtection::Cipher) else {
        return;
    };
    let mut outer = halves.outer;
    outer.extend_from_slice(b"\r\n");
    for field in mime::fields(&outer) {
        assert!(!HIDDEN.iter().any(|name| field.is(&outer, name)));
        let whole = outer.get(field.whole.clone());
        assert!(!field.is(&outer, "subject") || whole == Some(b"Subject: [...]\r\n"));
    }
    let out = reassemble(&outer, &halves.entity, &Limits::default(), &|_| true);
    for name in ["subject", "comments", "keywords"] {
        assert_eq!(values(&out, name), values(data, name), "{name}");
    }
}

/// What the fields of a name say, in their order, but for white space.
fn values(raw: &[u8], name: &str) -> Vec<Vec<u8>> {
    let text = |value: &[u8]| {
        let octets = value.iter().copied();
        octets
            .filter(|octet| !octet.is_ascii_whitespace())
            .collect()
    };
    let of_name = mime::fields(raw).filter(|field| field.is(raw, name));
    of_name.map(|field| text(field.value(raw))).collect()
}

/// Fields of which encryption leaves nothing outside.
const HIDDEN: [&str; 2] = ["comments", "keywords"];

/// What names a mail is found again in an answer that names it so, and there is a bound to what is remembered.
pub fn answered(data: &[u8]) {
    let with = |name: &str| [name.as_bytes(), b": ", data, b"\r\n\r\n"].concat();
    let own = message_ids(&with("Message-ID"));
    let named = answered_by(&with("In-Reply-To"), &Limits::default());
    assert!(own.len() <= 64 && named.len() <= 256);
    // More fields may follow in there.
    if !data.contains(&b'\n') {
        assert_eq!(own, named);
    }
}

/// What is expanded keeps the caps.
pub fn compressed(data: &[u8]) {
    let limits = Limits::default();
    if let Some(Ok(expanded)) = expand(data, &limits) {
        let most = data.len() * limits.compression_ratio;
        assert!(expanded.len() <= most.max(64 * 1024));
    }
}

fn bounded(examined: &Examined, limits: &Limits) {
    for signature in &examined.signatures {
        assert!(signature.certificates.len() <= limits.certificates);
        assert!(signature.signers.len() <= limits.signers);
        assert!(!signature.section.is_empty() && signature.section.len() < 1024);
    }
}

/// An address that is taken for the sender's stands in the field as it is, on one line.
pub fn mailbox(data: &[u8]) {
    let mut raw = b"From: ".to_vec();
    raw.extend_from_slice(data);
    raw.extend_from_slice(b"\r\n\r\nbody\r\n");
    let field = kenin_policy::mailbox::from_field(&raw, &header::scan(&raw));
    if let Ok(mailbox) = field.mailbox {
        assert!(!mailbox.written.chars().any(char::is_control));
        assert!(mailbox.written.contains('@'));
    }
}

/// After scrubbing, nothing is left that claims to be ours; nothing else has moved.
pub fn scrub(data: &[u8]) {
    let scrubber = Scrubber::new("smime.gw.example", &["gw.example".to_owned()]);
    let remove = scrubber.ranges(data, &header::scan(data));
    let mut at = 0;
    for range in &remove {
        assert!(at <= range.start && range.start < range.end && range.end <= data.len());
        at = range.end;
    }
    let left = HeaderEdits {
        remove,
        ..HeaderEdits::default()
    }
    .apply(data);
    let header = header::scan(&left);
    for field in &header.fields {
        assert!(!scrubber.claims(&left, field), "a claim is left");
    }
}

/// Whatever the mail says, our fields are whole lines, stand once, and never say `pass` where no
/// authority is trusted.
pub fn stamp_writer(data: &[u8]) {
    let trust = TrustPolicy::from_parts(Vec::new(), PathOptions::default());
    let case = Case::new(data, &trust, &[], NOW, &Limits::default());
    let verdict = run(&case, |_| Answer::Unavailable("nobody is asked".to_owned())).verdict;
    assert_ne!(verdict.result, Some(ResultWord::Pass), "nobody is trusted");
    let context = StampContext {
        authserv_id: "smime.gw.example",
        site_authserv_ids: &[],
        key: None,
        id: "01",
        now: NOW,
        mode: StampMode::Subject(Language::Ja),
        tags: true,
        wrapper: None,
        shielded_names: &[],
    };
    let edits = stamp(data, &verdict, &context);
    let mut before = 0;
    for byte in &edits.prepend {
        assert!(*byte == b'\r' || *byte == b'\n' || (b' '..=b'~').contains(byte) || *byte == b'\t');
        assert_eq!(*byte == b'\n', before == b'\r', "no bare CR or LF");
        before = *byte;
    }
    let scrubber = Scrubber::new("smime.gw.example", &[]);
    let stamped = edits.apply(data);
    let header = header::scan(&stamped);
    let ours = header
        .fields
        .iter()
        .filter(|field| scrubber.claims(&stamped, field))
        .count();
    assert_eq!(
        ours,
        usize::from(!edits.prepend.is_empty()),
        "exactly one set"
    );
}

/// Rules are read or refused; a refusal says where.
pub fn mail_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match MailRules::from_toml(text, "mail.toml") {
        Ok(rules) => {
            let again = MailRules::from_toml(text, "another.toml");
            let again = again.map(|again| format!("{again:?}"));
            assert_eq!(again, Ok(format!("{rules:?}")));
        }
        Err(error) => {
            assert_eq!(error.file, "mail.toml");
            assert!(error.line > 0 && error.column > 0);
            assert!(error.line <= text.lines().count() + 1);
        }
    }
}

/// A policy file is read or refused; a refusal says where.
pub fn trust_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(error) = TrustPolicy::from_toml(text, "trust.toml", &|_| Ok(Vec::new())) {
        assert!(!error.to_string().is_empty());
    }
}
