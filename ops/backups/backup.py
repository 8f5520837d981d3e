"""Back up the log and everything else that cannot be rebuilt: `starfold backup`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from psycopg import sql

from ops.backups.archive import FORMAT, ArchiveWriter, Manifest, Table, new_archive
from ops.errors import OperatorError
from ops.home.access import owner_settings, write_side_settings
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.progress import Progress
from ops.settings import WriteSideSettings
from shared.log.connections import connect

# One statement may read the whole log before it answers.
WITHIN_S = 3_600.0
LEDGER = "erasures.jsonl"
SECRETS = "secrets.json"
OPERATOR = "operator.json"

# A table comes after the ones that it references. The event index is derived from the log, and the
# lag is of one day.
_TABLES = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
    AND c.relname NOT IN (
        'event_index', 'event_index_checkpoint', 'imports', 'import_parts', 'projection_lag'
    )
GROUP BY c.oid, c.relname
ORDER BY (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f'), c.relname
"""
# The schema version is the byte at offset 1 of a state (`shared/log/codec.py`).
_TOPICS = "SELECT topic, max(get_byte(state, 1)), count(*) FROM events GROUP BY topic"
_HEAD = "SELECT log_id, (SELECT coalesce(max(notification_id), 0) FROM events) FROM log_identity"


def backup(
    file_or_dir: Annotated[Path, typer.Argument(help="A new file, or a folder for one.")],
    home: HomeOption = DEFAULT_HOME,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Include the home's secrets.")
    ] = False,
) -> None:
    """Back up all that cannot be rebuilt, at one moment, while everything runs."""
    place, made_at = Home(home), datetime.now(UTC)
    local = "STARFOLD_OWNER_DATABASE_URL" not in os.environ
    owner = owner_settings(place)
    settings = write_side_settings(place)
    if with_secrets and not local:
        raise OperatorError("--with-secrets needs a home: here the secrets are in the settings")
    name = f"starfold-{made_at:%Y%m%dT%H%M%SZ}.tar"
    file = file_or_dir / name if file_or_dir.is_dir() else file_or_dir
    if file.exists():
        raise OperatorError(f"{file} exists: choose another name")
    with (
        new_archive(file) as archive,
        connect(
            owner.owner_database_url.get_secret_value(),
            schema=owner.database_schema,
            answer_within_s=WITHIN_S,
        ) as connection,
    ):
        manifest = _add_tables(archive, connection, settings, made_at)
        ledger = settings.erasure_ledger
        files = {LEDGER: ledger} if ledger is not None else {}
        if with_secrets:
            files |= {SECRETS: place.secrets_file, OPERATOR: place.operator_file}
        for name, path in files.items():
            if path.exists():
                archive.add(f"home/{name}", _blocks(path))
        archive.finish(manifest)
    events = next(table.rows for table in manifest.tables if table.name == "events")
    typer.echo(f"{file}: {events} events, to position {manifest.head}")
    if with_secrets:
        typer.echo("it holds the secrets: anyone who has the file can read all personal data")
    else:
        needed = str(place.secrets_file) if local else "the STARFOLD_* secrets"
        typer.echo(f"it holds no secrets: a restore needs {needed}, so keep a copy elsewhere")


def fingerprints(
    settings: WriteSideSettings, retired_sealing_keys: Sequence[bytes] = ()
) -> dict[str, list[str]]:
    """Return what tells the secrets of a log from others: keyed by random bytes, not guessable.

    There may be several of the sealing key, the current one first.
    """
    secrets = {
        "sealing_key": (*settings.sealing_keys, *retired_sealing_keys),
        "reservation_secret": (settings.reservation_secret.get_secret_value(),),
    }
    return {
        name: [
            hashlib.sha256(f"starfold {name} ".encode() + secret).hexdigest()
            for secret in kept
            if secret is not None
        ]
        for name, kept in secrets.items()
    }


def _add_tables(
    archive: ArchiveWriter,
    connection: psycopg.Connection[Any],
    settings: WriteSideSettings,
    made_at: datetime,
) -> Manifest:
    """Write every table as of one moment, and return the manifest."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    connection.execute("SET LOCAL client_encoding TO 'UTF8'")
    found = connection.execute(_TABLES).fetchall()
    if "log_identity" not in {name for name, _ in found}:
        raise OperatorError(
            "the database is not of this release: start this release's Starfold on it once"
        )
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in found)
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    topics = connection.execute(_TOPICS).fetchall()
    ((log_id, head),) = connection.execute(_HEAD).fetchall()
    migrations = connection.execute("SELECT name FROM migrations ORDER BY name").fetchall()
    with Progress("backup", sum(count for *_, count in topics)) as progress:
        tables = [
            _add_table(archive, connection, name, columns, progress) for name, columns in found
        ]
    return Manifest(
        format=FORMAT,
        release=version("starfold"),
        made_at=made_at,
        log_id=log_id,
        head=head,
        migrations=[name for (name,) in migrations],
        topics={topic: newest for topic, newest, _ in topics},
        fingerprints={name: kept[0] for name, kept in fingerprints(settings).items()},
        tables=tables,
    )


def _add_table(
    archive: ArchiveWriter,
    connection: psycopg.Connection[Any],
    name: str,
    columns: list[str],
    progress: Progress,
) -> Table:
    digest, count = hashlib.sha256(), 0

    def rows() -> Iterator[bytes]:
        nonlocal count
        order = sql.SQL(" ORDER BY notification_id" if name == "events" else "")
        statement = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(name), order
        )
        with connection.cursor().copy(statement) as copied:
            for block in copied:
                row = bytes(block)
                digest.update(row)
                count += 1
                if name == "events" and not count % 1_000:
                    progress.reach(count)
                yield row

    archive.add(f"tables/{name}", rows())
    return Table(name=name, columns=columns, rows=count, sha256=digest.hexdigest())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            yield block
