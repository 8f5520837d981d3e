"""Restore a backup into an empty database or a new home, or leave no trace: `starfold restore`."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer
from pydantic import SecretStr

from command_api.privacy.erasure_ledger import read_ledger
from ops.backups.archive import FORMAT, Archive, opened_archive
from ops.backups.backup import LEDGER, OPERATOR, SECRETS, fingerprints
from ops.backups.tables import Target
from ops.commands.erase import reapply
from ops.commands.write_side import write_side_with
from ops.database import create_database
from ops.errors import OperatorError
from ops.home.access import owner_settings, write_side_settings
from ops.home.bootstrap import DATABASE_SCHEMA
from ops.home.folder import DATABASE, INITIALIZED, MAINTENANCE_DATABASE, Home, write_private
from ops.options import DEFAULT_HOME, HomeOption
from ops.progress import Progress
from ops.settings import WriteSideSettings
from shared.errors import Misconfigured
from shared.log.events import EVENT_TYPES
from shared.log.schema import migrate, require_known
from shared.log.sealing import KeyWrap


def restore(
    file_or_dir: Annotated[Path, typer.Argument(help="A backup, or the folder of the newest.")],
    home: HomeOption = DEFAULT_HOME,
    secrets: Annotated[
        Path | None, typer.Option(help="The home's secrets.json, if the backup has none.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="The current ledger, with the erasures since the backup.")
    ] = None,
) -> None:
    """Restore a backup into a new home or an empty database; Ctrl-C leaves nothing behind."""
    for given in (secrets, ledger):
        if given is not None and not given.is_file():
            raise OperatorError(f"there is no file {given}")
    file = _newest(file_or_dir) if file_or_dir.is_dir() else file_or_dir
    try:
        with ExitStack() as stack:
            with Progress("check", file.stat().st_size) as progress:
                archive = stack.enter_context(opened_archive(file, progress.reach))
            folder = stack.enter_context(TemporaryDirectory())
            _require_readable(archive)
            erased = Path(folder) / LEDGER
            _write_ledger(archive, ledger, erased)
            if "STARFOLD_OWNER_DATABASE_URL" in os.environ:
                if secrets is not None:
                    raise OperatorError("--secrets is for a home: set STARFOLD_* instead")
                owner = owner_settings(Home(home))
                owner_url = owner.owner_database_url.get_secret_value()
                _into_database(archive, owner_url, write_side_settings(Home(home)), erased)
                next_steps = ["start the projector, then the other services", "starfold verify"]
            else:
                _into_home(archive, Home(home), secrets, erased)
                next_steps = [f"starfold {step} --home {home}" for step in ("up", "verify")]
    except KeyboardInterrupt:
        typer.echo("interrupted: a restore that was not complete leaves nothing", err=True)
        raise
    typer.echo(f"{file} is restored, to position {archive.manifest.head}; next:")
    for step in next_steps:
        typer.echo(f"  {step}")


def _newest(folder: Path) -> Path:
    backups = sorted(folder.glob("starfold-*.tar"))
    if not backups:
        raise OperatorError(f"there is no backup starfold-*.tar in {folder}")
    return backups[-1]


def _require_readable(archive: Archive) -> None:
    """Raise `OperatorError` for a backup of a newer release."""
    manifest = archive.manifest
    versions = {one.__name__: one.schema_version for one in EVENT_TYPES}
    newer = [name for name, used in manifest.topics.items() if used > versions.get(name, 0)]
    try:
        require_known(manifest.migrations)
    except Misconfigured:
        newer.append("migrations")
    if manifest.format > FORMAT or newer:
        raise OperatorError(
            f"{archive.path} is of a newer release ({', '.join(newer) or 'another format'}):"
            f" restore it with that one, then or a later one; it calls itself {manifest.release}"
        )


def _write_ledger(archive: Archive, current: Path | None, into: Path) -> None:
    """Write the backup's ledger and the current one as one; a torn line ends with a line feed."""
    with into.open("xb") as stream:
        stream.writelines(archive.content(f"home/{LEDGER}"))
        if current is not None:
            stream.write(b"\n" + current.read_bytes())


