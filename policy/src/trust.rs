//! Whom this gateway trusts, for what, and how strictly: `trust.toml`, or the options of a command.
//!
//! Never reads a file itself (a caller's function does) and never a clock. Verification cannot be
//! switched off here: what can be relaxed has a name and stands in the file.

use std::path::{Path, PathBuf};

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::DigestAlgorithm;
use kenin_pki::name::Name;
use kenin_pki::oid::OidBuf;
use kenin_pki::path::{AlgorithmFloor, PathRules, Purpose, RevocationMode, TrustAnchor};
use kenin_pki::time::UnixTime;

use crate::profile::Profile;
use crate::toml_error::ConfigError;

mod fetch;
mod file;

pub use fetch::{Fetching, Sources, Written};
use file::{TrustFile, Use};

/// Authorities in a row below an anchor.
const MAX_CHAIN: usize = 8;

/// The trust policy in force.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    anchors: Vec<Anchor>,
    groups: Vec<AnchorGroup>,
    time_stamping: Vec<Anchor>,
    time_stampers: Vec<TrustAnchor>,
    options: PathOptions,
    intermediates: Vec<PathBuf>,
    crls: Vec<PathBuf>,
    fetching: Fetching,
    revision: String,
}

/// One trust anchor and what it is trusted for.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Its name in the file, unique.
    pub name: String,
    /// The certificate that carries it.
    pub certificate: Certificate,
    /// The rest.
    pub settings: AnchorSettings,
}

/// How an anchor is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorSettings {
    /// How strict revocation is.
    pub revocation: RevocationMode,
    /// How much of a certificate below it may be shown to others.
    pub disclosure: Disclosure,
    /// Whether local parts are compared with regard to case.
    pub exact_case: bool,
    /// Whether an emailAddress in the subject counts where the certificate has no address else.
    pub dn_email: bool,
    /// What certificates below it look like, where that is known.
    pub profile: Option<Profile>,
}

impl AnchorSettings {
    /// Whether the certificates below it are of persons, by a profile or by what may be shown of them, and
    /// not of mail addresses.
    pub(crate) fn is_for_cards(&self) -> bool {
        self.profile.is_some() || self.disclosure == Disclosure::VerdictOnly
    }
}

impl Default for AnchorSettings {
    fn default() -> Self {
        Self {
            revocation: RevocationMode::Required,
            disclosure: Disclosure::Full,
            exact_case: false,
            dn_email: false,
            profile: None,
        }
    }
}

/// How much may leave the gateway about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Disclosure {
    /// Everything a signer shows by signing.
    #[default]
    Full,
    /// Only the verdict.
    VerdictOnly,
}

/// The inputs of RFC 5280 §6.1.1 that an administrator may set, and the algorithm floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathOptions {
    /// The algorithm floor.
    pub minimum_rsa_bits: usize,
    /// Acceptable policies; none means any.
    pub initial_policies: Vec<OidBuf>,
    /// A policy must be acceptable.
    pub require_explicit_policy: bool,
    /// Policy mapping is not allowed.
    pub inhibit_policy_mapping: bool,
    /// anyPolicy does not match.
    pub inhibit_any_policy: bool,
}

impl Default for PathOptions {
    fn default() -> Self {
        Self {
            minimum_rsa_bits: 2048,
            initial_policies: Vec::new(),
            require_explicit_policy: false,
            inhibit_policy_mapping: false,
            inhibit_any_policy: false,
        }
    }
}

/// Anchors that share the rules of a path search.
#[derive(Clone, Debug)]
pub(crate) struct AnchorGroup {
    pub(crate) mode: RevocationMode,
    pub(crate) anchors: Vec<TrustAnchor>,
    /// Position of each in the list of all anchors.
    pub(crate) places: Vec<usize>,
}

