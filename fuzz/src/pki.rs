//! Targets for what `pki/` reads.

use kenin_pki::ber::{Limits, Tape};
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::oid::OidBuf;
use kenin_pki::path::{Budget, PathRules, StatusSources, TrustAnchor, find_path};
use kenin_pki::{Certificate, Crl, Name, UnixTime};
use kenin_policy::HolderAttributes;

/// A tape's elements lie inside the input, children inside their parents, and every element that
/// is definite reads the same on its own.
pub fn ber(data: &[u8]) {
    let Ok(tape) = Tape::parse_prefix(data, &Limits::default()) else {
        return;
    };
    assert!(tape.rest().len() < data.len());
    let mut open = vec![tape.root()];
    while let Some(cursor) = open.pop() {
        let whole = cursor.range();
        let content = cursor.content_range();
        assert!(
            whole.start <= content.start && content.end <= whole.end && whole.end <= data.len()
        );
        let mut at = content.start;
        for child in cursor.children() {
            assert_eq!(child.range().start, at, "children follow one another");
            at = child.range().end;
            open.push(child);
        }
        let _ = (cursor.oid(), cursor.integer(), cursor.small());
        if let Some(octets) = cursor.octet_string() {
            let total = octets.total();
            assert_eq!(octets.contiguous().len(), total);
            assert!(total <= data.len());
        }
    }
}

/// What a certificate shows of itself is printable, and its bytes are the ones that came.
pub fn certificate(data: &[u8]) {
    if let Ok(certificates) = Certificate::from_pem_or_der_many(data) {
        for certificate in &certificates {
            let _ = Certificate::from_der(certificate.der()).map(|again| {
                assert_eq!(
                    again.sha256(),
                    certificate.sha256(),
                    "reading twice is reading once"
                );
            });
        }
    }
    let Ok(certificate) = Certificate::from_der(data) else {
        return;
    };
    assert_eq!(certificate.der(), data);
    printable(certificate.subject());
    printable(certificate.issuer());
    let _ = certificate.subject_alt_names();
    if let Some(arc) = OidBuf::from_dotted("1.2.392.200149.8.5.5")
        && let Ok(Some(holder)) = HolderAttributes::read(&certificate, arc.as_oid())
    {
        for text in [&holder.name.value, &holder.address.value] {
            assert!(!text.is_empty() && !text.contains(char::is_control));
        }
    }
    let _ = certificate.name_constraints();
    let _ = certificate.verify_signature(certificate.public_key());
}

/// A response keeps the bytes that came, and a certificate is looked up without a panic.
pub fn ocsp(data: &[u8]) {
    let Ok(response) = OcspResponse::from_der(data) else {
        return;
    };
    assert_eq!(response.der(), data);
    assert_eq!(
        OcspResponse::from_der(response.der()).as_ref(),
        Ok(&response)
    );
    for certificate in response.certificates() {
        let key = certificate.public_key();
        let _ = response.about(certificate, key).count();
        let _ = response.is_by(certificate.subject(), key);
        let _ = response.verify_signature(key);
        let _ = response.mentions(certificate);
    }
}

/// Every entry of a list can be found, and a list reads the same twice.
pub fn crl(data: &[u8]) {
    let _ = Crl::from_pem_or_der_many(data);
    let Ok(crl) = Crl::from_der(data) else { return };
    assert_eq!(crl.der(), data);
    printable(crl.issuer());
    let _ = (
        crl.find(&[1]),
        crl.crl_number(),
        crl.issuing_distribution_point(),
    );
}

/// Certificates out of thin air never make a path: nobody signed them for the anchor, which is
/// the only certificate here that is taken as it is.
pub fn path(data: &[u8]) {
    let certificates = Certificate::from_pem_or_der_many(data).unwrap_or_default();
    let Some((anchor, rest)) = certificates.split_first() else {
        return;
    };
    let Some(target) = rest.last() else { return };
    let anchors = [TrustAnchor::from_certificate(anchor.clone())];
    let rules = PathRules::new(UnixTime(1_700_000_000));
    let mut budget = Budget::default();
    let found = find_path(
        target,
        rest,
        &anchors,
        StatusSources::default(),
        &rules,
        &mut budget,
    );
    if let Ok(path) = found {
        assert!(!path.certificates().is_empty());
        assert!(path.certificates().len() <= 12);
    }
}

fn printable(name: &Name) {
    let text = name.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
