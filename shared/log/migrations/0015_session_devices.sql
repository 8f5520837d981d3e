-- What the client that logged in said it is, shortened; null for sessions of earlier releases.
ALTER TABLE sessions ADD COLUMN user_agent text;
