"""Behind a proxy, a client's own address is the one that counts."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import command_api.app
from tests.support.system import RunningApp, System
from tests.support.web.nginx import Proxy

LIMIT = 3


def get(url: str, claimed: str) -> int:
    """A request that says whom it was forwarded for."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("POST", "/v1/sessions", b"{}", {"X-Forwarded-For": claimed})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def running(system: System, trusted: str) -> RunningApp:
    settings = system.command_settings(trusted_proxies=trusted, rate_limit_anonymous=LIMIT)
    return system.closing(
        RunningApp(
            command_api.app.create_app(settings),
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies or None,
        )
    )


@pytest.mark.parametrize("trusted", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "*"])
def test_behind_a_trusted_proxy_each_client_has_a_limit_of_its_own(
    system: System, trusted: str
) -> None:
    app = running(system, trusted)
    with Proxy(app.url) as proxy:
        # A proxy before this one, that is trusted too, has seen the client.
        hops = [f"{client}, 127.0.0.1" for client in ("203.0.113.1", "203.0.113.2")]
        if trusted == "*":  # The first one is believed then.
            hops = [hop.split(",")[0] for hop in hops]
        first = [get(proxy.url, hops[0]) for _ in range(LIMIT + 1)]
        assert first.count(429) == 1
        assert get(proxy.url, hops[1]) != 429


@pytest.mark.parametrize("trusted", ["", "192.0.2.1"])
def test_what_an_untrusted_client_says_of_its_address_is_not_believed(
    system: System, trusted: str
) -> None:
    app = running(system, trusted)
    answers = [get(app.url, f"203.0.113.{number}") for number in range(LIMIT + 1)]
    assert answers.count(429) == 1


def test_networks_are_understood_by_the_server() -> None:
    trusted = ProxyHeadersMiddleware(lambda *_: None, "10.0.0.0/8,127.0.0.1").trusted_hosts  # type: ignore[arg-type]  # Never called.
    assert "10.1.2.3" in trusted
    assert "11.1.2.3" not in trusted
