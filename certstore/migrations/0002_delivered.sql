-- Messages that only some of their recipients got before the client was told to try again.
CREATE TABLE delivered (
    tenant    TEXT    NOT NULL,
    hash      BLOB    NOT NULL, -- of the message and its sender
    recipient TEXT    NOT NULL,
    at        INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (tenant, hash, recipient)
) STRICT, WITHOUT ROWID;
