-- Sessions that a reauthentication has replaced, and when each is to be revoked.
CREATE TABLE replaced (
    id BLOB PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX replaced_at ON replaced (at);
