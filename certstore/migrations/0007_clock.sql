-- The latest time that a wall clock was believed to tell: an earlier one is not believed.
CREATE TABLE clock (
    tenant TEXT    NOT NULL PRIMARY KEY,
    mark   INTEGER NOT NULL, -- seconds since 1970
    resets INTEGER NOT NULL  -- how often somebody set it back
) STRICT, WITHOUT ROWID;
