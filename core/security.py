"""Headers, forms that prove where they come from, and links that stay where they may go."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFError, CSRFProtect

from core.domain_names import BadDomain, ascii_url
from core.settings import Settings

View = TypeVar("View", bound=Callable[..., Any])
_TOKEN_PATHS = ("/login/link/", "/session/", "/invite/")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\\]")
_CLIMBS = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)  # browsers resolve `..` and `%2e%2e` alike
csrf = CSRFProtect()


def init(app: Flask, settings: Settings) -> None:
    """Cookie of the mode, CSRF and Origin checks for unsafe methods, security headers on every answer."""
    secure = settings.is_https
    app.config.update(
        SECRET_KEY=settings.secret_keys[0],
        SECRET_KEY_FALLBACKS=list(settings.secret_keys[1:]),
        SESSION_COOKIE_NAME=cookie_name(settings, "portal"),
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_CHECK_DEFAULT=False,  # we call it ourselves, after the Origin check
        WTF_CSRF_TIME_LIMIT=None,  # a form lives as long as its session
        WTF_CSRF_SSL_STRICT=False,  # the Origin check below replaces the Referer one
    )
    interface = SecureCookieSessionInterface()
    interface.salt = f"cookie-session-{settings.mode}"  # a test cookie is nothing in live mode
    app.session_interface = interface
    csrf.init_app(app)
    app.before_request(check_form)
    app.after_request(add_headers)


def cookie_name(settings: Settings, name: str) -> str:
    """`__Host-portal-live` over https; over plain http (test mode) without the prefix, which browsers would refuse."""
    return f"{'__Host-' if settings.is_https else ''}{name}-{settings.mode}"


def is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def csrf_exempt(view: View) -> View:
    """For a view that never looks at a cookie (notifications, token endpoints, one-click unsubscribe): no form check."""
    view._csrf_exempt = True  # type: ignore[attr-defined]
    return view


def check_form() -> None:
    """Refuse an unsafe request that a page of ours did not make. /api takes bearer tokens only and ignores cookies."""
    if request.method in ("GET", "HEAD", "OPTIONS", "TRACE") or request.endpoint is None or is_api(request.path):
        return
    if getattr(current_app.view_functions.get(request.endpoint), "_csrf_exempt", False):
        return
    if not _from_here():
        raise CSRFError("origin")
    csrf.protect()


def _from_here() -> bool:
    """Origin, or else Referer, is ours. `Origin: null` is what browsers send from a no-referrer page of our own
    (the token pages), so there Sec-Fetch-Site decides; without any of the three the CSRF token stands alone."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    if origin == "null":
        return True
    claimed = origin or request.headers.get("Referer")
    if not claimed:
        return True
    base_url = current_app.extensions["portal"].settings.base_url
    ours = {request.host_url.rstrip("/"), base_url, f"{urlsplit(base_url).scheme}://{request.host}"}  # the Host was checked before
    parts = urlsplit(claimed)
    return f"{parts.scheme}://{parts.netloc}" in {f"{o.scheme}://{o.netloc}" for o in map(urlsplit, ours)}


def csp_nonce() -> str:
    """One unguessable value per answer; only tags that carry it run."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def token_page() -> None:
    """Mark this answer as one whose URL or body holds a secret: not stored, never referred from."""
    g.token_page = True


def allow_form_to(*origins: str) -> None:
    """Let forms of this page end at another origin: browsers hold `form-action` against the redirects that follow too."""
    g.form_origins = [*g.get("form_origins", ()), *(o for o in map(_header_url, origins) if o and not re.search(r"[\s;,]", o))]


def allow_from(*origins: str) -> None:
    """Let this page load a widget of other origins (a hosted captcha that the operator chose): its script, frame and calls."""
    g.widget_origins = [*g.get("widget_origins", ()), *(o for o in origins if not re.search(r"[\s;,]", o))]


def add_headers(response: Response) -> Response:
    settings = current_app.extensions["portal"].settings
    headers = response.headers
    if "Location" in headers:
        headers["Location"] = _header_url(headers["Location"]) or "/"
    targets = " ".join(("'self'", *g.get("form_origins", ())))
    widgets = "".join(f" {one}" for one in g.get("widget_origins", ()))
    nonce = csp_nonce()
    headers.setdefault(
        "Content-Security-Policy",
        f"default-src 'none'; script-src 'nonce-{nonce}'{widgets}; style-src 'self' 'nonce-{nonce}'{widgets}; "
        "img-src 'self' data:; font-src 'self'; "
        f"form-action {targets}; base-uri 'none'; frame-src 'self'{widgets}; frame-ancestors 'none'; connect-src 'self'{widgets}",
    )
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    if settings.is_https:
        headers.setdefault("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
    if g.get("token_page") or any(part in request.path for part in _TOKEN_PATHS):
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cache-Control"] = "no-store"
    else:
        headers.setdefault("Referrer-Policy", "same-origin")
        if request.endpoint != "static" and "Cache-Control" not in headers:
            headers["Cache-Control"] = "private, no-cache"
    return response


def _header_url(url: str) -> str:
    """The URL with its host in ASCII: Werkzeug would encode it with IDNA 2003, and send people to somebody else's host.
    Empty for a host that is no domain name."""
    try:
        return ascii_url(url)
    except BadDomain:
        return ""


def safe_next(value: str | None, allow: Iterable[str] = (), default: str = "/") -> str:
    """Where to go after this: a path of ours, or an https URL on the allow list; else `default`.

    `allow` holds origins (`https://shop.example`) or URL prefixes with a path (`https://shop.example/account`).
    Refused: `//host`, backslashes, control characters and spaces, other schemes, credentials in the host part.
    """
    if not value or len(value) > 2000 or _CONTROL.search(value):
        return default
    parts = urlsplit(value)
    if not parts.scheme and not parts.netloc:
        return value if value.startswith("/") and not value.startswith("//") else default
    if parts.scheme != "https" or "@" in parts.netloc:
        return default
    return value if any(_within(parts, urlsplit(entry)) for entry in allow) else default


def _within(parts: Any, entry: Any) -> bool:
    path = entry.path.rstrip("/")
    here, there = (_header_url(f"https://{one.netloc}").lower() for one in (entry, parts))
    same = entry.scheme == "https" and here == there != ""
    return bool(same and (parts.path == path or parts.path.startswith(path + "/") or not path) and not _CLIMBS.search(parts.path))
