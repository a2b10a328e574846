"""Confusable addresses are different people and each is emailed exactly, over a real SMTP server with and without SMTPUTF8."""

from __future__ import annotations

import email
import socket
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from billing.model.email_address import LOOKS_LIKE, TOO_LONG, clean_address, fold_address, parse_address
from core.domain_names import BadDomain, ascii_address, ascii_domain, ascii_url, unicode_domain
from core.errors import Invalid
from core.mail import Attachment, EmailMessage, Mailer, NotOffered
from core.mime import LONGEST_LINE
from core.settings import Misconfigured, Settings
from tests.engines import Sqlite

DEVIATIONS = [  # IDNA 2003 maps the left to the right, IDNA 2008 does not (UTS 46 §7)
    ("faß.de", "fass.de"),
    ("straße.example", "strasse.example"),
    ("weiß-blau.example", "weiss-blau.example"),
    ("ß.example", "ss.example"),
    ("groß.faß.de", "gross.fass.de"),
    ("βόλος.example", "βόλοσ.example"),
    ("φως.example", "φωσ.example"),
    ("ς.example", "σ.example"),
    ("σοφός.example", "σοφόσ.example"),
    ("نامه\u200cای.example", "نامهای.example"),
    ("ශ්\u200dරී.example", "ශ්රී.example"),
    ("क्\u200dष.example", "क्ष.example"),
    ("क्\u200cष.example", "क्ष.example"),
    ("क्\u200cष.example", "क्\u200dष.example"),
    ("FAẞ.de", "fass.de"),
    ("ക്\u200dഷ.example", "ക്ഷ.example"),
]


def confusable_locals() -> list[tuple[str, str]]:
    """Pairs that NFKC or case folding would merge and NFC keeps apart."""
    pairs = [
        ("groß", "gross"),
        ("ſam", "sam"),
        ("ﬃce", "ffice"),
        ("oﬃce", "office"),
        ("Josﬁ", "josfi"),
        ("İvo", "i̇vo"),
        ("ıvo", "ivo"),
        ("ĳs", "ijs"),
        ("ŉ", "ʼn"),
        ("Σοφία", "σοφία"),
        ("ΆΝΝΑ", "άννα"),
        ("H\u0331a", "h\u0331a"),
        ("É", "é"),
    ]
    for code in range(0x80, 0x20000):
        char = chr(code)
        if unicodedata.category(char)[0] not in "LN" or char != unicodedata.normalize("NFC", char):
            continue
        for other in (unicodedata.normalize("NFKC", char), char.casefold()):
            if unicodedata.normalize("NFC", other) != char and unicodedata.category(other[0])[0] in "LN":
                pairs.append((f"a{char}b", f"a{other}b"))
    return list(dict.fromkeys(pairs))


