-- The revocation list that came from a URL last, whether it was new or not.
CREATE TABLE fetched (
    tenant      TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    sha256      BLOB    NOT NULL, -- of the list
    this_update INTEGER NOT NULL, -- seconds since 1970, as the two below
    next_update INTEGER,
    at          INTEGER NOT NULL,
    PRIMARY KEY (tenant, url)
) STRICT, WITHOUT ROWID;
