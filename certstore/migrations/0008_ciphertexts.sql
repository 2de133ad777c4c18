-- Encrypted contents that came for somebody whose keys are here: one that comes again under another sender is seen.
CREATE TABLE ciphertext (
    tenant     TEXT    NOT NULL,
    sha256     BLOB    NOT NULL, -- of the encryptedContent
    answers    BLOB    NOT NULL, -- SHA-256 of whom an answer to the first mail goes to
    sender     TEXT    NOT NULL, -- From and Message-ID of that mail
    message_id TEXT    NOT NULL,
    first_at   INTEGER NOT NULL, -- seconds since 1970, as the one below
    last_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant, sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX ciphertext_age ON ciphertext (tenant, last_at);
