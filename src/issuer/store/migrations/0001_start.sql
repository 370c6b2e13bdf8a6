-- Times are Unix seconds. Ids are their bytes.

CREATE TABLE users (
    name             TEXT PRIMARY KEY NOT NULL,
    password_hash    TEXT NOT NULL,
    password_version INTEGER NOT NULL,
    password_changed INTEGER NOT NULL,
    role             TEXT NOT NULL CHECK (role IN ('user', 'operator')),
    claims           TEXT,              -- JSON
    disabled         INTEGER NOT NULL DEFAULT 0,
    created          INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id               BLOB PRIMARY KEY NOT NULL,
    subject          TEXT NOT NULL,
    parent           BLOB,
    audience         TEXT,
    address          TEXT,
    user_agent       TEXT,
    started          INTEGER NOT NULL,
    auth_time        INTEGER NOT NULL,
    last_renewal     INTEGER NOT NULL,
    ends             INTEGER NOT NULL,
    -- The ledger's row: the newest token.
    generation       INTEGER NOT NULL,
    issued           INTEGER NOT NULL,
    expires          INTEGER NOT NULL,
    key_id           BLOB NOT NULL,
    seen_at          INTEGER,
    repeated_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_subject ON sessions (subject, started);
CREATE INDEX sessions_started ON sessions (started);
CREATE INDEX sessions_ends ON sessions (ends);
CREATE INDEX sessions_address ON sessions (address, started) WHERE address IS NOT NULL;
CREATE INDEX sessions_parent ON sessions (parent) WHERE parent IS NOT NULL;

-- One entry for each thing revoked; a later one on the same subject, or on all,
-- takes the place of the earlier.
CREATE TABLE revocations (
    kind          INTEGER NOT NULL,     -- 0 session, 1 subject, 2 key, 3 all
    target        BLOB NOT NULL,        -- id, hash of the subject, kid, nothing
    started_until INTEGER,              -- kinds 1 and 3
    ends          INTEGER NOT NULL,
    sequence      INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (kind, target)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_ends ON revocations (ends);

-- One row.
CREATE TABLE feed_state (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    epoch     INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    last_end  INTEGER NOT NULL          -- the largest `ends` ever issued
) STRICT;

INSERT INTO feed_state VALUES (1, unixepoch(), 0, 0);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT,
    session TEXT,
    address TEXT,
    detail  TEXT                        -- JSON
) STRICT;

CREATE INDEX audit_at ON audit (at);
