-- Consecutive failures of passwords. A row for each known device that has some,
-- and one of no device for everybody else.
CREATE TABLE attempts (
    account      BLOB NOT NULL,         -- hash of the name that was tried
    device       BLOB NOT NULL,         -- 16 bytes, or none
    failures     INTEGER NOT NULL,
    next_allowed INTEGER NOT NULL,
    last         INTEGER NOT NULL,
    is_user      INTEGER NOT NULL,      -- whether anybody has the name
    PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_of_nobody ON attempts (last) WHERE is_user = 0;
CREATE INDEX attempts_of_devices ON attempts (last) WHERE device != x'';

-- What this service alone may know, by what it is for.
CREATE TABLE secrets (
    purpose TEXT PRIMARY KEY NOT NULL,
    secret  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The network that a session counts for: an IPv4 address or the /64 of an IPv6
-- address.
ALTER TABLE sessions ADD COLUMN network TEXT;
CREATE INDEX sessions_network ON sessions (network, expires) WHERE network IS NOT NULL;