def accepted(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of which both are valid addresses."""
    out = []
    for item, other in pairs:
        try:
            parse_address(item), parse_address(other)
        except Invalid:
            continue
        out.append((item, other))
    return out


LOCALS = accepted([(f"{item}@marlow.example", f"{other}@marlow.example") for item, other in confusable_locals()])
DOMAINS = accepted([(f"anna@{item}", f"anna@{other}") for item, other in DEVIATIONS])
EVERY = max(1, len(LOCALS) // 240)
CORPUS = DOMAINS + LOCALS[:12] + LOCALS[12::EVERY]


@dataclass
class Kept:
    """The messages that an SMTP server received, each as (envelope recipient, MAIL options, bytes)."""

    got: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got += [(to, envelope.mail_options, envelope.original_content) for to in envelope.rcpt_tos]
        return "250 taken"


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[bool], Kept]]:
    running: list[Controller] = []

    def start(smtputf8: bool) -> Kept:
        kept = Kept()
        with socket.create_server(("127.0.0.1", 0)) as free:
            kept.port = free.getsockname()[1]
        controller = Controller(kept, hostname="127.0.0.1", port=kept.port, enable_SMTPUTF8=smtputf8, data_size_limit=None)
        controller.start()
        running.append(controller)
        return kept

    yield start
    for item in running:
        item.stop()


@pytest.fixture(scope="module")
def mailer(sqlite: Sqlite) -> Iterator[Callable[..., Mailer]]:
    from core.db import Database

    made: list[tuple[Database, Callable[[], None]]] = []

    def make(kept: Kept, **more: Any) -> Mailer:
        urls, drop = sqlite.fresh()
        settings = Settings(**{"mail_server": "127.0.0.1", "mail_port": kept.port, "base_url": "https://portal.example", **urls, **more})
        made.append((Database(settings), drop))
        return Mailer(settings, made[-1][0])

    yield make
    for database, drop in made:
        database.dispose()
        drop()


def header(raw: bytes, name: str) -> str:
    """Return a header's raw value, unfolded."""
    lines = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").decode().split("\r\n")
    return next(line.partition(": ")[2] for line in lines if line.lower().startswith(name.lower() + ":"))


def test_the_corpus_covers_every_kind() -> None:
    assert len(CORPUS) >= 200 and len(DOMAINS) >= 12
    folded = [pair for pair in CORPUS if pair[0].casefold() == pair[1].casefold()]
    compatible = [pair for pair in CORPUS if unicodedata.normalize("NFKC", pair[0]) == unicodedata.normalize("NFKC", pair[1])]
    assert len(folded) > 60 and len(compatible) > 60


@pytest.mark.parametrize("pairs", [CORPUS, LOCALS], ids=["corpus", "all"])
def test_confusable_addresses_are_different_people(pairs: list[tuple[str, str]]) -> None:
    assert not [pair for pair in pairs if fold_address(pair[0]) == fold_address(pair[1])]


def test_confusable_addresses_are_mailed_exactly(serve: Any, mailer: Any) -> None:
    kept = serve(True)
    item = mailer(kept)
    wanted = []
    for number, pair in enumerate(CORPUS):
        for address in pair:
            written = parse_address(address)[0]
            local, _, domain = unicodedata.normalize("NFC", address).rpartition("@")
            item._send_by_smtp(EmailMessage(written, "Hello", "Hello"), f"<{number}@portal.example>")
            wanted.append(f"{local}@{ascii_domain(domain)}")
    assert [to for to, _, _ in kept.got] == wanted
    assert [header(raw, "To") for _, _, raw in kept.got] == wanted
    for to, options, _ in kept.got:
        assert ("SMTPUTF8" in options) == (not to.isascii()) and to.rpartition("@")[2].isascii()


def test_without_smtputf8_domains_are_mailed_exactly_and_the_rest_is_refused(serve: Any, mailer: Any) -> None:
    kept = serve(False)
    item = mailer(kept)
    wanted = []
    for address in [address for pair in CORPUS for address in pair]:
        written = EmailMessage(parse_address(address)[0], "Hello", "Hello")
        if address.rpartition("@")[0].isascii():
            item._send_by_smtp(written, "<1@portal.example>")
            wanted.append(ascii_address(written.to))
        else:
            with pytest.raises(NotOffered):
                item._send_by_smtp(written, "<1@portal.example>")
    assert len(wanted) > 30 and [to for to, _, _ in kept.got] == [header(raw, "To") for _, _, raw in kept.got] == wanted
    assert all(raw.isascii() for _, _, raw in kept.got)


@pytest.mark.parametrize(
    ("typed", "mailed"),
    [
        ("anna@faß.de", "anna@xn--fa-hia.de"),
        ("anna@fass.de", "anna@fass.de"),
        ("anna@FAẞ.de", "anna@xn--fa-hia.de"),
        ("anna@xn--fa-hia.de", "anna@xn--fa-hia.de"),
        ("anna@faß.de".replace("ß", "ß"), "anna@xn--fa-hia.de"),
        ("anna@βόλος.example", "anna@xn--nxasmm1c.example"),
        ("Anna@bücher.example", "Anna@xn--bcher-kva.example"),
        ("anna@ｆass.de", "anna@fass.de"),
        ("anna@bu\u0308cher。example", "anna@xn--bcher-kva.example"),
    ],
)
def test_domains_are_encoded_by_idna_2008(typed: str, mailed: str) -> None:
    address, key = parse_address(typed)
    assert ascii_address(address) == mailed and key == mailed.lower()
    assert parse_address(address) == (address, key)


@pytest.mark.parametrize(
    ("item", "other"),
    [
        ("jose\u0301@marlow.example", "josé@marlow.example"),
        ("Å@marlow.example", "\u212b@marlow.example"),
        ("k@marlow.example", "\u212a@marlow.example"),
        ("가@marlow.example", "\u1100\u1161@marlow.example"),
        ("anna@bu\u0308cher.example", "anna@bücher.example"),
    ],
)
def test_canonically_equivalent_spellings_are_one_mailbox(item: str, other: str) -> None:
    assert fold_address(item) == fold_address(other)


@pytest.mark.parametrize(
    ("item", "other"),
    [
        ("groß@marlow.example", "gross@marlow.example"),
        ("ſam@marlow.example", "sam@marlow.example"),
        ("oﬃce@marlow.example", "office@marlow.example"),
        ("JOSÉ@marlow.example", "josé@marlow.example"),
    ],
)
def test_local_part_is_lowercased_in_ascii_only(item: str, other: str) -> None:
    assert fold_address(item) != fold_address(other)
    assert fold_address("SaM+News@Marlow.example") == "sam+news@marlow.example"


@pytest.mark.parametrize(
    "bad",
    [
        "anna@☕.de",
        "anna@a\u200db.de",
        "anna@xn--0.de",
        "anna@xn--fass-.de",
        "anna@-a.de",
        "a@b@faß.de",
        "anna@.faß.de",
        "=?utf-8?q?anna?=@marlow.example",  # some mail servers decode this
    ],
)
def test_invalid_domains_are_refused(bad: str) -> None:
    with pytest.raises(Invalid) as refused:
        fold_address(bad)
    assert refused.value.fields["email"] == LOOKS_LIKE


def test_length_limits_are_those_of_rfc_5321() -> None:
    label = "x" * 60
    assert fold_address("a" * 64 + "@marlow.example")
    assert fold_address(f"{'a' * 63}@{label}.{label}.{label}.example")  # 254 octets
    for long in ("a" * 65 + "@marlow.example", "é" * 33 + "@marlow.example", f"{'a' * 64}@{label}.{label}.{label}.example"):
        with pytest.raises(Invalid) as refused:
            fold_address(long)
        assert refused.value.fields["email"] == TOO_LONG


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://faß.de/x?a=ß", "https://xn--fa-hia.de/x?a=ß"),
        ("https://u:p@FAß.de:8443/", "https://u:p@xn--fa-hia.de:8443/"),
        ("https://fass.de/", "https://fass.de/"),
        ("/profile", "/profile"),
        ("https://[::1]:5000/", "https://[::1]:5000/"),
        ("mailto:a@b", "mailto:a@b"),
    ],
)
def test_urls_name_their_host_in_ascii(url: str, same: str) -> None:
    assert ascii_url(url) == same


