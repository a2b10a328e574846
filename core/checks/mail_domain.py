"""Checks of the sender domain of emails: MX (RFC 5321, RFC 7505), SPF (RFC 7208), DMARC (RFC 7489)."""

from __future__ import annotations

import dns.exception
import dns.resolver

from core.checks import Finding, ok, unknown, wrong
from core.checks.settings import is_public
from core.domain_names import ascii_domain
from core.mime import address_of
from core.settings import Settings

PATIENCE = 4.0  # seconds for each name


class NoAnswer(Exception):
    """DNS cannot be reached, or its answer is invalid."""


def resolver() -> dns.resolver.Resolver | None:
    """Return the resolver of this machine; None without one."""
    try:
        found = dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return None
    found.lifetime = PATIENCE
    return found


def mail_domain(settings: Settings, ask: dns.resolver.Resolver | None) -> list[Finding]:
    domain = ascii_domain(address_of(settings.mail_default_sender).rpartition("@")[2])
    if not is_public(domain):
        todo = "set MAIL_DEFAULT_SENDER to an address at your own domain"
        return [wrong("MAIL_DEFAULT_SENDER", f"{domain} is not a public domain: mail servers refuse it", todo)]
    found = []
    for check in (mx, spf, dmarc):
        try:
            found.append(check(domain, ask))
        except NoAnswer as error:
            found.append(
                unknown(f"{check.__name__.upper()} of {domain}", f"DNS does not answer ({error})", "check it from another machine")
            )
    found.append(
        unknown(
            f"DKIM of {domain}",
            "only the mail server knows its selector",
            "send an email to an account at another provider, and look for dkim=pass in its headers",
        )
    )
    return found


def mx(domain: str, ask: dns.resolver.Resolver | None) -> Finding:
    name = f"MX of {domain}"
    hosts = [str(record.exchange).rstrip(".") for record in _records(ask, domain, "MX")]
    if hosts == [""]:
        return wrong(name, "the domain accepts no email (null MX): replies and bounces cannot be delivered", "publish an MX record")
    if hosts:
        return ok(name, ", ".join(sorted(hosts)))
    if _records(ask, domain, "A") or _records(ask, domain, "AAAA"):
        return ok(name, "none, so email goes to the domain's address record")
    return wrong(name, "none: replies and bounces cannot be delivered, and many servers refuse such senders", "publish an MX record")


def spf(domain: str, ask: dns.resolver.Resolver | None) -> Finding:
    name = f"SPF of {domain}"
    found = [text for text in _texts(ask, domain) if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]
    if not found:
        return wrong(
            name,
            "none: emails are likely to be classified as spam",
            'publish a TXT record that names your mail server, such as "v=spf1 mx -all"',
        )
    if len(found) > 1:
        return wrong(name, f"{len(found)} records: receivers ignore all of them (RFC 7208 section 4.5)", "merge them into one")
    terms = found[0].lower().split()
    if "+all" in terms or "all" in terms:
        return wrong(name, "+all allows every server to send in your name", "end it with -all or ~all")
    if "?all" in terms or not any(term.endswith("all") or term.startswith("redirect=") for term in terms):
        return wrong(name, "it has no rule for other senders", "end it with -all or ~all")
    return ok(name, found[0])


def dmarc(domain: str, ask: dns.resolver.Resolver | None) -> Finding:
    """Check the record of the domain, or of its nearest parent domain with one."""
    name = f"DMARC of {domain}"
    labels = domain.split(".")
    for n in range(len(labels) - 1):
        at = ".".join(labels[n:])
        found = [text for text in _texts(ask, f"_dmarc.{at}") if text.replace(" ", "").lower().startswith("v=dmarc1")]
        if len(found) > 1:
            return wrong(name, f"{len(found)} records at _dmarc.{at}: receivers ignore all of them", "keep one")
        if found:
            tags = dict(part.strip().split("=", 1) for part in found[0].split(";") if "=" in part)
            if tags.get("p", "").strip().lower() not in ("none", "quarantine", "reject"):
                return wrong(name, f"the record at _dmarc.{at} has no policy (p=)", "begin with p=none, then p=quarantine")
            return ok(name, found[0])
    return wrong(
        name,
        "none: large mailbox providers refuse such emails or classify them as spam",
        f'publish a TXT record at _dmarc.{domain}, such as "v=DMARC1; p=none; rua=mailto:you@{domain}"',
    )


def _texts(ask: dns.resolver.Resolver | None, name: str) -> list[str]:
    return [b"".join(record.strings).decode("utf-8", "replace") for record in _records(ask, name, "TXT")]


def _records(ask: dns.resolver.Resolver | None, name: str, kind: str) -> list:  # type: ignore[type-arg]  # dnspython's are untyped
    """Return the records; empty if there are none. Raises NoAnswer."""
    if ask is None:
        raise NoAnswer("this machine has no resolver")
    try:
        return list(ask.resolve(f"{name}.", kind))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise NoAnswer(type(error).__name__) from error
