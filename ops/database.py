"""The database of the log."""

from __future__ import annotations

from psycopg import sql

from shared.log.connections import connect

# The server copies a template, and waits for a checkpoint.
WITHIN_S = 60.0


def create_database(maintenance_dsn: str, name: str) -> None:
    """Create the database unless it exists; connect through another database of the server."""
    with connect(maintenance_dsn, autocommit=True, answer_within_s=WITHIN_S) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
