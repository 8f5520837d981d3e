"""The address of a request, as rate limits count it."""

from __future__ import annotations

import ipaddress

from starlette.types import Scope

# The holder of one IPv6 address usually has all of its /64.
_IPV6_SITE_BITS = 64
# The part of an address that a log may keep: a neighbourhood, not a household.
_IPV4_LOG_BITS, _IPV6_LOG_BITS = 24, 48


def address_of(scope: Scope) -> str:
    """Return an IPv4 address, or the /64 of an IPv6 address."""
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


def network_of(address: str) -> str:
    """Return the /24 or /48 of what `address_of` returned, for a log."""
    try:
        site = ipaddress.ip_network(address)
    except ValueError:
        return "unknown"
    return str(site.supernet(new_prefix=_IPV4_LOG_BITS if site.version == 4 else _IPV6_LOG_BITS))