impl TrustPolicy {
    /// A policy from its parts, as the options of `kenin verify` give them.
    pub fn from_parts(anchors: Vec<Anchor>, options: PathOptions) -> Self {
        let mut groups: Vec<AnchorGroup> = Vec::new();
        for (place, anchor) in anchors.iter().enumerate() {
            let mode = anchor.settings.revocation;
            let trusted = anchor.trusted();
            match groups.iter_mut().find(|group| group.mode == mode) {
                Some(group) => {
                    group.anchors.push(trusted);
                    group.places.push(place);
                }
                None => groups.push(AnchorGroup {
                    mode,
                    anchors: vec![trusted],
                    places: vec![place],
                }),
            }
        }
        // The strictest first: what it knows to be revoked is not asked of the others.
        groups.sort_by_key(|group| match group.mode {
            RevocationMode::Required => 0,
            RevocationMode::IfAvailable => 1,
            RevocationMode::Off => 2,
        });
        let revision = revision(&anchors, &[], &options);
        Self {
            anchors,
            groups,
            time_stamping: Vec::new(),
            time_stampers: Vec::new(),
            options,
            intermediates: Vec::new(),
            crls: Vec::new(),
            fetching: Fetching::default(),
            revision,
        }
    }

    /// With anchors that are trusted to stamp times, and by that for nothing else.
    #[must_use]
    pub fn with_time_stamping(mut self, anchors: Vec<Anchor>) -> Self {
        self.revision = revision(&self.anchors, &anchors, &self.options);
        self.time_stampers = anchors.iter().map(Anchor::trusted).collect();
        self.time_stamping = anchors;
        self
    }

