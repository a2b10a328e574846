"""Turn a business's brand settings into CSS tokens with enough contrast, whatever color was chosen.

    stored  {"accent": "#5a2e14", "radius": 2, "font": "serif"}      (invalid values become the default)
    tokens  {"brand": "#5a2e14", "on_brand": "#ffffff", "edge_light": …, "edge_dark": …, "link_light": …, "link_dark": …,
             "radius": 2, "font": "serif", "contrast": {"words": 11.4, "link_light": 10.5, "link_dark": 10.2}}

No text from a business is copied into a page: colors are parsed as six hex digits and written from numbers, and the
typeface is a key of a fixed list. A brand cannot change the colors of the page, its text, states and focus.
"""

from __future__ import annotations

import colorsys
import re
from functools import lru_cache
from typing import Any

from core.errors import N_, Invalid

Color = tuple[int, int, int]

DEFAULT_ACCENT = "#2340a0"
DEFAULT_RADIUS = 4
RADII = (2, 4, 12)
SCHEMES = ("system", "light", "dark")  # color schemes; `system` follows the reader's setting
WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
INK: Color = (0x18, 0x21, 0x1C)
GROUNDS: dict[str, tuple[Color, ...]] = {  # paper, slip, sunk of static/portal.css
    "light": ((0xF3, 0xF6, 0xF0), (255, 255, 255), (0xE7, 0xEC, 0xE2)),
    "dark": ((0x10, 0x15, 0x12), (0x1A, 0x21, 0x1D), (0x0A, 0x0E, 0x0C)),
}
FONTS: dict[str, str] = {
    "system": 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
    "humanist": '"Gill Sans", "Gill Sans MT", Calibri, "Trebuchet MS", Carlito, sans-serif',
    "geometric": 'Avenir, "Avenir Next", Montserrat, Corbel, "URW Gothic", sans-serif',
    "rounded": 'ui-rounded, "Hiragino Maru Gothic ProN", Quicksand, Comfortaa, Manjari, sans-serif',
    "serif": '"Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, Georgia, serif',
    "slab": 'Rockwell, "Rockwell Nova", "Roboto Slab", "DejaVu Serif", Georgia, serif',
}
_LOGO = re.compile(r"logo-[0-9a-f]{32}\Z", re.ASCII)
_SIX_DIGITS = re.compile(r"#?([0-9a-fA-F]{6})\Z", re.ASCII)


def parse_color(value: object) -> Color | None:
    """Parse `#rrggbb` or `rrggbb` into three numbers; None for anything else."""
    found = _SIX_DIGITS.match(value) if isinstance(value, str) else None
    return (int(found[1][0:2], 16), int(found[1][2:4], 16), int(found[1][4:6], 16)) if found else None


def to_hex(color: Color) -> str:
    """Format three numbers as `#rrggbb`. Every color in a page comes from here."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def luminance(color: Color) -> float:
    """WCAG relative luminance, 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: Color, b: Color) -> float:
    """WCAG contrast ratio, 1 to 21."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def text_color_on(accent: Color) -> Color:
    """Return white or the ink color, whichever has more contrast on the accent; black where neither reaches 4.5."""
    best = max((WHITE, INK), key=lambda words: contrast(words, accent))
    return best if contrast(best, accent) >= 4.5 else BLACK


def readable(accent: Color, scheme: str, ratio: float) -> Color:
    """Change the accent's lightness until its contrast is at least `ratio` on every background of the scheme."""
    grounds = GROUNDS[scheme]
    if _worst(accent, grounds) >= ratio:
        return accent
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in accent))
    near, far = lightness, (0.0 if scheme == "light" else 1.0)
    for _ in range(24):  # bisection; contrast rises strictly on the way to `far`
        middle = (near + far) / 2
        if _worst(_from_hls(hue, middle, saturation), grounds) >= ratio:
            far = middle
        else:
            near = middle
    return _from_hls(hue, far, saturation)


