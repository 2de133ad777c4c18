-- The first schema. The tenant stands first in every primary key.

-- A counter that grows with every change: whoever sees it change reads again.
CREATE TABLE revision (
    tenant TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Certificates that are known (not: trusted), above all intermediates.
CREATE TABLE certificate (
    tenant    TEXT    NOT NULL,
    sha256    BLOB    NOT NULL,
    subject   BLOB    NOT NULL, -- the name in its canonical form
    der       BLOB    NOT NULL,
    PRIMARY KEY (tenant, sha256)
) STRICT;
CREATE INDEX certificate_by_subject ON certificate (tenant, subject);

-- Mail addresses that stand in a certificate.
CREATE TABLE address (
    tenant  TEXT NOT NULL,
    address TEXT NOT NULL,
    sha256  BLOB NOT NULL,
    PRIMARY KEY (tenant, address, sha256),
    FOREIGN KEY (tenant, sha256) REFERENCES certificate (tenant, sha256) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Addresses that were registered to a certificate in which they do not stand.
CREATE TABLE registration (
    tenant  TEXT NOT NULL,
    sha256  BLOB NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (tenant, sha256, address)
) STRICT, WITHOUT ROWID;

-- One revocation list an issuer and scope: only ever replaced by a newer one.
CREATE TABLE crl (
    tenant      TEXT    NOT NULL,
    issuer      BLOB    NOT NULL, -- the name in its canonical form
    scope       BLOB    NOT NULL, -- SHA-256 over what the list covers and whose key signed it
    number      BLOB    NOT NULL, -- cRLNumber, big-endian without leading zeros; empty: none
    this_update INTEGER NOT NULL,
    next_update INTEGER,
    der         BLOB    NOT NULL,
    PRIMARY KEY (tenant, issuer, scope)
) STRICT;

-- Messages whose processing was aborted, by hash: the third time they pass untouched.
CREATE TABLE aborted (
    tenant  TEXT    NOT NULL,
    hash    BLOB    NOT NULL,
    times   INTEGER NOT NULL,
    last_at INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (tenant, hash)
) STRICT, WITHOUT ROWID;
