//! `[caps]`: what one message may hold or cost. Every cap has a default that honest mail stays far below, and
//! a highest value, since each bounds what a stranger can make us do.

use std::collections::BTreeMap;

use kenin_pki::path::Budget;
use kenin_smtp_filter::server;
use serde::Deserialize;

use super::value::Size;

/// A cap by the name that `kenin.toml` and the documentation use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cap {
    /// Bytes of the header.
    HeaderSize,
    /// Fields of the header.
    HeaderFields,
    /// `Received` fields.
    ReceivedFields,
    /// Recipients of one transaction.
    Recipients,
    /// How deep multiparts and embedded messages nest.
    MimeDepth,
    /// Body parts.
    MimeParts,
    /// CMS layers inside each other.
    CmsLayers,
    /// How deep BER elements nest.
    BerDepth,
    /// BER elements of one CMS object.
    BerElements,
    /// Certificates in one CMS object.
    Certificates,
    /// Revocation lists in one CMS object.
    Crls,
    /// SignerInfos in one CMS object.
    Signers,
    /// RecipientInfos in one CMS object.
    RecipientInfos,
    /// Signatures verified for one message: its own, and as many again of certificates and lists.
    SignatureChecks,
    /// Certificates between a signer's and the anchor.
    PathDepth,
    /// Steps of building paths and of their policy graphs.
    PathSteps,
    /// Comparisons of a name with a name constraint.
    NameComparisons,
}

/// What is set; all others have their default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caps(BTreeMap<Cap, usize>);

impl Cap {
    #[cfg(test)]
    const ALL: [Self; 17] = [
        Self::HeaderSize,
        Self::HeaderFields,
        Self::ReceivedFields,
        Self::Recipients,
        Self::MimeDepth,
        Self::MimeParts,
        Self::CmsLayers,
        Self::BerDepth,
        Self::BerElements,
        Self::Certificates,
        Self::Crls,
        Self::Signers,
        Self::RecipientInfos,
        Self::SignatureChecks,
        Self::PathDepth,
        Self::PathSteps,
        Self::NameComparisons,
    ];

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HeaderSize => "header_size",
            Self::HeaderFields => "header_fields",
            Self::ReceivedFields => "received_fields",
            Self::Recipients => "recipients",
            Self::MimeDepth => "mime_depth",
            Self::MimeParts => "mime_parts",
            Self::CmsLayers => "cms_layers",
            Self::BerDepth => "ber_depth",
            Self::BerElements => "ber_elements",
            Self::Certificates => "certificates",
            Self::Crls => "crls",
            Self::Signers => "signers",
            Self::RecipientInfos => "recipient_infos",
            Self::SignatureChecks => "signature_checks",
            Self::PathDepth => "path_depth",
            Self::PathSteps => "path_steps",
            Self::NameComparisons => "name_comparisons",
        }
    }

    /// Without `[caps]`.
    pub(crate) fn default_value(self) -> usize {
        let (mail, path) = (kenin_smime::Limits::default(), Budget::DEFAULT);
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match self {
            Self::HeaderSize => server::Limits::default().header_size,
            Self::HeaderFields => server::Limits::default().header_fields,
            Self::ReceivedFields => server::Limits::default().hops,
            Self::Recipients => server::Limits::default().recipients,
            Self::MimeDepth => mail.mime_depth,
            Self::MimeParts => mail.mime_parts,
            Self::CmsLayers => mail.layers,
            Self::BerDepth => mail.ber_depth,
            Self::BerElements => mail.ber_tlvs,
            Self::Certificates => mail.certificates,
            Self::Crls => mail.crls,
            Self::Signers => mail.signers,
            Self::RecipientInfos => mail.recipients,
            Self::SignatureChecks => mail.signature_checks,
            Self::PathDepth => path.depth,
            Self::PathSteps => wide(path.steps),
            Self::NameComparisons => wide(path.comparisons),
        }
    }

    /// What it may be.
    pub(crate) fn range(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::HeaderSize => 1024..=10 << 20,
            // One octet counts the depth.
            Self::BerDepth => 8..=255,
            // What follows from these is kept in the header of one mail.
            Self::Signers | Self::CmsLayers => 1..=64,
            other => 1..=other.default_value().saturating_mul(10),
        }
    }
}

