"""Security headers, CSRF and origin checks, and safe redirect targets."""

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
_CLIMBS = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)  # browsers resolve both `..` and `%2e%2e`
csrf = CSRFProtect()


def init(app: Flask, settings: Settings) -> None:
    """Configure the session cookie, CSRF and Origin checks for unsafe methods, and security headers."""
    secure = settings.is_https
    app.config.update(
        SECRET_KEY=settings.secret_keys[0],
        SECRET_KEY_FALLBACKS=list(settings.secret_keys[1:]),
        SESSION_COOKIE_NAME=cookie_name(settings, "portal"),
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_CHECK_DEFAULT=False,  # check_form calls it after the Origin check
        WTF_CSRF_TIME_LIMIT=None,  # a form lives as long as its session
        WTF_CSRF_SSL_STRICT=False,  # the Origin check below replaces the Referer one
    )
    interface = SecureCookieSessionInterface()
    interface.salt = f"cookie-session-{settings.mode}"  # live mode does not accept cookies of test mode
    app.session_interface = interface
    csrf.init_app(app)
    app.before_request(check_form)
    app.after_request(add_headers)


def cookie_name(settings: Settings, name: str) -> str:
    """Return a name such as `__Host-portal-live`; over plain http without the prefix, which browsers would refuse."""
    return f"{'__Host-' if settings.is_https else ''}{name}-{settings.mode}"


def is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def csrf_exempt(view: View) -> View:
    """Exempt a view that uses no cookie (notifications, token endpoints, one-click unsubscribe) from the form check."""
    view._csrf_exempt = True  # type: ignore[attr-defined]
    return view


def check_form() -> None:
    """Refuse an unsafe request from another site. /api is exempt: it uses bearer tokens and ignores cookies."""
    if request.method in ("GET", "HEAD", "OPTIONS", "TRACE") or request.endpoint is None or is_api(request.path):
        return
    if getattr(current_app.view_functions.get(request.endpoint), "_csrf_exempt", False):
        return
    if not _from_here():
        raise CSRFError("origin")
    csrf.protect()


def is_from_here() -> bool:
    """Whether the request comes from this portal, for views that are exempt from the form check."""
    return _from_here()


def _from_here() -> bool:
    """Whether Origin, or else Referer, is this portal's.

    Browsers send `Origin: null` from no-referrer pages (the token pages); then Sec-Fetch-Site decides. Without any of the
    three headers only the CSRF token protects the form.
    """
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
    """Return the random nonce of this response. Only scripts and styles with it are executed."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def token_page() -> None:
    """Mark this response as one with a secret in its URL or body: not cached, and without a referrer."""
    g.token_page = True


def allow_form_to(*origins: str) -> None:
    """Allow forms of this page to redirect to other origins, because browsers apply `form-action` to redirects too."""
    g.form_origins = [*g.get("form_origins", ()), *(o for o in map(_header_url, origins) if o and not re.search(r"[\s;,]", o))]


def allow_from(*origins: str) -> None:
    """Allow this page to load a widget, such as a hosted captcha, from other origins: script, frame and requests."""
    g.widget_origins = [*g.get("widget_origins", ()), *(o for o in origins if not re.search(r"[\s;,]", o))]


def add_headers(response: Response) -> Response:
    settings = current_app.extensions["portal"].settings
    headers = response.headers
    if "Location" in headers:
        headers["Location"] = _header_url(headers["Location"]) or "/"
    targets = " ".join(("'self'", *g.get("form_origins", ())))
    widgets = "".join(f" {row}" for row in g.get("widget_origins", ()))
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
    """Return the URL with its host in ASCII; empty if the host is invalid.

    Werkzeug would encode the host with IDNA 2003, which can give a different domain.
    """
    try:
        return ascii_url(url)
    except BadDomain:
        return ""


def safe_next(value: str | None, allow: Iterable[str] = (), default: str = "/") -> str:
    """Return `value` if it is a path of this portal or an allowed https URL, else `default`.

    `allow` holds origins (`https://shop.example`) or URL prefixes (`https://shop.example/account`).
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
    here, there = (_header_url(f"https://{item.netloc}").lower() for item in (entry, parts))
    same = entry.scheme == "https" and here == there != ""
    return bool(same and (parts.path == path or parts.path.startswith(path + "/") or not path) and not _CLIMBS.search(parts.path))
