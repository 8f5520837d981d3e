"""The home of a local Starfold: its data, secrets, sockets and lock."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg.conninfo import make_conninfo

from ops.errors import OperatorError
from ops.home import redis_users
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE

OWNER_ROLE = "starfold_owner"
DATABASE = "starfold"
MAINTENANCE_DATABASE = "postgres"
# A file in PostgreSQL's data folder that marks a finished initdb.
INITIALIZED = "starfold_initialized"
# A Unix socket's path may have 107 bytes, 103 on macOS; PostgreSQL's own part has 18.
SOCKET_FOLDER_BYTES_MAX = 80
JOBS_DATABASE = 1
# A folder with one of these is a home; a new home gets the lock first.
_OWN_FILES = frozenset({"lock", "secrets.json", "postgres"})


Rotation = Literal["", "prepared", "promoted"]


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets, created once and stored in `secrets.json`; keys are base64 of 32 bytes.

    `valkey_password` belongs to the Redis user with all permissions.
    """

    owner_password: str
    command_password: str
    projector_password: str
    valkey_password: str
    query_api_redis_password: str
    projector_redis_password: str
    worker_redis_password: str
    reservation_secret: str
    sealing_key: str
    token_private_key: str
    token_public_key: str
    # The rest belongs to rotations; see `ops/home/rotation.py`.
    second_sealing_key: str = ""
    sealing_rotation: Rotation = ""
    # With spaces between them; backups from their time need them.
    retired_sealing_keys: str = ""
    next_token_private_key: str = ""
    second_token_public_key: str = ""
    tokens_rotation: Rotation = ""
    tokens_promoted_at: str = ""

    @property
    def cursor_key(self) -> str:
        return base64_text(self._derived(b"starfold cursors"))

    @property
    def metrics_token(self) -> str:
        return self._derived(b"starfold metrics").hex()

    @property
    def grafana_password(self) -> str:
        return self._derived(b"starfold grafana").hex()

    def _derived(self, purpose: bytes) -> bytes:
        """Return a key that homes from before its purpose have too."""
        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose)
        return derivation.derive(base64.b64decode(self.reservation_secret))

    @property
    def role_passwords(self) -> dict[str, str]:
        return {COMMAND_ROLE: self.command_password, PROJECTOR_ROLE: self.projector_password}

    @property
    def redis_passwords(self) -> dict[str, str]:
        return {
            redis_users.OWNER: self.valkey_password,
            redis_users.QUERY_API: self.query_api_redis_password,
            redis_users.PROJECTOR: self.projector_redis_password,
            redis_users.WORKER: self.worker_redis_password,
        }


class Addresses(msgspec.Struct, frozen=True):
    """The last known addresses of a home's APIs."""

    command_url: str
    query_url: str


