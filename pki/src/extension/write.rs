//! Writing extension values, for issuing.

use crate::der::{SEQUENCE, context, context_constructed, write};

use super::{
    AuthorityKeyId, BasicConstraints, DistributionPoint, DistributionPointName, GeneralName,
    IssuingDistributionPoint, KeyUsage, NameConstraints, PolicyConstraints,
};

impl GeneralName {
    /// The encoding.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        match self {
            Self::Other { oid, value } => write::element(
                context_constructed(0),
                &[write::oid(oid), write::explicit(0, value)].concat(),
            ),
            Self::Rfc822(text) => write::implicit(1, text.as_bytes()),
            Self::Dns(text) => write::implicit(2, text.as_bytes()),
            Self::X400(content) => write::element(context_constructed(3), content),
            Self::Directory(name) => write::explicit(4, name.der()),
            Self::EdiParty(content) => write::element(context_constructed(5), content),
            Self::Uri(text) => write::implicit(6, text.as_bytes()),
            Self::Ip(octets) => write::implicit(7, octets),
            Self::RegisteredId(oid) => write::implicit(8, oid.as_oid().content()),
        }
    }

    /// An SmtpUTF8Mailbox of RFC 9598.
    #[must_use]
    pub fn smtp_utf8_mailbox(mailbox: &str) -> Self {
        Self::Other {
            oid: crate::oid::SMTP_UTF8_MAILBOX.to_buf(),
            value: write::utf8_string(mailbox).into(),
        }
    }
}

impl BasicConstraints {
    pub(crate) fn to_der(self) -> Vec<u8> {
        let mut fields = Vec::new();
        if self.ca {
            fields.push(write::boolean(true));
        }
        fields.extend(self.path_len.map(|len| write::integer(i64::from(len))));
        write::seq(&fields)
    }
}

impl KeyUsage {
    pub(crate) fn to_der(self) -> Vec<u8> {
        write::named_bits(self.0)
    }
}

impl AuthorityKeyId {
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.extend(self.key_id.as_deref().map(|id| write::implicit(0, id)));
        if !self.issuer.is_empty() {
            fields.push(names(context_constructed(1), &self.issuer));
        }
        fields.extend(
            self.serial
                .as_deref()
                .map(|serial| write::implicit(2, serial)),
        );
        write::seq(&fields)
    }
}

impl NameConstraints {
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let subtrees = |number, bases: &[GeneralName]| {
            let all: Vec<_> = bases
                .iter()
                .map(|base| write::seq(&[base.to_der()]))
                .collect();
            (!all.is_empty()).then(|| write::explicit(number, &all.concat()))
        };
        let mut fields = Vec::new();
        fields.extend(subtrees(0, &self.permitted));
        fields.extend(subtrees(1, &self.excluded));
        write::seq(&fields)
    }
}

impl PolicyConstraints {
    pub(crate) fn to_der(self) -> Vec<u8> {
        let skip = |number, value: Option<u32>| {
            value.map(|skip| write::retag(context(number), write::integer(i64::from(skip))))
        };
        let mut fields = Vec::new();
        fields.extend(skip(0, self.require_explicit_policy));
        fields.extend(skip(1, self.inhibit_policy_mapping));
        write::seq(&fields)
    }
}

impl DistributionPointName {
    fn to_der(&self) -> Vec<u8> {
        let inner = match self {
            Self::Full(all) => names(context_constructed(0), all),
            Self::Relative(rdn) => write::element(context_constructed(1), rdn),
        };
        write::explicit(0, &inner)
    }
}

impl DistributionPoint {
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.extend(self.name.as_ref().map(DistributionPointName::to_der));
        fields.extend(
            self.reasons
                .map(|flags| write::implicit(1, &write::named_bits_content(flags.0))),
        );
        if !self.crl_issuer.is_empty() {
            fields.push(names(context_constructed(2), &self.crl_issuer));
        }
        write::seq(&fields)
    }
}

impl IssuingDistributionPoint {
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let flag = |number, set: bool| set.then(|| write::implicit(number, &[0xff]));
        let mut fields = Vec::new();
        fields.extend(self.name.as_ref().map(DistributionPointName::to_der));
        fields.extend(flag(1, self.only_user_certs));
        fields.extend(flag(2, self.only_ca_certs));
        fields.extend(
            self.only_some_reasons
                .map(|flags| write::implicit(3, &write::named_bits_content(flags.0))),
        );
        fields.extend(flag(4, self.indirect));
        fields.extend(flag(5, self.only_attribute_certs));
        write::seq(&fields)
    }
}

/// GeneralNames under a tag of the structure's.
fn names(tag: u8, all: &[GeneralName]) -> Vec<u8> {
    write::element(
        tag,
        &all.iter().flat_map(GeneralName::to_der).collect::<Vec<_>>(),
    )
}

/// The value of a subjectAltName.
pub(crate) fn general_names(all: &[GeneralName]) -> Vec<u8> {
    names(SEQUENCE, all)
}
