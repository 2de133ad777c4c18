//! The caps on what one message may cost. Never a matter of trust: a message above a cap is answered
//! with a `limit-…` defect, whoever sent it.

/// Caps; the defaults are far above real mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the message as received.
    pub message_size: usize,
    /// How deep multiparts and embedded messages may nest.
    pub mime_depth: usize,
    /// Body parts in one MIME tree, and over all layers.
    pub mime_parts: usize,
    /// Bytes of the message's header, with the empty line.
    pub header_size: usize,
    /// Header fields of one entity.
    pub header_fields: usize,
    /// CMS layers inside each other.
    pub layers: usize,
    /// BER nesting.
    pub ber_depth: usize,
    /// BER elements of one CMS object.
    pub ber_tlvs: usize,
    /// Certificates in one CMS object.
    pub certificates: usize,
    /// CRLs in one CMS object.
    pub crls: usize,
    /// SignerInfos in one CMS object.
    pub signers: usize,
    /// RecipientInfos in one CMS object.
    pub recipients: usize,
    /// How many octets may come of each compressed one; all together not more than `message_size`.
    pub compression_ratio: usize,
    /// Signature calculations for one message.
    pub signature_checks: usize,
    /// Bytes digested for one message: its content once for every digest algorithm and layer.
    pub digested_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 50 * 1024 * 1024,
            mime_depth: 50,
            mime_parts: 2000,
            header_size: 1024 * 1024,
            header_fields: 10_000,
            layers: 6,
            ber_depth: 32,
            ber_tlvs: 200_000,
            certificates: 64,
            crls: 4,
            signers: 16,
            recipients: 5000,
            compression_ratio: 100,
            signature_checks: 100,
            digested_bytes: 400 * 1024 * 1024,
        }
    }
}