class Home:
    """A folder of mode 0700 with everything that belongs to a local Starfold.

    Nothing outside it changes, except for sockets if its path is too long or has unusual
    characters.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def operator_file(self) -> Path:
        return self.path / "operator.json"

    @property
    def bootstrapped_file(self) -> Path:
        """Exists once this start has created or found the operator's key and account."""
        return self.path / "bootstrapped"

    @property
    def children_file(self) -> Path:
        return self.path / "children.json"

    @property
    def erasure_ledger(self) -> Path:
        return self.path / "erasures.jsonl"

    @property
    def outbox(self) -> Path:
        """The folder of mails, unless the settings name a mail server."""
        return self.path / "outbox"

    @property
    def postgres_data(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey_data(self) -> Path:
        return self.path / "valkey"

    @property
    def valkey_log(self) -> Path:
        return self.path / "valkey.log"

    @property
    def set_aside(self) -> Path:
        """The folder for damaged files of Valkey."""
        return self.path / "set-aside"

    def create(self) -> None:
        """Create the folder, or accept an empty one or an existing home.

        Raises `OperatorError` for a folder with other content, and leaves it unchanged.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_own():
                raise OperatorError(
                    f"{self.path} holds files that are not Starfold's: choose an empty folder or a"
                    " new one as home"
                )
            self.path.chmod(0o700)
        except OSError as error:
            raise OperatorError(f"cannot use {self.path} as home: {error.strerror}") from error

    def _is_own(self) -> bool:
        content = {entry.name for entry in self.path.iterdir()}
        return not content or not content.isdisjoint(_OWN_FILES)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for one stack; raise `OperatorError` if it is in use."""
        in_use = f"the home {self.path} is in use by another `starfold up`"
        with _exclusively(self.path / "lock", otherwise=in_use):
            yield

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"

    def secrets(self) -> Secrets:
        """Return the secrets, creating the missing ones.

        All are created at the first call; later, the ones that an older release did not have.
        """
        file = self.secrets_file
        stored: dict[str, str] = {}
        if file.exists():
            stored = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        if not stored.keys() >= set(Secrets.__struct_fields__):
            stored = {**msgspec.to_builtins(_new_secrets()), **stored}
            write_private(file, msgspec.json.encode(stored))
        return msgspec.convert(stored, type=Secrets)

    def replace_secrets(self, secrets: Secrets) -> None:
        write_private(self.secrets_file, msgspec.json.encode(secrets))

    @property
    def is_running(self) -> bool:
        """Whether a `starfold up` holds the home's lock."""
        file = self.path / "lock"
        if not file.exists():
            return False
        with file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @contextmanager
    def rotation(self) -> Iterator[None]:
        """Hold the lock of rotations; raise `OperatorError` if another one is under way.

        Each of two at once would make a key, and the file could keep only one of them.
        """
        under_way = f"another rotation of {self.path} is under way"
        with _exclusively(self.path / "rotation.lock", otherwise=under_way):
            yield

    @property
    def keys_wanted(self) -> Path:
        """Has `starfold up` restart its services with the stored secrets when it changes."""
        return self.path / "keys-wanted"

    @property
    def keys_in_use(self) -> Path:
        """Holds the fingerprint of the keys that the services were started with."""
        return self.path / "keys-in-use"

    def require_secrets_of_data(self) -> None:
        """Raise `OperatorError` if there is data whose secrets are gone."""
        if (self.postgres_data / INITIALIZED).exists() and not self.secrets_file.exists():
            raise OperatorError(
                f"{self.secrets_file} is missing. It holds the passwords, and the key without which"
                " no e-mail address, name or review can be read: restore it from a backup, or"
                f" delete {self.path} to start from scratch without any data"
            )

    def write_redis_users(self) -> Path:
        """Write the ACL file of the home's Valkey and return its path."""
        file = self.path / "valkey.acl"
        write_private(file, redis_users.acl_file(self.secrets().redis_passwords).encode())
        return file

    def remember_addresses(self, addresses: Addresses) -> None:
        write_private(self.path / "addresses.json", msgspec.json.encode(addresses))

    def addresses(self) -> Addresses:
        """Return the addresses; raise `OperatorError` for a home that was never started."""
        file = self.path / "addresses.json"
        if not file.exists():
            raise OperatorError(f"there is no Starfold in {self.path}: start it with `starfold up`")
        return msgspec.json.decode(file.read_bytes(), type=Addresses)

    def sockets(self) -> Path:
        """Return the folder of the servers' sockets.

        It is in the home, or a private one elsewhere if the home's path is too long or has
        characters with a meaning in connection strings and settings.
        """
        inside = self.path / "sockets"
        if len(os.fsencode(inside)) <= SOCKET_FOLDER_BYTES_MAX and _is_plain(inside):
            inside.mkdir(mode=0o700, exist_ok=True)
            return inside
        remembered = self.path / "sockets.path"
        if remembered.exists():
            outside = Path(os.fsdecode(remembered.read_bytes()))
            if outside.is_absolute() and outside.is_dir() and outside.stat().st_uid == os.getuid():
                return outside
        outside = Path(tempfile.mkdtemp(prefix="starfold-"))
        write_private(remembered, os.fsencode(outside))
        return outside

    def dsn(self, role: str, password: str, database: str = DATABASE) -> str:
        return make_conninfo(
            host=str(self.sockets()), user=role, password=password, dbname=database
        )

    def owner_dsn(self, database: str = DATABASE) -> str:
        return self.dsn(OWNER_ROLE, self.secrets().owner_password, database)

    def redis_url(self, user: str = redis_users.OWNER, database: int = 0) -> str:
        password = quote(self.secrets().redis_passwords[user], safe="")
        socket = quote(str(self.sockets() / "valkey.sock"))
        return f"unix://{user}:{password}@{socket}?db={database}"

    def environment(self, role: str, redis_user: str = redis_users.WORKER) -> dict[str, str]:
        """Return the `STARFOLD_*` variables of a process with these roles in database and Redis."""
        own = self.secrets()
        passwords = {OWNER_ROLE: own.owner_password, **own.role_passwords}
        seconds = {
            "STARFOLD_SECOND_SEALING_KEY": own.second_sealing_key,
            "STARFOLD_SECOND_TOKEN_PUBLIC_KEY": own.second_token_public_key,
        }
        return {name: key for name, key in seconds.items() if key} | {
            "STARFOLD_DATABASE_URL": self.dsn(role, passwords[role]),
            "STARFOLD_REDIS_URL": self.redis_url(redis_user),
            "STARFOLD_JOBS_REDIS_URL": self.redis_url(redis_user, JOBS_DATABASE),
            "STARFOLD_SEALING_KEY": own.sealing_key,
            "STARFOLD_RESERVATION_SECRET": own.reservation_secret,
            "STARFOLD_ERASURE_LEDGER": str(self.erasure_ledger),
            "STARFOLD_MAIL_OUTBOX": str(self.outbox),
            "STARFOLD_TOKEN_PRIVATE_KEY": own.token_private_key,
            "STARFOLD_TOKEN_PUBLIC_KEY": own.token_public_key,
            "STARFOLD_CURSOR_KEY": own.cursor_key,
        }


@contextmanager
def _exclusively(file: Path, *, otherwise: str) -> Iterator[None]:
    """Hold the lock of a file; raise `OperatorError(otherwise)` if another process holds it."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OperatorError(otherwise) from error
        yield


def _is_plain(path: Path) -> bool:
    """Whether a path is safe in libpq's host lists and PostgreSQL's socket folders."""
    return not any(character in ",\"'\\" or not character.isprintable() for character in str(path))


def write_private(file: Path, content: bytes) -> None:
    """Write a file of mode 0600 atomically; each writer has a draft of its own."""
    descriptor, draft = tempfile.mkstemp(prefix=f"{file.stem}.", suffix=".new", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).replace(file)
    finally:  # Unless it has become the file.
        Path(draft).unlink(missing_ok=True)


def _new_secrets() -> Secrets:
    private_key = Ed25519PrivateKey.generate()
    return Secrets(
        owner_password=secrets.token_urlsafe(24),
        command_password=secrets.token_urlsafe(24),
        projector_password=secrets.token_urlsafe(24),
        valkey_password=secrets.token_urlsafe(24),
        query_api_redis_password=secrets.token_urlsafe(24),
        projector_redis_password=secrets.token_urlsafe(24),
        worker_redis_password=secrets.token_urlsafe(24),
        reservation_secret=base64_text(secrets.token_bytes(32)),
        sealing_key=base64_text(secrets.token_bytes(32)),
        token_private_key=base64_text(private_key.private_bytes_raw()),
        token_public_key=base64_text(private_key.public_key().public_bytes_raw()),
    )


def base64_text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
