"""Brand: readable whatever was chosen, and nothing hostile gets through."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.brand import BLACK, FONTS, GROUNDS, INK, WHITE, brand_css, brand_tokens, clean_logo, contrast, parse_colour, words_on
from core.errors import Invalid

colours = st.tuples(*[st.integers(0, 255)] * 3)
RULE = re.compile(
    r":root\{--brand:#[0-9a-f]{6};--on-brand:#[0-9a-f]{6};--brand-edge:light-dark\(#[0-9a-f]{6},#[0-9a-f]{6}\);"
    r"--link:light-dark\(#[0-9a-f]{6},#[0-9a-f]{6}\);--radius:(2|4|12)px;--font:[A-Za-z0-9 ,\"-]+\}"
)


@given(colours)
def test_every_accent_gives_readable_tokens(accent):
    token = brand_tokens({"accent": "#{:02x}{:02x}{:02x}".format(*accent)})
    assert contrast(parse_colour(token["on_brand"]), accent) >= 4.5
    for scheme, grounds in GROUNDS.items():
        for ground in grounds:
            assert contrast(parse_colour(token[f"link_{scheme}"]), ground) >= 4.5
            assert contrast(parse_colour(token[f"edge_{scheme}"]), ground) >= 3


@given(colours)
def test_words_are_white_or_ink_and_black_only_in_the_narrow_band(accent):
    words = words_on(accent)
    if words == BLACK:
        assert contrast(WHITE, accent) < 4.5 and contrast(INK, accent) < 4.5
    else:
        assert words in (WHITE, INK)


@given(st.one_of(st.none(), st.text(), st.dictionaries(st.sampled_from(["accent", "radius", "font"]),
                                                      st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text())))))
def test_whatever_is_stored_the_rule_is_ours(stored):
    assert RULE.fullmatch(brand_css(stored))


@pytest.mark.parametrize("hostile", [
    "#fff;}body{display:none", "</style><script>", "red", "#12345", "#1234567", "#12345g", "\u0661\u0662\u0663\u0664\u0665\u0666",
    "#123456\n", None, 7,
])
def test_hostile_accents_fall_to_the_default(hostile):
    assert brand_tokens({"accent": hostile})["brand"] == "#2340a0"


def test_hostile_radius_and_font_fall_to_the_default():
    token = brand_tokens({"radius": True, "font": "x;}"})
    assert (token["radius"], token["font"]) == (4, "system")
    assert brand_tokens({"radius": 12, "font": "serif"})["font"] in FONTS


def test_figures_of_the_two_sample_brands():
    assert brand_tokens({"accent": "#5a2e14"})["contrast"]["words"] == 11.4
    birch = brand_tokens({"accent": "#f4d63a"})
    assert (birch["contrast"]["words"], birch["on_brand"], birch["link_dark"]) == (11.4, "#18211c", "#f4d63a")


def picture(size=(400, 100), kind="PNG", **options):
    out = io.BytesIO()
    Image.new("RGB", size, "#5a2e14").save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_logo_becomes_our_own_small_png(kind):
    cleaned = clean_logo(picture(kind=kind))
    with Image.open(io.BytesIO(cleaned)) as logo:
        assert (logo.format, logo.size, logo.mode) == ("PNG", (256, 256), "RGBA")


def test_what_was_hidden_in_a_logo_is_gone():
    assert b"<script>" not in clean_logo(picture() + b"<script>alert(1)</script>")


@pytest.mark.parametrize("raw", [
    b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", picture()[:60], picture((4097, 1)), picture(kind="BMP"),
    b"\0" * (2 * 1024 * 1024 + 1),
])
def test_what_is_no_logo_is_refused_in_words(raw):
    with pytest.raises(Invalid) as refused:
        clean_logo(raw)
    assert "logo" in refused.value.fields
