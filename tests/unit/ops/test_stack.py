"""What `starfold up` tells its children."""

from __future__ import annotations

import pytest

from ops.local.stack import trusted_by_apis


@pytest.mark.parametrize(
    ("host", "own", "trusted"),
    [
        ("127.0.0.1", "", "127.0.0.1,::1,127.0.0.1"),
        ("0.0.0.0", "", "127.0.0.1,::1,127.0.0.1"),
        ("films.example", "10.0.0.0/8", "10.0.0.0/8,127.0.0.1,::1"),
        ("192.0.2.7", "10.0.0.1", "10.0.0.1,127.0.0.1,::1,192.0.2.7"),
    ],
)
def test_the_apis_trust_the_pages_of_this_machine(host: str, own: str, trusted: str) -> None:
    assert trusted_by_apis(host, {"STARFOLD_TRUSTED_PROXIES": own}) == trusted