def brand_tokens(stored: object) -> dict[str, Any]:
    """Return the tokens (see the module docstring) for stored settings: a dict of any shape, or None. Never raises."""
    accent, radius, font = _chosen(stored)
    tokens: dict[str, Any] = {
        "brand": to_hex(accent),
        "on_brand": to_hex(text_color_on(accent)),
        "radius": radius,
        "font": font,
        "contrast": {"words": round(contrast(text_color_on(accent), accent), 1)},
    }
    for scheme in GROUNDS:
        link = readable(accent, scheme, 4.5)
        tokens[f"link_{scheme}"] = to_hex(link)
        tokens[f"edge_{scheme}"] = to_hex(readable(accent, scheme, 3.0))
        tokens["contrast"][f"link_{scheme}"] = round(_worst(link, GROUNDS[scheme]), 1)
    return tokens


def brand_css(stored: object) -> str:
    """Return the CSS rule for `<style nonce>` of a business's page. It is unlayered, so it overrides the layers of portal.css."""
    return _css(*_chosen(stored))


def logo_path(business_id: str, stored: object) -> str | None:
    """Return the path of the business's logo, or None without one."""
    id = stored.get("logo") if isinstance(stored, dict) else None
    return f"/logos/{business_id}/{id}.png" if isinstance(id, str) and _LOGO.match(id) else None


def scheme_of(stored: object) -> str:
    """Return light, dark, or system (the reader's setting)."""
    scheme = stored.get("mode") if isinstance(stored, dict) else None
    return scheme if isinstance(scheme, str) and scheme in SCHEMES else "system"


def clean_brand(accent: str, radius: str | int, font: str, mode: str = "system") -> dict[str, Any]:
    """Return the dict to store: {"accent", "radius", "font", "mode"}. Raises `Invalid` with a sentence per field."""
    color = parse_color(accent.strip())
    wrong = {}
    if color is None:
        wrong["accent"] = N_("Enter a color as six hex digits, such as #5a2e14.")
    if str(radius) not in {str(item) for item in RADII}:
        wrong["radius"] = N_("Choose 2, 4 or 12 pixels.")
    if font not in FONTS:
        wrong["font"] = N_("Choose a typeface from the list.")
    if mode not in SCHEMES:
        wrong["mode"] = N_("Choose light, dark, or the reader's own setting.")
    if wrong or color is None:
        raise Invalid(fields=wrong)
    return {"accent": to_hex(color), "radius": int(radius), "font": font, "mode": mode}


@lru_cache(maxsize=1024)
def _css(accent: Color, radius: int, font: str) -> str:
    token = brand_tokens({"accent": to_hex(accent), "radius": radius, "font": font})
    return (
        f":root{{--brand:{token['brand']};--on-brand:{token['on_brand']};"
        f"--brand-edge:light-dark({token['edge_light']},{token['edge_dark']});"
        f"--link:light-dark({token['link_light']},{token['link_dark']});"
        f"--radius:{radius}px;--font:{FONTS[font]}}}"
    )


def _chosen(stored: object) -> tuple[Color, int, str]:
    """Return (accent, radius, font), with the default for each that is missing or invalid."""
    chosen = stored if isinstance(stored, dict) else {}
    accent = parse_color(chosen.get("accent")) or parse_color(DEFAULT_ACCENT) or BLACK
    radius, font = chosen.get("radius"), chosen.get("font")
    if not isinstance(radius, int) or isinstance(radius, bool) or radius not in RADII:
        radius = DEFAULT_RADIUS
    return accent, radius, font if isinstance(font, str) and font in FONTS else "system"


def _worst(color: Color, grounds: tuple[Color, ...]) -> float:
    return min(contrast(color, ground) for ground in grounds)


def _from_hls(hue: float, lightness: float, saturation: float) -> Color:
    red, green, blue = (round(part * 255) for part in colorsys.hls_to_rgb(hue, lightness, saturation))
    return red, green, blue


def clean_logo(raw: bytes) -> bytes:
    """See `core.logo.clean_logo`. Imported here, because Pillow is slow to import and rarely needed."""
    from core.logo import clean_logo as clean

    return clean(raw)