def _into_database(
    archive: Archive,
    owner_url: str,
    settings: WriteSideSettings,
    ledger: Path,
    retired_sealing_keys: Sequence[bytes] = (),
) -> None:
    """Restore under another name, erase again, and give the schema its name at the end."""
    own = fingerprints(settings, retired_sealing_keys)
    for name, expected in archive.manifest.fingerprints.items():
        if expected not in own[name]:
            raise OperatorError(f"this {name} is not the one that {archive.path} was made with")
    named = read_ledger(ledger)
    if settings.erasure_ledger is not None:
        named += read_ledger(settings.erasure_ledger)
    target = Target(owner_url, settings.database_schema)
    with ExitStack() as undone:
        undone.callback(target.drop_draft)
        first, _ = settings.sealing_keys
        retired = [KeyWrap(first, one) for one in retired_sealing_keys]
        target.load(archive, KeyWrap(*settings.sealing_keys), retired)
        changes = {
            "database_url": SecretStr(owner_url),
            "database_schema": target.draft,
            "database_pooler": False,
        }
        with write_side_with(settings.model_copy(update=changes)) as write_side:
            reapplied = reapply(write_side, list(dict.fromkeys(named)))
        target.publish()
        undone.pop_all()
    typer.echo(f"{reapplied.named} users in the ledger, {reapplied.erased} erased again")


def _into_home(archive: Archive, home: Home, secrets: Path | None, ledger: Path) -> None:
    """Make the home beside its place, and move it there at the end."""
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise OperatorError(f"{home.path} is not empty: name a new home with --home")
    draft = Home(home.path.with_name(f".{home.path.name}.restoring"))
    draft.create()
    with draft.lock(), ExitStack() as undone:
        for folder in (draft.path, draft.sockets()):
            undone.callback(shutil.rmtree, folder, ignore_errors=True)
        _write_secrets(archive, draft, secrets)
        with _postgres(draft):
            owner_url, own = draft.owner_dsn(), draft.secrets()
            create_database(draft.owner_dsn(MAINTENANCE_DATABASE), DATABASE)
            migrate(owner_url, roles=own.role_passwords)
            settings = WriteSideSettings(
                database_url=SecretStr(owner_url),
                database_schema=DATABASE_SCHEMA,
                database_pooler=False,
                sealing_key=own.sealing_key,
                second_sealing_key=own.second_sealing_key or None,
                reservation_secret=own.reservation_secret,
                erasure_ledger=None,
            )
            retired = [base64.b64decode(key) for key in own.retired_sealing_keys.split()]
            _into_database(archive, owner_url, settings, ledger, retired)
        write_private(draft.erasure_ledger, ledger.read_bytes())
        draft.path.rename(home.path)
        undone.pop_all()


def _write_secrets(archive: Archive, draft: Home, secrets: Path | None) -> None:
    raw = secrets.read_bytes() if secrets else b"".join(archive.content(f"home/{SECRETS}"))
    if not raw:
        raise OperatorError(
            f"{archive.path} holds no secrets: name the secrets.json of its home with --secrets"
        )
    write_private(draft.secrets_file, raw)
    operator = b"".join(archive.content(f"home/{OPERATOR}"))
    if operator:
        write_private(draft.operator_file, operator)
    try:
        draft.secrets()
    except msgspec.MsgspecError as error:
        raise OperatorError(f"{secrets or SECRETS} is no secrets.json of a home") from error


@contextmanager
def _postgres(home: Home) -> Iterator[None]:
    """Run the PostgreSQL of a home, with empty data."""
    try:
        from ops.local.servers import initialize_postgres, postgres_spec
        from ops.local.supervisor import Supervisor  # Only the extra `local` brings psutil.
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"a home needs {error.name}: pip install 'starfold[local]', or set"
            " STARFOLD_OWNER_DATABASE_URL to restore into a database"
        ) from error
    # An earlier restore may have been killed.
    (home.postgres_data / INITIALIZED).unlink(missing_ok=True)
    initialize_postgres(home)
    supervisor = Supervisor(home)
    try:
        supervisor.wait_ready([supervisor.start(postgres_spec(home))])
        yield
    finally:
        supervisor.stop([])