impl Caps {
    /// As written; the first that is out of range is told with what is wrong.
    pub(super) fn new(raw: BTreeMap<Cap, Size>) -> Result<Self, (Cap, String)> {
        let mut caps = BTreeMap::new();
        for (cap, size) in raw {
            let value = usize::try_from(size.0).unwrap_or(usize::MAX);
            let range = cap.range();
            if !range.contains(&value) {
                let (name, least, most) = (cap.name(), range.start(), range.end());
                return Err((cap, format!("{name} may be {least} to {most}")));
            }
            caps.insert(cap, value);
        }
        Ok(Self(caps))
    }

    fn get(&self, cap: Cap) -> usize {
        self.0
            .get(&cap)
            .copied()
            .unwrap_or_else(|| cap.default_value())
    }

    /// The engine's limits.
    pub(crate) fn engine(&self, message_size: u64) -> kenin_smime::Limits {
        let default = kenin_smime::Limits::default();
        kenin_smime::Limits {
            message_size: usize::try_from(message_size).unwrap_or(usize::MAX),
            mime_depth: self.get(Cap::MimeDepth),
            mime_parts: self.get(Cap::MimeParts),
            header_size: self.get(Cap::HeaderSize),
            // Of any entity: the front end has looked at those of the message.
            header_fields: default.header_fields.max(self.get(Cap::HeaderFields)),
            layers: self.get(Cap::CmsLayers),
            ber_depth: self.get(Cap::BerDepth),
            ber_tlvs: self.get(Cap::BerElements),
            certificates: self.get(Cap::Certificates),
            crls: self.get(Cap::Crls),
            signers: self.get(Cap::Signers),
            recipients: self.get(Cap::RecipientInfos),
            compression_ratio: default.compression_ratio,
            signature_checks: self.get(Cap::SignatureChecks),
            digested_bytes: default.digested_bytes,
        }
    }

    /// What paths may cost.
    pub(crate) fn budget(&self) -> Budget {
        let narrow = |cap: Cap| u32::try_from(self.get(cap)).unwrap_or(u32::MAX);
        Budget {
            signatures: narrow(Cap::SignatureChecks),
            steps: narrow(Cap::PathSteps),
            comparisons: narrow(Cap::NameComparisons),
            depth: self.get(Cap::PathDepth),
        }
    }

    /// The front end's part of them.
    pub(crate) fn front(&self, limits: server::Limits) -> server::Limits {
        server::Limits {
            header_size: self.get(Cap::HeaderSize),
            header_fields: self.get(Cap::HeaderFields),
            hops: self.get(Cap::ReceivedFields),
            recipients: self.get(Cap::Recipients),
            ..limits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cap_has_the_name_that_is_read() {
        for cap in Cap::ALL {
            let text = format!("{} = {}", cap.name(), cap.default_value());
            let read: BTreeMap<Cap, Size> = toml::from_str(&text).unwrap();
            let caps = Caps::new(read).unwrap();
            assert_eq!(caps.get(cap), cap.default_value());
            assert!(cap.range().contains(&cap.default_value()), "{}", cap.name());
        }
        let (engine, budget) = (Caps::default().engine(50 << 20), Caps::default().budget());
        assert_eq!(
            format!("{engine:?}"),
            format!("{:?}", kenin_smime::Limits::default())
        );
        assert_eq!(format!("{budget:?}"), format!("{:?}", Budget::DEFAULT));
    }

    #[test]
    fn what_is_out_of_range_is_told() {
        for cap in Cap::ALL {
            for (value, good) in [
                (*cap.range().start(), true),
                (cap.range().start() - 1, false),
                (*cap.range().end(), true),
                (cap.range().end() + 1, false),
            ] {
                let size = Size(u64::try_from(value).unwrap());
                let made = Caps::new(BTreeMap::from([(cap, size)]));
                assert_eq!(made.is_ok(), good, "{} {value}", cap.name());
            }
        }
    }
}
