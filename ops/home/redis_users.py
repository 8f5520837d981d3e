"""The users of Redis and their permissions, as the ACL file that Redis reads at its start.

The user `default`, which clients without a name would use, is off. A missing permission appears as
`NOPERM` in the service's log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from shared.read_model.damage import DAMAGED_KEY
from shared.read_model.keys import APPLIED_CHANNEL, GENERATIONS_CHANNEL

OWNER = "starfold_owner"
QUERY_API = "query-api"
PROJECTOR = "projector"
WORKER = "worker"
# For health checks: may only PING, without a password.
HEALTH = "health"

_READ_MODELS = "sf:*"
_JOBS = "rq:*"
_SAFE = "+@all -@admin -@dangerous +info +role +config|get"
_REWRITES = "+bgsave +bgrewriteaof +lastsave"

_RULES: Mapping[str, str] = {
    OWNER: "~* &* +@all",
    QUERY_API: (
        f"%R~{_READ_MODELS} ~{DAMAGED_KEY} &{APPLIED_CHANNEL} &{GENERATIONS_CHANNEL} {_SAFE}"
        " -publish"
    ),
    PROJECTOR: f"~{_READ_MODELS} &{_READ_MODELS} {_SAFE} {_REWRITES}",
    # RQ finds its workers in the list of clients, and locks the keys of its jobs.
    WORKER: f"~{_READ_MODELS} ~{_JOBS} &{_READ_MODELS} &{_JOBS} {_SAFE} {_REWRITES} +client|list",
}
NAMES = tuple(_RULES)


def acl_file(passwords: Mapping[str, str]) -> str:
    """Return the file's text: the rules of each user with the hash of their password."""
    lines = ["user default off resetpass resetkeys resetchannels -@all"]
    for name, rules in _RULES.items():
        password = hashlib.sha256(passwords[name].encode()).hexdigest()
        lines.append(f"user {name} on #{password} resetkeys resetchannels {rules}")
    lines.append(f"user {HEALTH} on nopass resetkeys resetchannels -@all +ping")
    return "".join(f"{line}\n" for line in lines)
