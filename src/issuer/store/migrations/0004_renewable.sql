-- Until when a session can be renewed: longer than its newest token is good.
ALTER TABLE sessions ADD COLUMN renewable_until INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET renewable_until = expires;
DROP INDEX sessions_network;
CREATE INDEX sessions_network ON sessions (network, renewable_until) WHERE network IS NOT NULL;
-- Whether the user asked to be remembered at log-in.
ALTER TABLE sessions ADD COLUMN remembered INTEGER NOT NULL DEFAULT 0;
