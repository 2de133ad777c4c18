use super::*;

fn verdict(reason: Option<Reason>) -> Verdict {
    Verdict {
        result: reason.map(Reason::result),
        reason,
        ..crate::testing::unsigned()
    }
}

fn shows(domains: &[&str]) -> Shown {
    Shown {
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        ..Shown::default()
    }
}

/// What happens to the message where there is one answer to it: the first refusal counts.
fn act(rules: &MailRules, parties: Parties<'_>, verdict: &Verdict) -> Act {
    let each = rules.decide_each(parties, verdict);
    let refused = each.iter().find(|act| matches!(act, Act::Refuse { .. }));
    refused.unwrap_or(&each[0]).clone()
}

fn decide(
    rules: &MailRules,
    sender: &str,
    to: &[&str],
    reason: Option<Reason>,
) -> Option<(u16, &'static str, usize)> {
    let shown = shows(&["from.example"]);
    let parties = Parties {
        sender: Some(sender),
        shown: &shown,
        recipients: to,
    };
    match act(rules, parties, &verdict(reason)) {
        Act::Stamp(_) | Act::Hold { .. } => None,
        Act::Refuse { reply, rule, .. } => Some((reply.code, reply.enhanced, rule)),
    }
}

const RULES: &str = r#"
[[rule]]
when = { domain = "relaxed.example" }
then = { enforce = "stamp" }
[[rule]]
when = { recipient_domain = ["strict.example", "*.strict.example"] }
then = { enforce = "strict" }
[[rule]]
when = { sender_domain = "bank.example" }
then = { enforce = "strict", require_signature = true }
"#;

#[test]
fn an_address_with_a_star_for_somebody_is_a_mistake() {
    for list in [
        "\"*@b.example\"",
        "[\"a@b.example\", \"*@b.example\"]",
        "\"bob@*.example\"",
    ] {
        for key in ["sender", "recipient"] {
            let text =
                format!("[[rule]]\nwhen = {{ {key} = {list} }}\nthen = {{ encrypt = \"must\" }}\n");
            let error = MailRules::from_toml(&text, "mail.toml").unwrap_err();
            assert_eq!(error.line, 2);
            assert!(error.message.contains("recipient_domain"), "{error}");
        }
    }
}

#[test]
fn the_first_rule_that_matches_counts() {
    let rules = MailRules::from_toml(RULES, "mail.toml").unwrap();
    let fail = Some(Reason::DigestMismatch);
    assert_eq!(decide(&rules, "x.example", &["y.example"], fail), None);
    assert_eq!(
        decide(&rules, "x.example", &["STRICT.example"], fail),
        Some((550, "5.7.7", 2))
    );
    assert_eq!(
        decide(&rules, "x.example", &["a.strict.example"], fail),
        Some((550, "5.7.7", 2))
    );
    assert_eq!(
        decide(&rules, "x.example", &["xstrict.example"], fail),
        None
    );
    assert_eq!(
        decide(&rules, "x.example", &["relaxed.example"], fail),
        None
    );
    // From shows another domain: no exemption.
    assert_eq!(
        decide(&rules, "relaxed.example", &["strict.example"], fail),
        Some((550, "5.7.7", 2))
    );
    assert_eq!(
        decide(&rules, "x.example", &["y.example", "strict.example"], fail),
        Some((550, "5.7.7", 2))
    );
    assert_eq!(
        decide(&rules, "bank.example", &[], fail),
        Some((550, "5.7.7", 3))
    );
}

