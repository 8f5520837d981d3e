"""Whom a failed log-in keeps out, and whom it does not."""

from __future__ import annotations

import pytest
from fastapi import Request

from command_api.limits import LogInLimits, RateLimits, address_of, rate_limit_fields
from command_api.principal import Anyone, Member, Service
from shared.errors import TooManyRequests
from shared.ids import new_uuid7
from tests.domain.builders import ANN, BEN


def came_from(address: str) -> Request:
    return Request({"type": "http", "client": (address, 1), "headers": [], "state": {}})


def test_no_single_address_locks_an_account() -> None:
    limits = LogInLimits(per_account=3, per_address=100)
    for _ in range(3):
        limits.begin(came_from("192.0.2.1"), "ann@x.org")
    with pytest.raises(TooManyRequests):
        limits.begin(came_from("192.0.2.1"), "ann@x.org")
    limits.begin(came_from("192.0.2.2"), "ann@x.org")
    limits.begin(came_from("192.0.2.1"), "ben@x.org")


def test_an_address_is_limited_over_all_accounts() -> None:
    limits = LogInLimits(per_account=3, per_address=5)
    for n in range(5):
        limits.begin(came_from("2001:db8::1"), f"{n}@x.org")
    with pytest.raises(TooManyRequests):
        limits.begin(came_from("2001:db8::2"), "another host of the same site")
    limits.begin(came_from("2001:db8:0:1::1"), "1@x.org")


def test_what_succeeds_is_not_counted() -> None:
    limits = LogInLimits(per_account=1, per_address=1)
    for _ in range(10):
        with limits.attempt(came_from("192.0.2.1"), "ann@x.org"):
            pass


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a:b", "a:b"),
        ("", ""),
    ],
)
def test_an_ipv6_site_is_one_address(host: str, address: str) -> None:
    assert address_of(came_from(host).scope) == address


def test_members_services_and_addresses_have_limits_of_their_own() -> None:
    limits = RateLimits({"member": 1, "service": 2, "anonymous": 0})
    scope = came_from("192.0.2.1").scope
    limits.charge(scope, Member(ANN))
    assert rate_limit_fields(scope) == [
        (b"ratelimit-policy", b'"member";q=1;w=60'),
        (b"ratelimit", b'"member";r=0;t=60'),
    ]
    limits.charge(scope, Member(BEN))
    with pytest.raises(TooManyRequests) as refused:
        limits.charge(scope, Member(ANN))
    assert refused.value.retry_after_s == 60
    service = Service(new_uuid7(), frozenset())
    limits.charge(scope, service)
    limits.charge(scope, service)
    with pytest.raises(TooManyRequests):
        limits.charge(scope, service)
    for _ in range(10):
        limits.charge(came_from("192.0.2.1").scope, Anyone())
