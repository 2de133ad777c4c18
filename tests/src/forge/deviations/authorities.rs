//! The authorities between the root and the person: the issuer, and the upper one above it.

use super::super::certificates::{
    EMAIL_PROTECTION, SERVER_AUTH, basic_constraints, cn, ext_key_usage, extension, key_usage,
    name_constraints, rfc822,
};
use super::super::der::{boolean, int, null, oid, seq, time, tlv};
use super::super::draft::{ADDRESS, Draft, List, Place, Root, UNKNOWN, with_hash};
use super::super::keys::{Hash, Key};
use super::{Deviation, Kind, fault, fine};
use crate::oracles::Judge::Gpgsm;

/// Where an authority's certificate has its basicConstraints.
const BASIC: usize = 0;
const USAGE: usize = 1;
const ISSUER_KEY: usize = 2;
const OWN_KEY: usize = 3;

pub(super) fn all() -> Vec<Deviation> {
    let mut all = either("issuer", |d| &mut d.issuer, Kind::Fine);
    // There is one more authority below it.
    all.extend(either("upper", |d| &mut d.upper, Kind::Fault));
    all.extend(statuses());
    all.extend(names());
    all.extend(policies());
    all.push(fault("below another root", "root", |d| {
        d.root = Root::Strange
    }));
    all.push(fault("below a namesake of the root", "root", |d| {
        d.root = Root::Namesake
    }));
    all
}

/// What both have in common, but for a path length of zero.
fn either(who: &'static str, at: fn(&mut Draft) -> &mut Place, zero: Kind) -> Vec<Deviation> {
    let place = |what: &str| format!("{who} {what}");
    let fine = |what: &str, about: &str, apply: fn(&mut Place)| {
        fine(place(what), place(about), move |d| apply(at(d)))
    };
    let fault = |what: &str, about: &str, apply: fn(&mut Place)| Deviation {
        kind: Kind::Fault,
        ..fine(what, about, apply)
    };
    vec![
        fault("expired", "time", |p| {
            p.change(|form| form.not_after = time("20240101000000Z"))
        }),
        fault("not yet valid", "time", |p| {
            p.change(|form| form.not_before = time("20400101000000Z"))
        }),
        fault("without basicConstraints", "basic", |p| p.leave_out(BASIC)),
        fault("that is no authority", "basic", |p| {
            p.put(BASIC, basic_constraints(false, None))
        }),
        fine("not critically an authority", "basic", |p| {
            let basic = seq([boolean(true)]);
            p.put(BASIC, extension("2.5.29.19", false, &basic));
        }),
        fine("with path length one", "basic", |p| {
            p.put(BASIC, basic_constraints(true, Some(1)))
        }),
        Deviation {
            kind: zero,
            ..fine("with path length zero", "basic", |p| {
                p.put(BASIC, basic_constraints(true, Some(0)))
            })
        },
        fault("without keyCertSign", "usage", |p| {
            p.put(USAGE, key_usage(0x82))
        }),
        fault("without cRLSign", "usage", |p| {
            p.put(USAGE, key_usage(0x04))
        })
        .not_by(Gpgsm),
        fine("without key usage", "usage", |p| p.leave_out(USAGE)),
        fault("with unknown critical extension", "extension", |p| {
            p.add(extension(UNKNOWN, true, &null()))
        }),
        fine("without key identifiers", "identifiers", |p| {
            p.leave_out(ISSUER_KEY);
            p.leave_out(OWN_KEY);
        }),
        fault("for servers", "purpose", |p| {
            p.add(ext_key_usage(&[SERVER_AUTH]))
        })
        .not_by(Gpgsm),
        fine("for mail", "purpose", |p| {
            p.add(ext_key_usage(&[EMAIL_PROTECTION]))
        }),
        fault("badly signed", "signature", |p| p.is_badly_signed = true),
        fault("signed with SHA-1", "algorithm", |p| {
            p.change(|form| form.algorithm = with_hash(form.algorithm, Hash::Sha1))
        }),
        fault("of another issuer", "issuer", |p| {
            p.change(|form| form.issuer = cn("Somebody"))
        }),
        fine("with RSA-2048", "key", |p| p.key = Some(|| Key::rsa(2048))),
        fault("with RSA-1024", "key", |p| p.key = Some(|| Key::rsa(1024))).not_by(Gpgsm),
    ]
}

/// Lists that gpgsm does not see.
fn statuses() -> Vec<Deviation> {
    let place = "issuer list";
    let list = |list: List| move |d: &mut Draft| d.issuer.list = list;
    let all = vec![
        fault("upper revoked", "upper list", |d| d.upper.revoked = Some(2)),
        fault("issuer revoked", place, |d| d.issuer.revoked = Some(2)),
        fault("issuer list absent", place, list(List::Absent)),
        fault("issuer list stale", place, list(List::Stale)),
        fault("issuer list by another key", place, list(List::Namesake)),
        fault("issuer list badly signed", place, list(List::Broken)),
        fine(
            "issuer list of authorities",
            place,
            list(List::AuthoritiesOnly),
        ),
        fault("issuer list of persons", place, list(List::PersonsOnly)),
    ];
    all.into_iter().map(|one| one.not_by(Gpgsm)).collect()
}