#[test]
fn the_table_of_strict_replies() {
    let rules = MailRules::from_toml(RULES, "mail.toml").unwrap();
    let strict = |reason| decide(&rules, "x.example", &["strict.example"], Some(reason));
    assert_eq!(strict(Reason::Ok), None);
    assert_eq!(strict(Reason::NotSigned), None);
    assert_eq!(strict(Reason::SignatureNotAtRoot), None);
    assert_eq!(
        strict(Reason::RevocationUnavailable),
        Some((451, "4.7.5", 2))
    );
    assert_eq!(strict(Reason::FromMismatch), Some((550, "5.7.1", 2)));
    assert_eq!(strict(Reason::WeakAlgorithm), Some((550, "5.7.6", 2)));
    assert_eq!(strict(Reason::LimitMime), Some((550, "5.6.0", 2)));
    assert_eq!(strict(Reason::TwoContents), Some((550, "5.7.5", 2)));
    assert_eq!(
        strict(Reason::UnsupportedAlgorithm),
        Some((550, "5.7.6", 2))
    );
    let bank = |reason| decide(&rules, "bank.example", &["y.example"], reason);
    assert_eq!(bank(Some(Reason::NotSigned)), Some((550, "5.7.1", 3)));
    assert_eq!(
        bank(Some(Reason::SignatureNotAtRoot)),
        Some((550, "5.7.1", 3))
    );
    assert_eq!(bank(None), None);
}

#[test]
fn patterns_hold_for_either_spelling_of_a_domain() {
    for pattern in [
        "*.例え.jp",
        "*.xn--r8jz45g.jp",
        "*.例え.JP",
        "Mail.例え.jp",
        "*",
    ] {
        let text = format!(
            "[[rule]]\nwhen = {{ recipient_domain = \"{pattern}\" }}\nthen = {{ enforce = \"strict\" }}\n"
        );
        let rules = MailRules::from_toml(&text, "mail.toml").unwrap();
        let failed = Some(Reason::DigestMismatch);
        for domain in ["mail.例え.jp", "mail.xn--r8jz45g.jp", "MAIL.XN--R8JZ45G.jp"] {
            assert!(
                decide(&rules, "a.example", &[domain], failed).is_some(),
                "{pattern} {domain}"
            );
        }
    }
}

#[test]
fn the_from_domain_is_a_sender_domain() {
    let rules = MailRules::from_toml(RULES, "mail.toml").unwrap();
    let shown = shows(&["Bank.Example"]);
    let parties = Parties {
        sender: Some("elsewhere.example"),
        shown: &shown,
        recipients: &["y.example"],
    };
    let spoofed = verdict(Some(Reason::NotSigned));
    assert!(matches!(
        act(&rules, parties, &spoofed),
        Act::Refuse { rule: 3, .. }
    ));
    let none = MailRules::default();
    assert_eq!(
        act(&none, parties, &spoofed),
        Act::Stamp(StampMode::Headers)
    );
}

#[test]
fn an_exempt_sender_exempts_nobody_else() {
    let text = "[[rule]]\nwhen = { sender_domain = \"partner.example\" }\nthen = {}\n\
                [[rule]]\nwhen = { sender_domain = \"bank.example\" }\n\
                then = { enforce = \"strict\", require_signature = true }\n";
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    let refused = |sender: Option<&str>, shown: &Shown| {
        let parties = Parties {
            sender,
            shown,
            recipients: &["y.example"],
        };
        let act = act(&rules, parties, &verdict(Some(Reason::NotSigned)));
        matches!(act, Act::Refuse { .. })
    };
    let partner = Some("partner.example");
    assert!(!refused(partner, &shows(&["partner.example"])));
    assert!(!refused(None, &shows(&["partner.example"])));
    assert!(refused(partner, &shows(&["bank.example"])));
    assert!(refused(
        partner,
        &shows(&["bank.example", "partner.example"])
    ));
    assert!(refused(Some("bank.example"), &shows(&["partner.example"])));
    assert!(!refused(Some("x.example"), &shows(&["y.example"])));
    let crowded = Shown {
        crowded: true,
        ..shows(&["partner.example"])
    };
    assert!(refused(partner, &crowded));
}

