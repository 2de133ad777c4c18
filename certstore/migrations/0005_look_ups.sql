-- What is looked for among millions: the few that issue others, at every start; who has an address registered, at
-- every search for one. Nobody looks for a subject, and PostgreSQL takes no long one into an index.
DROP INDEX certificate_by_subject;
CREATE INDEX certificate_that_issues ON certificate (tenant, sha256) WHERE authority = 1;
CREATE INDEX registration_by_address ON registration (tenant, address);