fn adds(at: fn(&mut Draft) -> &mut Place, extension: Vec<u8>) -> impl Fn(&mut Draft) {
    move |draft| at(draft).add(extension.clone())
}

/// Constraints of names, which gpgsm does not know and refuses where they are critical.
fn names() -> Vec<Deviation> {
    let directory = |text: &str| tlv(0xa4, &cn(text));
    let host = |text: &str| tlv(0x82, text.as_bytes());
    let mail = |text: &str| rfc822(text.as_bytes());
    let permitted = |names: &[Vec<u8>]| name_constraints(names, &[]);
    let excluded = |names: &[Vec<u8>]| name_constraints(&[], names);
    let upper = |extension: Vec<u8>| adds(|d| &mut d.upper, extension);
    let place = "names";
    let all = vec![
        fault(
            "names of another domain",
            place,
            upper(permitted(&[mail("evil.example")])),
        ),
        fault(
            "names of subdomains",
            place,
            upper(permitted(&[mail(".example.jp")])),
        ),
        fine(
            "names of the domain",
            place,
            upper(permitted(&[mail("example.jp")])),
        ),
        fine(
            "names of the domain in capitals",
            place,
            upper(permitted(&[mail("EXAMPLE.JP")])),
        ),
        fine(
            "names of the address",
            place,
            upper(permitted(&[mail(ADDRESS)])),
        ),
        fine(
            "names of other hosts",
            place,
            upper(permitted(&[host("evil.example")])),
        ),
        fault(
            "names of other directories",
            place,
            upper(permitted(&[directory("Elsewhere")])),
        ),
        fault(
            "names but the address",
            place,
            upper(excluded(&[mail(ADDRESS)])),
        ),
        fault(
            "names but the address in capitals",
            place,
            upper(excluded(&[mail("person@EXAMPLE.JP")])),
        ),
        fault(
            "names but the domain",
            place,
            upper(excluded(&[mail("example.jp")])),
        ),
        fine(
            "names but other directories",
            place,
            upper(excluded(&[directory("Elsewhere")])),
        ),
        fault(
            "names but the domain, by the issuer",
            place,
            adds(|d| &mut d.issuer, excluded(&[mail("example.jp")])),
        ),
    ];
    all.into_iter().map(|one| one.not_by(Gpgsm)).collect()
}

/// Policies (RFC 5280 §6.1.2 to §6.1.5). What gpgsm does not know of them it refuses.
fn policies() -> Vec<Deviation> {
    let own = |number: u8| oid(&format!("1.3.6.1.4.1.99999.10.{number}"));
    let list = |policy: &[u8]| extension("2.5.29.32", false, &seq([seq([policy])]));
    let (one, two) = (list(&own(1)), list(&own(2)));
    let any = list(&oid("2.5.29.32.0"));
    let constraints = |parts: &[(u8, u8)]| {
        let parts = parts.iter().map(|(tag, skip)| tlv(*tag, &[*skip]));
        extension("2.5.29.36", true, &seq(parts))
    };
    let required = constraints(&[(0x80, 0)]);
    let unmapped = constraints(&[(0x80, 0), (0x81, 0)]);
    let mapped = extension("2.5.29.33", true, &seq([seq([own(1), own(2)])]));
    let no_any = extension("2.5.29.54", true, &int(0));
    let chain = |upper: &[&[u8]], issuer: &[&[u8]], leaf: &[&[u8]]| {
        let owned =
            |all: &[&[u8]]| -> Vec<Vec<u8>> { all.iter().map(|one| one.to_vec()).collect() };
        let (upper, issuer, leaf) = (owned(upper), owned(issuer), owned(leaf));
        move |d: &mut Draft| {
            upper.iter().for_each(|one| d.upper.add(one.clone()));
            issuer.iter().for_each(|one| d.issuer.add(one.clone()));
            leaf.iter().for_each(|one| d.leaf.add(one.clone()));
        }
    };
    let place = "policies";
    let mut all = vec![
        fine(
            "a required policy",
            place,
            chain(&[&one, &required], &[&one], &[&one]),
        ),
        fault(
            "a required policy, another there",
            place,
            chain(&[&one, &required], &[&one], &[&two]),
        ),
        fault(
            "a required policy, none there",
            place,
            chain(&[&one, &required], &[&one], &[]),
        ),
        fine(
            "a required policy, any there",
            place,
            chain(&[&any, &required], &[&any], &[&two]),
        ),
        fault(
            "a required policy, any forbidden",
            place,
            chain(&[&any, &required, &no_any], &[&any], &[&two]),
        ),
        fine(
            "a required policy, mapped",
            place,
            chain(&[&one, &required], &[&one, &mapped], &[&two]),
        ),
        fault(
            "a required policy, mapping forbidden",
            place,
            chain(&[&one, &unmapped], &[&one, &mapped], &[&two]),
        ),
    ];
    let critical = extension("2.5.29.32", true, &seq([seq([own(1)])]));
    all.push(fine(
        "a critical policy",
        place,
        chain(&[&one], &[&one], &[&critical]),
    ));
    all = all.into_iter().map(|one| one.not_by(Gpgsm)).collect();
    all.push(fine("a policy", place, chain(&[&one], &[&one], &[&one])));
    all.push(fine(
        "policies that do not meet",
        place,
        chain(&[&one], &[&one], &[&two]),
    ));
    all
}