/// A rule that refuses a partner's forged mail says nothing of mail that must be encrypted, nor the other way round.
#[test]
fn a_rule_that_binds_otherwise_is_an_exemption() {
    let strict = "[[rule]]\nwhen = { sender_domain = \"partner.example\" }\n\
                  then = { enforce = \"strict\" }\n";
    let must = "[[rule]]\nwhen = { sender_domain = \"own.example\" }\n\
                then = { encrypt = \"must\" }\n";
    let failed = verdict(Some(Reason::DigestMismatch));
    for text in [format!("{strict}{must}"), format!("{must}{strict}")] {
        let rules = MailRules::from_toml(&text, "mail.toml").unwrap();
        for (sender, from, encrypted, refused) in [
            ("alice@own.example", "own.example", true, false),
            ("bob@partner.example", "partner.example", false, true),
            ("bob@partner.example", "own.example", true, true),
            ("alice@own.example", "partner.example", true, true),
        ] {
            let shown = shows(&[from]);
            let parties = Parties {
                sender: Some(sender),
                shown: &shown,
                recipients: &["carol@x.example"],
            };
            let wish = rules.protect_each(parties)[0];
            assert_eq!(wish.encrypt == Encrypt::Must, encrypted, "{sender} {from}");
            let act = act(&rules, parties, &failed);
            assert_eq!(
                matches!(act, Act::Refuse { .. }),
                refused,
                "{sender} {from}"
            );
        }
    }
}