    /// The policy of a `trust.toml`.
    ///
    /// `file` is its name in errors; `load` gives the certificates in a file that the policy names,
    /// by the path as written.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn from_toml(
        text: &str,
        file: &str,
        load: &dyn Fn(&Path) -> Result<Vec<Certificate>, String>,
    ) -> Result<Self, ConfigError> {
        let written: TrustFile =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(file, text, &error))?;
        let options = PathOptions {
            minimum_rsa_bits: written.algorithms.checked_rsa_bits(text, file)?,
            ..PathOptions::default()
        };
        let mut anchors: Vec<Anchor> = Vec::new();
        let mut time_stamping: Vec<Anchor> = Vec::new();
        let mut fetching = written.fetch.read(text, file)?;
        for anchor in written.anchor {
            let at = |message: String| ConfigError::at(file, text, anchor.file.span(), message);
            let path: &Path = anchor.file.get_ref();
            // Several certificates of one file are `name#1`, `name#2`.
            let taken = |other: &Anchor| {
                let rest = other.name.strip_prefix(anchor.name.get_ref().as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
            };
            if anchors.iter().chain(&time_stamping).any(taken) {
                let message = format!("two anchors are named `{}`", anchor.name.get_ref());
                return Err(ConfigError::at(file, text, anchor.name.span(), message));
            }
            if anchor.name.get_ref().is_empty() {
                return Err(ConfigError::at(
                    file,
                    text,
                    anchor.name.span(),
                    "an anchor needs a name",
                ));
            }
            if anchor.uses.get_ref().is_empty() {
                let message = "an anchor for nothing; write use = [\"mail-signing\"]";
                return Err(ConfigError::at(file, text, anchor.uses.span(), message));
            }
            let certificates = load(path).map_err(&at)?;
            if certificates.is_empty() {
                return Err(at(format!("no certificate in {}", path.display())));
            }
            let many = certificates.len() > 1;
            let settings = anchor.settings(text, file)?;
            let sources = anchor.sources(&certificates, text, file)?;
            fetching.sources.extend(sources);
            for (place, certificate) in certificates.into_iter().enumerate() {
                let name = match many {
                    true => format!("{}#{}", anchor.name.get_ref(), place + 1),
                    false => anchor.name.get_ref().clone(),
                };
                let one = Anchor {
                    name,
                    certificate,
                    settings: settings.clone(),
                };
                let uses = anchor.uses.get_ref();
                if uses.contains(&Use::TimeStamping) {
                    time_stamping.push(one.clone());
                }
                if uses.contains(&Use::MailSigning) {
                    anchors.push(one);
                }
            }
        }
        let mut policy = Self::from_parts(anchors, options).with_time_stamping(time_stamping);
        policy.intermediates = written.intermediates;
        policy.crls = written.crls;
        policy.fetching = fetching;
        Ok(policy)
    }

    /// The anchors for signed mail, in the order written.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// Names of the authorities whose certificates must not be shown to others: the anchors that say so, and
    /// those below them, as far as they are `known`.
    pub fn shielded_names<'c>(&'c self, known: &'c [Certificate]) -> Vec<&'c Name> {
        self.shielded_among(known, &[])
    }

    /// The same where a message brings certificates along: one that claims to stand below such an authority is
    /// taken at its word.
    pub(crate) fn shielded_among<'c>(
        &'c self,
        known: &'c [Certificate],
        brought: &'c [Certificate],
    ) -> Vec<&'c Name> {
        let closed = |anchor: &&Anchor| anchor.settings.disclosure == Disclosure::VerdictOnly;
        let anchors = self.anchors.iter().filter(closed);
        let mut names: Vec<&Name> = anchors.map(|anchor| anchor.certificate.subject()).collect();
        if names.is_empty() {
            return names;
        }
        // Each round finds what stands below the last: chains are short.
        for _ in 0..MAX_CHAIN {
            let all = known.iter().chain(brought);
            let below =
                all.filter(|one| names.contains(&one.issuer()) && !names.contains(&one.subject()));
            let below: Vec<&Name> = below.map(Certificate::subject).collect();
            if below.is_empty() {
                break;
            }
            names.extend(below);
        }
        names
    }

    /// The anchors for time stamps, in the order written.
    pub fn time_stamping(&self) -> &[Anchor] {
        &self.time_stamping
    }

    /// Files and folders with intermediate certificates, as written.
    pub fn intermediates(&self) -> &[PathBuf] {
        &self.intermediates
    }

    /// Files and folders with revocation lists, as written.
    pub fn crls(&self) -> &[PathBuf] {
        &self.crls
    }

    /// What may be fetched and from where, as written; nothing where nothing is.
    pub fn fetching(&self) -> &Fetching {
        &self.fetching
    }

    /// The path options and the algorithm floor.
    pub fn options(&self) -> &PathOptions {
        &self.options
    }

    /// A short name of this very policy: equal policies have equal revisions.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    pub(crate) fn groups(&self) -> &[AnchorGroup] {
        &self.groups
    }

    /// The same as where paths end.
    pub(crate) fn time_stampers(&self) -> &[TrustAnchor] {
        &self.time_stampers
    }

    /// Whether any anchor wants revocation looked at.
    pub(crate) fn wants_status(&self) -> bool {
        self.groups
            .iter()
            .any(|group| group.mode != RevocationMode::Off)
    }

    /// The rules for a path to an anchor of the group at `time`.
    pub(crate) fn rules(&self, mode: RevocationMode, time: UnixTime) -> PathRules {
        PathRules {
            revocation: mode,
            purpose: Purpose::MailSigning,
            initial_policies: self.options.initial_policies.clone(),
            require_explicit_policy: self.options.require_explicit_policy,
            inhibit_policy_mapping: self.options.inhibit_policy_mapping,
            inhibit_any_policy: self.options.inhibit_any_policy,
            algorithms: AlgorithmFloor {
                minimum_rsa_bits: self.options.minimum_rsa_bits,
                ..AlgorithmFloor::default()
            },
            check_anchor_validity: true,
            ..PathRules::new(time)
        }
    }

    /// The rules for a path to an anchor for time stamps. Its revocation setting is for mail: that an
    /// authority has not been revoked is always asked.
    pub(crate) fn time_stamping_rules(&self, time: UnixTime) -> PathRules {
        PathRules {
            purpose: Purpose::TimeStamping,
            // These policies are of certificates that sign mail.
            initial_policies: Vec::new(),
            require_explicit_policy: false,
            ..self.rules(RevocationMode::Required, time)
        }
    }
}

