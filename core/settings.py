"""The settings of a deployment, read once. A deployment has one mode.

`Settings.from_env(environ)` reads the variables of docs/self-hosting.md and refuses unsafe settings in live mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from core import oidc_settings
from core.address_policy import is_loopback
from core.domain_names import BadDomain
from core.legal_settings import LegalSettings
from core.mime import address_of
from core.oidc_settings import OidcProvider
from core.proxies import Network, TrustedProxies, operator_networks
from core.setting_values import (
    Misconfigured,
    ascii_base_url,
    boolean,
    choice,
    database_url,
    header_name,
    listen_address,
    mail_host,
    mail_sender,
    number,
    number_or_none,
    origins,
    web_url,
)

__all__ = ["DEFAULT_SECRET", "Misconfigured", "Mode", "Settings"]

Mode = Literal["test", "live"]
DEFAULT_SECRET = "test-only-secret-do-not-use-in-live-mode"  # noqa: S105 - refused in live mode below
PROCESSORS = ("stripe",)
"""Kinds of payment processors that charge real money in live mode. `wsgi.py` has the implementation of each."""
_LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
_ROOT = Path(__file__).resolve().parent.parent


VIES = "https://ec.europa.eu/taxation_customs/vies/rest-api"
"""The REST service of the European Commission that checks VAT IDs."""


@dataclass(frozen=True)
class Settings:
    mode: Mode = "test"
    base_url: str = "http://127.0.0.1:5000"
    name: str = "Customer portal"
    gateway: str = "sandbox"
    database_url: str = ""
    database_owner_url: str = ""
    database_replica_url: str = ""
    database_backup_url: str = ""
    secret_keys: tuple[str, ...] = (DEFAULT_SECRET,)
    mail_server: str = ""
    mail_port: int = 25
    mail_use_tls: bool = False  # STARTTLS
    mail_use_ssl: bool = False  # TLS from the first byte (RFC 8314), usually port 465
    mail_username: str = ""
    mail_password: str = ""
    mail_default_sender: str = "portal@localhost"
    data_dir: Path = _ROOT / "var"
    operator_secret: str = ""
    metrics_listen: tuple[str, int] | None = None  # address of /metrics of a worker
    sentry_dsn: str = ""
    traces_endpoint: str = ""  # URL of an OTLP/HTTP collector
    operator_networks: tuple[Network, ...] = ()
    support_email: str = ""
    worker: str = "thread"
    drain_delay: int = 0  # seconds between SIGTERM and closing the port
    allow_sqlite: bool = False
    outgoing_loopback: bool = False
    prepare_threshold: int | None = 5
    log_level: str = "INFO"
    trusted_proxies: TrustedProxies = TrustedProxies()
    country_header: str = ""
    api_rate: int = 3000  # calls per minute for each API key; 0 means no limit
    api_origins: tuple[str, ...] = ()  # of the deployment's own front ends, which may call the customer API from browsers
    oidc_providers: tuple[OidcProvider, ...] = ()
    bot_check: str = "work"
    bot_site_key: str = ""
    bot_secret: str = ""
    vies_url: str = ""  # REST service that checks EU VAT IDs; empty: they are not checked
    legal: LegalSettings = LegalSettings()

    @property
    def is_test(self) -> bool:
        return self.mode == "test"

    @property
    def processor_kinds(self) -> tuple[str, ...]:
        """The kinds of payment processors that businesses of this deployment can use. The sandbox is never among them in live mode."""
        return (*PROCESSORS, *(("sandbox",) if self.gateway == "sandbox" and self.is_test else ()))

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def host(self) -> str:
        """Return host[:port] of the base URL, as in a Host header."""
        return urlsplit(self.base_url).netloc

    @property
    def hostname(self) -> str:
        """Return the host of the base URL without port; an IPv6 address without brackets."""
        return urlsplit(self.base_url).hostname or "localhost"

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def owner_url(self) -> str:
        return self.database_owner_url or self.database_url

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        def get(name: str, default: str = "") -> str:
            return environ.get(name, default).strip()

        mode = choice(get, "PORTAL_MODE", "test", ("test", "live"))
        data_dir = Path(get("PORTAL_DATA_DIR") or cls.data_dir)
        port = number(get, "PORT", 5000, 1, 65535)
        base_url = get("PORTAL_BASE_URL") or (f"http://127.0.0.1:{port}" if mode == "test" else "https://customer.dodopayments.com")
        settings = cls(
            mode="live" if mode == "live" else "test",
            base_url=web_url("PORTAL_BASE_URL", ascii_base_url(base_url)),
            name=get("PORTAL_NAME", cls.name),
            gateway=get("PORTAL_GATEWAY") or ("sandbox" if mode == "test" else "none"),
            database_url=database_url(get, "DATABASE_URL", f"sqlite:///{data_dir / f'portal-{mode}.sqlite3'}"),
            database_owner_url=database_url(get, "DATABASE_OWNER_URL"),
            database_replica_url=database_url(get, "DATABASE_REPLICA_URL"),
            database_backup_url=database_url(get, "DATABASE_BACKUP_URL"),
            secret_keys=tuple(key.strip() for key in get("SECRET_KEY").split(",") if key.strip()) or (DEFAULT_SECRET,),
            mail_server=mail_host(get("MAIL_SERVER")),
            mail_port=number(get, "MAIL_PORT", 465 if boolean(get, "MAIL_USE_SSL") else 25, 1, 65535),
            mail_use_tls=boolean(get, "MAIL_USE_TLS"),
            mail_use_ssl=boolean(get, "MAIL_USE_SSL"),
            mail_username=get("MAIL_USERNAME"),
            mail_password=get("MAIL_PASSWORD"),
            mail_default_sender=get("MAIL_DEFAULT_SENDER") or mail_sender(base_url),
            data_dir=data_dir,
            operator_secret=get("PORTAL_OPERATOR_SECRET"),
            metrics_listen=listen_address(get, "PORTAL_METRICS_LISTEN"),
            sentry_dsn=get("SENTRY_DSN"),
            traces_endpoint=get("OTEL_EXPORTER_OTLP_ENDPOINT"),
            operator_networks=_operator_networks(get("PORTAL_OPERATOR_NETWORKS")),
            support_email=get("PORTAL_SUPPORT_EMAIL"),
            worker=choice(get, "PORTAL_WORKER", "thread", ("thread", "off")),
            drain_delay=number(get, "PORTAL_DRAIN_DELAY", cls.drain_delay, 0, 300),
            allow_sqlite=boolean(get, "PORTAL_ALLOW_SQLITE"),
            outgoing_loopback=boolean(get, "PORTAL_OUTGOING_LOOPBACK"),
            prepare_threshold=number_or_none(get, "DATABASE_PREPARE_THRESHOLD", 5, 1_000_000),
            log_level=choice(lambda name: get(name).upper(), "LOG_LEVEL", "INFO", _LOG_LEVELS),
            trusted_proxies=_proxies(get("PORTAL_TRUSTED_PROXIES")),
            country_header=header_name(get, "PORTAL_COUNTRY_HEADER"),
            api_rate=number(get, "PORTAL_API_RATE", cls.api_rate, 0, 1_000_000),
            api_origins=origins(get, "PORTAL_API_ORIGINS"),
            oidc_providers=_providers(get),
            bot_check=get("PORTAL_BOT_CHECK") or cls.bot_check,
            bot_site_key=get("PORTAL_BOT_SITE_KEY"),
            bot_secret=get("PORTAL_BOT_SECRET"),
            vies_url=_vies_url(get("PORTAL_VIES_URL"), mode),
            legal=LegalSettings.read(get),
        )
        return settings.checked()

    def checked(self) -> Settings:
        """Raise Misconfigured for invalid or unsafe settings. Returns itself."""
        if self.gateway not in ("sandbox", "none"):
            raise Misconfigured(f"PORTAL_GATEWAY is {self.gateway!r}; choose 'sandbox' or 'none'.")
        if self.mail_use_tls and self.mail_use_ssl:
            raise Misconfigured("Set only one of MAIL_USE_TLS (STARTTLS, usually port 587) and MAIL_USE_SSL (usually port 465).")
        if self.bot_check not in ("work", "turnstile", "hcaptcha", "none"):
            raise Misconfigured(f"PORTAL_BOT_CHECK is {self.bot_check!r}; choose 'work', 'turnstile', 'hcaptcha' or 'none'.")
        if self.bot_check in ("turnstile", "hcaptcha") and not (self.bot_site_key and self.bot_secret):
            raise Misconfigured("PORTAL_BOT_SITE_KEY and PORTAL_BOT_SECRET must be set for this PORTAL_BOT_CHECK.")
        if self.metrics_listen and not self.operator_secret and not is_loopback(self.metrics_listen[0]):
            raise Misconfigured("PORTAL_METRICS_LISTEN is not a loopback address, so PORTAL_OPERATOR_SECRET must be set.")
        try:
            if not address_of(self.mail_default_sender).isascii():
                raise BadDomain("only ASCII before the @")
        except BadDomain as wrong:
            raise Misconfigured(f"MAIL_DEFAULT_SENDER is not an address that every mail server accepts: {wrong}.") from wrong
        if self.is_test:
            return self
        if self.operator_secret and len(self.operator_secret) < 20:
            raise Misconfigured("PORTAL_OPERATOR_SECRET must be random text of 20 characters or more in live mode.")
        weak = [key for key in self.secret_keys if key == DEFAULT_SECRET or len(key) < 32]
        if weak:
            raise Misconfigured("SECRET_KEY must be set in live mode, to random text of 32 characters or more.")
        if not self.is_https:
            raise Misconfigured("PORTAL_BASE_URL must start with https:// in live mode.")
        if self.gateway == "sandbox":
            raise Misconfigured("PORTAL_GATEWAY=sandbox charges no real money; it is not allowed in live mode.")
        if self.outgoing_loopback:
            raise Misconfigured("PORTAL_OUTGOING_LOOPBACK lets merchants' URLs reach this machine; it is not allowed in live mode.")
        if not self.mail_server:
            raise Misconfigured("MAIL_SERVER must be set in live mode: people sign in by email.")
        if self.is_sqlite and not self.allow_sqlite:
            raise Misconfigured("DATABASE_URL must be PostgreSQL in live mode (or set PORTAL_ALLOW_SQLITE=1 for one machine).")
        return self


def _providers(get: Callable[[str], str]) -> tuple[OidcProvider, ...]:
    try:
        return oidc_settings.read(get)
    except ValueError as wrong:
        raise Misconfigured(str(wrong)) from wrong


def _vies_url(text: str, mode: str) -> str:
    """Return the URL of VIES. Unset: the European Commission's in live mode, none in test mode, where VAT IDs are made up. `off`: none."""
    if text == "off" or (not text and mode == "test"):
        return ""
    url = text or VIES
    origin = "/".join(url.split("/")[:3])
    return web_url("PORTAL_VIES_URL", origin) + url[len(origin) :].rstrip("/")


def _proxies(text: str) -> TrustedProxies:
    try:
        return TrustedProxies.parse(text)
    except ValueError as wrong:
        raise Misconfigured(f"PORTAL_TRUSTED_PROXIES: {wrong}.") from wrong


def _operator_networks(text: str) -> tuple[Network, ...]:
    try:
        return operator_networks(text)
    except ValueError as wrong:
        raise Misconfigured(f"PORTAL_OPERATOR_NETWORKS: {wrong}.") from wrong