#[test]
fn mistakes_have_a_place_and_a_suggestion() {
    for (text, line, words) in [
        (
            "[[rule]]\nthen = { enforc = \"strict\" }\n",
            2,
            "did you mean \"enforce\"",
        ),
        (
            "[[rule]]\nthen = { enforce = \"stric\" }\n",
            2,
            "did you mean \"strict\"",
        ),
        ("\n[[rules]]\nthen = {}\n", 2, "did you mean \"rule\""),
        (
            "[[rule]]\nwhen = { domian = \"a.example\" }\nthen = {}\n",
            2,
            "did you mean \"domain\"",
        ),
        (
            "[[rule]]\nthen = { require_signature = true }\n",
            1,
            "needs enforce",
        ),
        (
            "[[rule]]\nwhen = { domain = \"a b\" }\nthen = {}\n",
            2,
            "is not a domain",
        ),
        (
            "[[rule]]\nwhen = { recipient_domain = [] }\nthen = { enforce = \"strict\" }\n",
            2,
            "a list without a domain",
        ),
        (
            "[[rule]]\nwhen = { sender_domain = 5 }\nthen = {}\n",
            2,
            "expected one domain or address",
        ),
        (
            "[[rule]]\nthen = { language = \"ja\" }\n",
            1,
            "language needs stamp",
        ),
        (
            "[[rule]]\nthen = { stamp = \"subjekt\" }\n",
            2,
            "did you mean \"subject\"",
        ),
        (
            "[[rule]]\nwhen = { sender = \"example.jp\" }\nthen = {}\n",
            2,
            "is not a mail address",
        ),
        (
            "[[rule]]\nwhen = { recipient = [] }\nthen = {}\n",
            2,
            "a list without an address",
        ),
        (
            "[[rule]]\nthen = { encrypt = \"always\" }\n",
            2,
            "unknown variant",
        ),
        (
            "[[rule]]\nthen = { certificates = \"domain\" }\n",
            1,
            "certificates needs encrypt",
        ),
        (
            "[[rule]]\nthen = { sign = \"yes\" }\n",
            2,
            "unknown variant",
        ),
        ("[protect]\nunknown = \"gmc\"\n", 2, "did you mean \"gcm\""),
        ("[protect]\nreplies = \"never\"\n", 2, "unknown variant"),
        ("[[rule]]\nwhen = {}\n", 1, "missing field `then`"),
        ("[[rule]\n", 1, ""),
    ] {
        let error = MailRules::from_toml(text, "mail.toml").unwrap_err();
        assert_eq!(
            (error.file.as_str(), error.line),
            ("mail.toml", line),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
    let rules = |text| MailRules::from_toml(text, "mail.toml").unwrap();
    assert!(rules("").is_empty() && !rules("").may_refuse());
    assert!(!rules("[[rule]]\nthen = {}\n").may_refuse());
    assert!(rules("[[rule]]\nthen = { enforce = \"strict\" }\n").may_refuse());
}

#[test]
fn each_recipient_has_the_stamp_of_its_rule() {
    let text = "[[rule]]\nwhen = { recipient_domain = \"ja.example\" }\n\
                then = { stamp = \"subject\", language = \"ja\" }\n\
                [[rule]]\nwhen = { recipient_domain = \"sieve.example\" }\n\
                then = { stamp = \"folder\" }\n\
                [[rule]]\nwhen = { recipient_domain = \"en.example\" }\n\
                then = { stamp = \"subject\", enforce = \"strict\" }\n";
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    assert!(rules.may_tag());
    let shown = shows(&["from.example"]);
    let parties = Parties {
        sender: None,
        shown: &shown,
        recipients: &["ja.example", "sieve.example", "en.example", "x.example"],
    };
    let modes = |reason| {
        let each = rules.decide_each(parties, &verdict(Some(reason)));
        each.into_iter().map(|act| match act {
            Act::Stamp(mode) => Some(mode),
            Act::Refuse { .. } | Act::Hold { .. } => None,
        })
    };
    let (ja, folder) = (StampMode::Subject(Language::Ja), StampMode::Folder);
    let (en, headers) = (StampMode::Subject(Language::En), StampMode::Headers);
    let wanted = [Some(ja), Some(folder), Some(en), Some(headers)];
    assert!(modes(Reason::Ok).eq(wanted));
    let wanted = [Some(ja), Some(folder), None, Some(headers)];
    assert!(modes(Reason::DigestMismatch).eq(wanted));
}

#[test]
fn what_would_be_refused_for_good_is_held_where_the_rule_says_so() {
    let text = "[[rule]]\nwhen = { sender_domain = \"odd.example\" }\n\
                then = { enforce = \"quarantine\", require_signature = true, stamp = \"folder\" }\n\
                [[rule]]\nthen = { enforce = \"strict\" }\n";
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    assert!(rules.may_hold() && rules.may_refuse() && rules.may_bounce());
    let alone = MailRules::from_toml(text.split("[[rule]]\nthen").next().unwrap(), "mail.toml");
    assert!(!alone.unwrap().may_bounce());
    assert!(!MailRules::from_toml(RULES, "mail.toml").unwrap().may_hold());
    // As for a strict rule, one shown sender is enough.
    let shown = shows(&["from.example", "odd.example"]);
    let parties = Parties {
        sender: None,
        shown: &shown,
        recipients: &["a.example"],
    };
    let of = |reason| act(&rules, parties, &verdict(Some(reason)));
    for reason in [Reason::DigestMismatch, Reason::NotSigned] {
        let held = Act::Hold {
            reason,
            mode: StampMode::Folder,
            rule: 1,
        };
        assert_eq!(of(reason), held);
    }
    assert_eq!(of(Reason::Ok), Act::Stamp(StampMode::Folder));
    let later = of(Reason::RevocationUnavailable);
    assert!(matches!(later, Act::Refuse { rule: 1, .. }), "{later:?}");
    assert_eq!(
        act(&rules, parties, &verdict(None)),
        Act::Stamp(StampMode::Headers)
    );
}

#[test]
fn a_certificate_is_kept_where_the_rules_of_all_recipients_say_so() {
    let text = "[[rule]]\nwhen = { sender_domain = \"partner.example\" }\n\
                then = { enforce = \"strict\", harvest = \"use\" }\n\
                [[rule]]\nwhen = { recipient_domain = \"a.example\" }\nthen = { harvest = \"quarantine\" }\n\
                [[rule]]\nwhen = { recipient_domain = \"b.example\" }\nthen = { harvest = \"use\" }\n";
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    assert!(rules.may_harvest());
    assert!(!MailRules::default().may_harvest());
    let harvest = |sender, shown: &[&str], to: &[&str]| {
        let shown = shows(shown);
        rules.harvest(Parties {
            sender,
            shown: &shown,
            recipients: to,
        })
    };
    let other = Some("other.example");
    let from = ["other.example"];
    assert_eq!(harvest(other, &from, &["a.example"]), Harvest::Quarantine);
    assert_eq!(harvest(other, &from, &["b.example"]), Harvest::Use);
    let both = ["a.example", "b.example"];
    assert_eq!(harvest(other, &from, &both), Harvest::Quarantine);
    let more = ["b.example", "c.example"];
    assert_eq!(harvest(other, &from, &more), Harvest::Off);
    assert_eq!(harvest(other, &from, &[]), Harvest::Off);
    let partner = Some("partner.example");
    let own = ["partner.example"];
    assert_eq!(harvest(partner, &own, &["c.example"]), Harvest::Use);
    assert_eq!(harvest(None, &own, &["c.example"]), Harvest::Use);
    // The envelope names whom it likes.
    assert_eq!(harvest(partner, &from, &["c.example"]), Harvest::Off);
    assert!(MailRules::from_toml("[[rule]]\nthen = { harvest = \"yes\" }\n", "m").is_err());
}

fn wishes(rules: &MailRules, sender: Option<&str>, shown: &Shown, to: &[&str]) -> Vec<Wish> {
    rules.protect_each(Parties {
        sender,
        shown,
        recipients: to,
    })
}

#[test]
fn mail_is_protected_by_sender_recipient_and_domain() {
    let text = r#"
[protect]
unknown = "gcm"
header = false
replies = "by-rule"
[[rule]]
when = { recipient = ["Bob@Partner.example", "carol@partner.example"] }
then = { encrypt = "must", certificates = "either", sign = "opaque" }
[[rule]]
when = { recipient_domain = "partner.example" }
then = { encrypt = "opportunistic", sign = "clear" }
[[rule]]
when = { sender = "news@own.example" }
then = { sign = "never" }
[[rule]]
when = { sender_domain = "own.example" }
then = { encrypt = "must", certificates = "domain" }
"#;
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    assert!(rules.may_encrypt() && rules.may_sign() && !rules.may_refuse());
    let expected = Protecting {
        unknown: Unknown::Gcm,
        header: false,
        replies: false,
    };
    assert_eq!(rules.protecting(), expected);
    let from = |address: &str| {
        Shown::read(
            format!("From: {address}\r\n\r\n").as_bytes(),
            &crate::header::scan(format!("From: {address}\r\n\r\n").as_bytes()),
        )
    };
    let news = "news@own.example";
    let to = [
        "bob@partner.EXAMPLE",
        "dave@partner.example",
        "eve@elsewhere.example",
    ];
    let found = wishes(&rules, Some(news), &from(news), &to);
    assert_eq!(
        found,
        [
            Wish {
                encrypt: Encrypt::Must,
                certificates: Whose::Either,
                sign: Sign::Opaque,
                rule: Some(1),
            },
            Wish {
                encrypt: Encrypt::Opportunistic,
                sign: Sign::Clear,
                rule: Some(2),
                ..Wish::default()
            },
            Wish {
                sign: Sign::Never,
                rule: Some(3),
                ..Wish::default()
            },
        ]
    );
    // Everybody else of that domain.
    let alice = "alice@own.example";
    let found = wishes(
        &rules,
        Some(alice),
        &from(alice),
        &["eve@elsewhere.example"],
    );
    let expected = Wish {
        encrypt: Encrypt::Must,
        certificates: Whose::Domain,
        sign: Sign::Inside,
        rule: Some(4),
    };
    assert_eq!(found, [expected]);
    let stranger = "x@elsewhere.example";
    let found = wishes(
        &rules,
        Some(stranger),
        &from(stranger),
        &["eve@elsewhere.example"],
    );
    assert_eq!(found, [Wish::default()]);
    let none = MailRules::default();
    assert!(!none.may_encrypt() && !none.may_sign());
    assert_eq!(none.protecting(), Protecting::default());
    let usual = Protecting::default();
    assert!(usual.header && usual.replies && usual.unknown == Unknown::Cbc);
}

/// What must be encrypted is not let out by a second sender beside the first, nor by one who is exempt.
#[test]
fn an_exemption_from_encryption_is_not_to_be_had_by_naming_somebody() {
    let text = r#"
[[rule]]
when = { sender = "news@own.example" }
then = {}
[[rule]]
when = { sender = ["alice@own.example"] }
then = { encrypt = "must" }
"#;
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    let must = |sender: Option<&str>, from: &str| {
        let raw = format!("From: {from}\r\n\r\n");
        let shown = Shown::read(raw.as_bytes(), &crate::header::scan(raw.as_bytes()));
        let found = wishes(&rules, sender, &shown, &["bob@partner.example"]);
        found[0].encrypt == Encrypt::Must
    };
    let (alice, news) = ("alice@own.example", "news@own.example");
    assert!(must(Some(alice), alice));
    assert!(must(Some("ALICE@own.example"), "Alice <Alice@OWN.example>"));
    assert!(must(Some(news), alice));
    assert!(must(Some(alice), news));
    assert!(must(Some(news), &format!("{news}, {alice}")));
    assert!(must(None, &format!("=?utf-8?Q?{alice}?= <x@y.example>")));
    assert!(!must(Some(news), news));
    assert!(!must(Some("x@y.example"), "x@y.example"));
    // A domain of which the mailbox is not known is nobody's exemption.
    let bare = wishes(
        &rules,
        Some(news),
        &shows(&["own.example"]),
        &["bob@partner.example"],
    );
    assert_eq!(bare[0].rule, None);
    let other = wishes(
        &rules,
        Some(news),
        &shows(&["elsewhere.example"]),
        &["bob@partner.example"],
    );
    assert_eq!(other[0].rule, None);
}

/// Spellings of these domains that an MTA maps to them before it looks for its next hop (UTS 46).
const PARTNER: [&str; 6] = [
    "ⓟartner.example",
    "part\u{ad}ner.example",
    "partner.example\u{200b}",
    "ＰＡＲＴＮＥＲ．example",
    "partner。example",
    "𝐩artner.ex\u{2060}ample",
];
const BOOKS: [&str; 4] = [
    "bücher.example",
    "bu\u{308}cher.example",
    "BU\u{308}CHER.example",
    "xn--bcher-kva.example",
];

#[test]
fn no_spelling_of_a_recipients_domain_gets_around_a_rule() {
    let text = r#"
[[rule]]
when = { recipient_domain = "free.example" }
then = { encrypt = "never" }
[[rule]]
when = { recipient = ["bob@partner.example", "bob@bücher.example"] }
then = { encrypt = "must", certificates = "either" }
[[rule]]
when = { recipient_domain = ["partner.example", "bücher.example"] }
then = { encrypt = "must" }
"#;
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    let rule = |to: &str| {
        let sender = Some("alice@own.example");
        wishes(&rules, sender, &shows(&["own.example"]), &[to])[0].rule
    };
    for domain in PARTNER.iter().chain(&BOOKS) {
        assert_eq!(rule(&format!("ann@{domain}")), Some(3), "{domain:?}");
        for local in ["bob", "BOB", "\"bob\"", "\"b\\ob\""] {
            let to = format!("{local}@{domain}");
            assert_eq!(rule(&to), Some(2), "{to:?}");
        }
    }
    assert_eq!(rule("ann@free.example"), Some(1));
    assert_eq!(rule("ann@fre\u{ad}e.example"), Some(1));
    // Other domains, to MTAs too: a joiner that stays, another letter, one that is not mapped.
    for other in [
        "fr\u{200d}ee.example",
        "frее.example",
        "xfree.example",
        "free.example.x",
    ] {
        assert_eq!(rule(&format!("ann@{other}")), None, "{other:?}");
    }
}

#[test]
fn no_spelling_of_from_gets_around_a_rule_for_a_sender() {
    let text = r#"
[[rule]]
when = { sender = ["boss@own.example", "boss@bücher.example"] }
then = { encrypt = "must" }
"#;
    let rules = MailRules::from_toml(text, "mail.toml").unwrap();
    let must = |from: &str| {
        let raw = format!("From: {from}\r\n\r\n");
        let shown = Shown::read(raw.as_bytes(), &crate::header::scan(raw.as_bytes()));
        let sender = Some("clerk@own.example");
        wishes(&rules, sender, &shown, &["bob@partner.example"])[0].encrypt == Encrypt::Must
    };
    for from in [
        "boss@own.example",
        "\"boss\"@own.example",
        "boss(c)@own.example",
        "boss @ own.example",
        "\"b\\oss\"@own.example",
        "b\\oss@own.example",
        "Boss <\"boss\" @ OWN.example>",
        "boss@ow\u{ad}n.example",
        "boss@ⓞwn.example",
        "boss@bu\u{308}cher.example",
        "boss@bücher.example",
    ] {
        assert!(must(from), "{from:?}");
    }
    assert!(!must("clerk@own.example"));
    assert!(!must("\"clerk\"@own.example"));
}