def test_displayed_names_encode_to_the_same_domain() -> None:
    for item, other in DEVIATIONS:
        for name in (item, other):
            assert ascii_domain(unicode_domain(ascii_domain(name))) == ascii_domain(name)
    with pytest.raises(BadDomain):
        ascii_address("nobody")


def test_host_settings_are_stored_in_ascii() -> None:
    settings = Settings.from_env(
        {
            "PORTAL_BASE_URL": "https://faß.example",
            "OIDC_PROVIDERS": "work",
            "OIDC_WORK_ISSUER": "https://id.example",
            "OIDC_WORK_CLIENT_ID": "x",
            "OIDC_WORK_TRUST": "faß.de",
        }
    )
    assert settings.base_url == "https://xn--fa-hia.example" and settings.oidc_providers[0].trust == ("xn--fa-hia.de",)
    assert settings.mail_default_sender == "portal@faß.example"
    with pytest.raises(Misconfigured):
        Settings.from_env({"MAIL_DEFAULT_SENDER": "josé@marlow.example"})


def test_providers_and_apps_use_the_same_encoding_of_domains() -> None:
    from auth.oidc_client.provider_config import ProviderConfig
    from auth.oidc_server.id_tokens import _in_ascii

    google = ProviderConfig("op/google", "Google", "https://accounts.google.com", "x", "", "/login/with/google", trust_hosted_domain=True)
    assert google.vouches_for(fold_address("anna@faß.de"), "faß.de") and google.vouches_for(fold_address("anna@faß.de"), "xn--fa-hia.de")
    assert not google.vouches_for(fold_address("anna@faß.de"), "fass.de") and not google.vouches_for(fold_address("anna@fass.de"), "faß.de")
    assert not google.vouches_for(fold_address("anna@fass.de"), "☕.de")
    assert _in_ascii("Anna@faß.de") == "Anna@xn--fa-hia.de"


# --- what the bytes look like

EURO = "Das kostet 5 €.\n.\nFrom here on\n" + "€" * 700 + "\n" + "x" * 3000 + "\n"


