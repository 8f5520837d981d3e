"""A failed log-in keeps out some callers, and not others."""

from __future__ import annotations

import asyncio

import pytest

from command_api.bodies.models import BULK_BYTES_MAX, RATINGS_MAX
from command_api.deciding.principal import Anyone, Member, Service
from command_api.identity.limits import (
    LogInLimits,
    RateLimits,
)
from command_api.identity.refusal_pace import A_SECOND_MAX, AT_ONCE_MAX, DELAY_MAX_S, RefusalPace
from command_api.settings import MIB, CommandSettings
from shared.errors import Overloaded, TooManyRequests
from shared.ids import new_uuid7
from shared.web.addresses import address_of, network_of
from tests.support.builders import ANN, BEN

HERE = "192.0.2.1"


def came_from(host: str) -> str:
    return address_of({"type": "http", "client": (host, 1)})


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", "unknown"),
    ],
)
def test_a_log_shows_the_network_of_an_address(host: str, network: str) -> None:
    assert network_of(came_from(host)) == network


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


@pytest.mark.parametrize("ended_by", [Overloaded("busy"), asyncio.CancelledError()])
def test_an_attempt_that_ends_otherwise_than_by_its_password_is_not_counted(
    ended_by: BaseException,
) -> None:
    limits = LogInLimits(per_account=1, per_address=1)
    for _ in range(10):
        with (
            pytest.raises(type(ended_by)),
            limits.attempt(came_from("192.0.2.1"), "ann@x.org"),
        ):
            raise ended_by
        with (
            pytest.raises(type(ended_by)),
            limits.attempt_with_key(came_from("192.0.2.1"), "a key"),
        ):
            raise ended_by


def test_an_attempt_counts_while_it_lasts() -> None:
    limits = LogInLimits(per_account=1, per_address=10)
    with limits.attempt(came_from("192.0.2.1"), "ann@x.org"), pytest.raises(TooManyRequests):
        limits.begin(came_from("192.0.2.1"), "ann@x.org")
    limits.begin(came_from("192.0.2.1"), "ann@x.org")


def test_a_wrong_secret_counts_for_its_key_alone() -> None:
    limits = LogInLimits(per_account=2, per_address=1)
    for _ in range(2):
        with limits.attempt_with_key(came_from("192.0.2.1"), "a key") as attempt:
            attempt.failed()
    with (
        pytest.raises(TooManyRequests),
        limits.attempt_with_key(came_from("192.0.2.1"), "a key"),
    ):
        pass
    with limits.attempt_with_key(came_from("192.0.2.1"), "another key"):
        limits.begin(came_from("192.0.2.1"), "ann@x.org")


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
    assert came_from(host) == address


def test_members_services_and_addresses_have_limits_of_their_own() -> None:
    limits = RateLimits({"member": 1, "service": 2, "anonymous": 0})
    charge = limits.charge(HERE, Member(ANN), 0)
    assert charge.fields == [
        (b"ratelimit-policy", b'"member";q=1;w=60'),
        (b"ratelimit", b'"member";r=0;t=60'),
    ]
    charge.require()
    limits.charge(HERE, Member(BEN), 0).require()
    with pytest.raises(TooManyRequests) as refused:
        limits.charge(HERE, Member(ANN), 0).require()
    assert refused.value.retry_after_s == 60
    service = Service(new_uuid7(), frozenset())
    limits.charge(HERE, service, 0).require()
    limits.charge(HERE, service, 0).require()
    with pytest.raises(TooManyRequests):
        limits.charge(HERE, service, 0).require()
    for _ in range(10):
        limits.charge(HERE, Anyone(), 0).require()


@pytest.mark.parametrize(
    ("body_bytes", "rows", "left"),
    [
        (0, None, 99_999),
        (512, None, 99_999),
        (513, None, 99_998),
        (300, 1, 99_999),
        (300, 5, 99_995),
        (5_120, 5, 99_990),
        (16 * MIB, 10_000, 67_232),
        (1_500_000, 10_000, 90_000),
    ],
)
def test_rows_are_charged_and_bytes_where_they_are_more(
    body_bytes: int, rows: int | None, left: int
) -> None:
    limits = RateLimits({"member": 100_000, "service": 0, "anonymous": 1})
    charge = limits.charge(HERE, Member(ANN), body_bytes)
    if rows is not None:
        charge = limits.charge_more(HERE, Member(ANN), charge, rows=rows, body_bytes=body_bytes)
    assert f"r={left};".encode() in dict(charge.fields)[b"ratelimit"]


def test_a_body_that_does_not_say_its_bytes_is_charged_once_it_is_there() -> None:
    limits = RateLimits({"member": 100, "service": 0, "anonymous": 0})
    before = limits.charge(HERE, Member(ANN), 0)
    after = limits.charge_more(HERE, Member(ANN), before, rows=3, body_bytes=5_120)
    assert b"r=90;" in dict(after.fields)[b"ratelimit"]


@pytest.mark.parametrize("caller", [Member(ANN), Service(new_uuid7(), frozenset())])
def test_the_limits_that_are_set_by_default_grant_the_largest_batch(
    caller: Member | Service,
) -> None:
    fields = CommandSettings.model_fields
    limits = RateLimits(
        {
            policy: fields[f"rate_limit_{policy}"].default
            for policy in ("member", "service", "anonymous")
        }
    )
    before = limits.charge(HERE, caller, BULK_BYTES_MAX)
    before.require()
    limits.charge_more(HERE, caller, before, rows=RATINGS_MAX, body_bytes=BULK_BYTES_MAX).require()


def test_what_costs_more_than_a_limit_is_told_so() -> None:
    limits = RateLimits({"member": 5, "service": 0, "anonymous": 0})
    before = limits.charge(HERE, Member(ANN), 0)
    for rows in (10, 6):
        more = limits.charge_more(HERE, Member(ANN), before, rows=rows, body_bytes=0)
        with pytest.raises(TooManyRequests, match="send less") as refused:
            more.require()
        assert refused.value.retry_after_s == 12


def test_an_address_over_its_limit_has_no_room() -> None:
    limits = RateLimits({"member": 1, "service": 1, "anonymous": 2})
    for _ in range(2):
        limits.require_room(HERE)
        limits.charge(HERE, Anyone(), 0).require()
    with pytest.raises(TooManyRequests) as refused:
        limits.require_room(HERE)
    assert refused.value.retry_after_s == 30
    limits.require_room(came_from("192.0.2.2"))


def test_an_address_is_refused_at_a_pace_and_others_are_not_held_up() -> None:
    now_s = 100.0
    pace = RefusalPace(clock=lambda: now_s)
    delays = [pace.delay_s("192.0.2.1") for _ in range(AT_ONCE_MAX + A_SECOND_MAX + 10)]
    assert delays[:AT_ONCE_MAX] == pytest.approx([0.0] * AT_ONCE_MAX)
    assert delays[AT_ONCE_MAX] == pytest.approx(1 / A_SECOND_MAX)
    assert delays[-1] == DELAY_MAX_S
    assert delays == sorted(delays)
    assert pace.delay_s("192.0.2.2") == 0.0
    now_s += 10
    assert pace.delay_s("192.0.2.1") == 0.0
