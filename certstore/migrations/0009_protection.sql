-- Mail that came encrypted: what answers it must be encrypted, too.
CREATE TABLE encrypted_mail (
    tenant TEXT    NOT NULL,
    id     BLOB    NOT NULL, -- SHA-256 of its Message-ID
    domain TEXT    NOT NULL, -- of people it was for
    at     INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (tenant, id, domain)
) STRICT, WITHOUT ROWID;
CREATE INDEX encrypted_mail_by_age ON encrypted_mail (tenant, at);
-- What holders of certificates said, in mail whose signature was good, that they can read.
CREATE TABLE capability (
    tenant  TEXT    NOT NULL,
    sha256  BLOB    NOT NULL, -- of the certificate
    ciphers TEXT    NOT NULL, -- words, the best one first
    oaep    INTEGER NOT NULL, -- 1: RSAES-OAEP, too
    at      INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (tenant, sha256)
) STRICT, WITHOUT ROWID;
