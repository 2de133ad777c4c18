-- What a certificate is and where it came from, so that millions of them can lie beside the few that issue
-- others.
ALTER TABLE certificate ADD COLUMN authority INTEGER NOT NULL DEFAULT 1; -- 1: may issue others
ALTER TABLE certificate ADD COLUMN not_after INTEGER NOT NULL DEFAULT 0; -- seconds since 1970; 0: not known
ALTER TABLE certificate ADD COLUMN origin TEXT NOT NULL DEFAULT 'admin'; -- admin, harvest, directory
ALTER TABLE certificate ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0; -- 1: seen, not yet used
CREATE INDEX certificate_by_end ON certificate (tenant, not_after);
