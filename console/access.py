"""Permission to use the operators' API: the role `operator`, or the scope `operate`."""

from __future__ import annotations

from command_api.deciding.use_cases import OPERATORS
from command_api.identity.access import Access
from shared.web.openapi import Admission

# The caller is looked up before any other check: operators are few, and their acts weigh much.
OPERATORS_ONLY = Access(roles=OPERATORS, scopes=frozenset({"operate"}), checked_first=True)


def admission(access: Access | None) -> Admission:
    """Return the admitted callers, for the documentation."""
    return Admission() if access is None else access.admission
