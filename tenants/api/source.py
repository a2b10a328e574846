"""Where a request without a key comes from."""

from __future__ import annotations

import ipaddress

from flask import request

from auth import tokens
from core.web import house


def source() -> str:
    """An IPv4 address, or the /64 that one line gets with IPv6; hashed."""
    try:
        ip = ipaddress.ip_address((request.remote_addr or "").split("%")[0])
        text = str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
    except ValueError:
        text = "unknown"
    return tokens.hashed(house().settings, "source", text)[:32]
