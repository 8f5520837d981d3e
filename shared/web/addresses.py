"""Where a request comes from, as far as a limit is concerned."""

from __future__ import annotations

import ipaddress

from starlette.types import Scope

# Who has one IPv6 address usually has all of its /64.
_IPV6_SITE_BITS = 64


def address_of(scope: Scope) -> str:
    """An IPv4 address, or the site of an IPv6 address."""
    client = scope.get("client")
    host: str = client[0] if client else ""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    site = ipaddress.IPv6Network((int(address), _IPV6_SITE_BITS), strict=False)
    return str(address.ipv4_mapped or site)