impl Anchor {
    /// As where a path ends. What a root says of itself binds (RFC 5937), as other verifiers have it: an expired
    /// or constrained root vouches for no more than it claims. A version 1 root says nothing.
    fn trusted(&self) -> TrustAnchor {
        let trusted = TrustAnchor::from_certificate(self.certificate.clone());
        match self.certificate.extensions() {
            [] => trusted,
            _ => trusted.constrained(),
        }
    }
}

fn revision(anchors: &[Anchor], time_stamping: &[Anchor], options: &PathOptions) -> String {
    let mut text = format!("{options:?}");
    for (anchors, word) in [(anchors, ""), (time_stamping, "time-stamping ")] {
        for anchor in anchors {
            text.push_str(&format!(
                "\n{word}{} {} {:?}",
                anchor.name,
                hex(anchor.certificate.sha256().as_ref()),
                anchor.settings
            ));
        }
    }
    let mut digest = hex(DigestAlgorithm::Sha256.digest(text.as_bytes()).as_ref());
    digest.truncate(16);
    digest
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| {
        char::from(if value < 10 {
            b'0' + value
        } else {
            b'a' - 10 + value
        })
    };
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use kenin_pki::extension::KeyUsage;

    use super::*;
    use crate::testing::World;

    fn parse(text: &str) -> Result<TrustPolicy, ConfigError> {
        let world = World::new();
        TrustPolicy::from_toml(text, "trust.toml", &|path: &Path| match path.to_str() {
            Some("one.pem") => Ok(vec![world.root.certificate.clone()]),
            Some("two.pem") => Ok(vec![
                world.root.certificate.clone(),
                world.middle.certificate.clone(),
            ]),
            Some("none.pem") => Ok(Vec::new()),
            _ => Err("cannot read it".to_owned()),
        })
    }

    #[test]
    fn a_full_file() {
        let policy = parse(
            r#"
intermediates = ["intermediates"]
crls = ["crls", "more.crl"]
[algorithms]
minimum_rsa_bits = 3072
[[anchor]]
name = "example-root"
file = "one.pem"
use = ["mail-signing"]
revocation = "if-available"
disclosure = "verdict-only"
address_case = "exact"
dn_email = true
[anchor.profile]
certificate_policies = ["1.2.392.200149.8.5.1.1.20"]
key_usage = ["digital-signature", "non-repudiation"]
holder_attributes = "1.2.392.200149.8.5.5"
[[anchor]]
name = "bundle"
file = "two.pem"
"#,
        )
        .unwrap();
        assert_eq!(policy.intermediates(), [PathBuf::from("intermediates")]);
        assert_eq!(policy.crls().len(), 2);
        assert_eq!(policy.options().minimum_rsa_bits, 3072);
        let names: Vec<&str> = policy.anchors().iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["example-root", "bundle#1", "bundle#2"]);
        assert_eq!(
            policy.anchors()[0].settings,
            AnchorSettings {
                revocation: RevocationMode::IfAvailable,
                disclosure: Disclosure::VerdictOnly,
                exact_case: true,
                dn_email: true,
                profile: Some(Profile {
                    policies: vec![OidBuf::from_dotted("1.2.392.200149.8.5.1.1.20").unwrap()],
                    key_usage: Some(KeyUsage(
                        KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION
                    )),
                    holder_attributes: OidBuf::from_dotted("1.2.392.200149.8.5.5"),
                }),
            }
        );
        assert_eq!(policy.anchors()[1].settings, AnchorSettings::default());
        assert_eq!(policy.groups().len(), 2);
        assert!(policy.wants_status());
    }

    #[test]
    fn a_profile_may_ask_for_the_holder_alone() {
        let policy = parse(
            "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { holder_attributes = \"1.2.3\" }\n",
        )
        .unwrap();
        let expected = Profile {
            holder_attributes: OidBuf::from_dotted("1.2.3"),
            ..Profile::default()
        };
        assert_eq!(policy.anchors()[0].settings.profile, Some(expected));
    }

    #[test]
    fn an_anchor_is_trusted_for_the_uses_that_are_written() {
        let policy = parse(
            r#"
[[anchor]]
name = "times"
file = "one.pem"
use = ["time-stamping"]
[[anchor]]
name = "both"
file = "two.pem"
use = ["mail-signing", "time-stamping"]
"#,
        )
        .unwrap();
        let names = |anchors: &[Anchor]| anchors.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(policy.anchors()), ["both#1", "both#2"]);
        assert_eq!(names(policy.time_stamping()), ["times", "both#1", "both#2"]);
        let usual = parse("[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\n").unwrap();
        assert!(usual.time_stamping().is_empty());
        let stamping = usual.clone().with_time_stamping(policy.time_stamping);
        assert_ne!(usual.revision(), stamping.revision());
        assert_eq!(
            usual.revision(),
            usual.clone().with_time_stamping(Vec::new()).revision()
        );
        let twice = parse(
            "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nuse = [\"time-stamping\"]\n\
             [[anchor]]\nname = \"a\"\nfile = \"one.pem\"\n",
        );
        assert!(twice.unwrap_err().to_string().contains("two anchors"));
    }

    #[test]
    fn the_revision_follows_the_policy() {
        let world = World::new();
        let anchor = |settings: AnchorSettings| Anchor {
            name: "a".to_owned(),
            certificate: world.root.certificate.clone(),
            settings,
        };
        let of = |settings, options: PathOptions| {
            TrustPolicy::from_parts(vec![anchor(settings)], options)
                .revision()
                .to_owned()
        };
        let usual = of(AnchorSettings::default(), PathOptions::default());
        assert_eq!(usual, of(AnchorSettings::default(), PathOptions::default()));
        assert_eq!(usual.len(), 16);
        assert_ne!(usual, of(crate::testing::off(), PathOptions::default()));
        let options = PathOptions {
            require_explicit_policy: true,
            ..PathOptions::default()
        };
        assert_ne!(usual, of(AnchorSettings::default(), options));
        assert!(parse("").unwrap().anchors().is_empty());
    }

    #[test]
    fn mistakes_have_a_place_and_a_suggestion() {
        for (text, line, words) in [
            ("[[anchr]]\n", 1, "did you mean \"anchor\""),
            (
                "\n[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nrevokation = \"off\"\n",
                5,
                "did you mean \"revocation\"",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nrevocation = \"of\"\n",
                4,
                "did you mean \"off\"",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nuse = [\"mail\"]\n",
                4,
                "mail-signing",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nuse = []\n",
                4,
                "an anchor for nothing",
            ),
            ("[[anchor]]\nname = \"a\"\n", 1, "missing field `file`"),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"lost.pem\"\n",
                3,
                "cannot read it",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"none.pem\"\n",
                3,
                "no certificate",
            ),
            (
                "[[anchor]]\nname = \"\"\nfile = \"one.pem\"\n",
                2,
                "needs a name",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\n[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\n",
                5,
                "two anchors",
            ),
            ("[algorithms]\nminimum_rsa_bits = 1024\n", 2, "between 2048"),
            ("[algorithms]\nminimum_rsa_bits = -1\n", 2, ""),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = {}\n",
                4,
                "asks for nothing",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { certificate_policies = [], key_usage = [\"non-repudiation\"] }\n",
                4,
                "asks for nothing",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { certificate_policies = [\"1.2.3\"], key_usage = [] }\n",
                4,
                "asks for nothing",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { certificate_policies = [\"1.2.\"] }\n",
                4,
                "not an object identifier",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { certificate_policies = [\"2.5.29.32.0\"] }\n",
                4,
                "anyPolicy",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { holder_attributes = \"\" }\n",
                4,
                "not an object identifier",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { holder_attributes = [\"1.2.3\"] }\n",
                4,
                "",
            ),
            (
                "[[anchor]]\nname = \"a\"\nfile = \"one.pem\"\nprofile = { key_usage = [\"sign\"] }\n",
                4,
                "unknown variant",
            ),
            ("verify = false\n", 1, "unknown field"),
            ("crls = 1\n", 1, ""),
            ("a = \n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.file.as_str(), error.line),
                ("trust.toml", line),
                "{text} {error}"
            );
            assert!(error.to_string().contains(words), "{text} {error}");
        }
    }
}