def test_bodies_are_quoted_printable_and_no_line_is_long(serve: Any, mailer: Any) -> None:
    kept = serve(True)
    attachment = Attachment("INV-1.pdf", "application/pdf", bytes(range(256)) * 40)
    written = EmailMessage("josé@faß.de", "Grüße: 5 €, " + "Köln " * 80, EURO, f"<p>{EURO}</p>", "help@faß.de", (attachment,))
    mailer(kept, mail_default_sender="Käse & Portal <portal@faß.de>").send(written, "evt_1:hello")
    ((to, _, raw),) = kept.got
    assert to == "josé@xn--fa-hia.de" and b"\n" not in raw.replace(b"\r\n", b"")
    assert max(len(line) for line in raw.split(b"\r\n")) <= LONGEST_LINE
    assert raw.replace(to.encode(), b"").isascii(), "nothing but the mailbox itself is 8-bit"
    message = email.message_from_bytes(raw, policy=policy.default)
    bodies = [part for part in message.walk() if part.get_content_maintype() == "text"]
    assert [part["Content-Transfer-Encoding"] for part in bodies] == ["quoted-printable"] * 2
    texts = [part.get_content().replace("\r\n", "\n") for part in bodies]
    assert texts[0] == EURO and texts[1].rstrip("\n") == f"<p>{EURO}</p>"
    assert next(message.iter_attachments()).get_content() == attachment.data
    assert message["Subject"].strip() == written.subject.strip() and message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None and message["Message-ID"].endswith("@portal.example>")
    assert header(raw, "From").endswith("<portal@xn--fa-hia.de>") and message["From"].addresses[0].display_name == "Käse & Portal"
    assert header(raw, "Reply-To") == "help@xn--fa-hia.de"


@pytest.mark.parametrize("subject", ["=?utf-8?q?Paid?=", "a" * 2000, "word " * 300 + "end", "Ж" * 500, "Plain words", "5 €"])
def test_subjects_arrive_as_written(serve: Any, mailer: Any, subject: str) -> None:
    kept = serve(False)
    mailer(kept).send(EmailMessage("ada@marlow.example", subject, "Hello"), "evt_1:hello")
    raw = kept.got[0][2]
    assert email.message_from_bytes(raw, policy=policy.default)["Subject"] == subject and raw.isascii()


def test_a_long_address_is_not_folded(serve: Any, mailer: Any) -> None:
    kept, label = serve(True), "x" * 60
    for address in (f"{'a' * 62}@{label}.{label}.{label}.example", f"{'é' * 32}@{label}.{label}.{label}.example"):
        mailer(kept).send(EmailMessage(address, "Hello", "Hello"), "evt_1:hello")
        assert kept.got[-1][0] == header(kept.got[-1][2], "To") == address


def test_special_characters_of_a_local_part_are_kept(serve: Any, mailer: Any) -> None:
    kept = serve(False)
    item = mailer(kept)
    for local in ("a!#$%&'*+/=?^_`{|}~b", "o'neil", "a.b", "=a?"):
        item.send(EmailMessage(parse_address(f"{local}@marlow.example")[0], "Hello", "Hello"), f"evt:{local}")
        assert kept.got[-1][0] == header(kept.got[-1][2], "To") == f"{local}@marlow.example"


def test_an_undeliverable_address_does_not_stop_other_recipients(serve: Any, mailer: Any) -> None:
    kept = serve(False)
    item = mailer(kept)
    item.send_each((EmailMessage(to, "Your account changed", "Hello"), f"evt:{to}") for to in ("josé@marlow.example", "ada@marlow.example"))
    assert [to for to, _, _ in kept.got] == ["ada@marlow.example"]
    with pytest.raises(NotOffered):
        item.send_each([(EmailMessage("josé@marlow.example", "Your account changed", "Hello"), "evt:1")])


# --- whether the server takes addresses beyond ASCII


@pytest.mark.parametrize("offered", [True, False])
def test_smtp_extensions_are_learned_and_shared(serve: Any, mailer: Any, offered: bool) -> None:
    kept = serve(offered)
    worker = mailer(kept)
    worker.server.learn()
    page = Mailer(worker.settings, worker.database)  # another process
    page.server._ask = lambda: pytest.fail("the worker wrote it down")  # type: ignore[method-assign]
    assert page.server.offers_smtputf8() is offered
    alone = mailer(kept)
    assert alone.server.offers_smtputf8() is offered, "where no worker asked yet, the process asks"


def test_an_unreachable_server_offers_no_extension(serve: Any, mailer: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    item = mailer(Kept(port=port))
    item.server.learn()
    assert item.server.offers_smtputf8() is False


def test_without_a_server_the_mailbox_accepts_all(mailer: Any) -> None:
    assert mailer(Kept(), mail_server="").server.offers_smtputf8() is True
    assert clean_address("josé@marlow.example") == ("josé@marlow.example", "josé@marlow.example")
