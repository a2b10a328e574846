"""Brands: text is readable with any accent, and invalid values reach no page."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.brand import BLACK, FONTS, GROUNDS, INK, WHITE, brand_css, brand_tokens, clean_logo, contrast, parse_color, text_color_on
from core.errors import Invalid

colours = st.tuples(*[st.integers(0, 255)] * 3)
RULE = re.compile(
    r":root\{--brand:#[0-9a-f]{6};--on-brand:#[0-9a-f]{6};--brand-edge:light-dark\(#[0-9a-f]{6},#[0-9a-f]{6}\);"
    r"--link:light-dark\(#[0-9a-f]{6},#[0-9a-f]{6}\);--radius:(2|4|12)px;--font:[A-Za-z0-9 ,\"-]+\}"
)


@given(colours)
def test_every_accent_gives_readable_tokens(accent):
    token = brand_tokens({"accent": "#{:02x}{:02x}{:02x}".format(*accent)})
    assert contrast(parse_color(token["on_brand"]), accent) >= 4.5
    for scheme, grounds in GROUNDS.items():
        for ground in grounds:
            assert contrast(parse_color(token[f"link_{scheme}"]), ground) >= 4.5
            assert contrast(parse_color(token[f"edge_{scheme}"]), ground) >= 3


@given(colours)
def test_text_on_the_accent_is_white_ink_or_black(accent):
    words = text_color_on(accent)
    if words == BLACK:
        assert contrast(WHITE, accent) < 4.5 and contrast(INK, accent) < 4.5
    else:
        assert words in (WHITE, INK)


@given(
    st.one_of(
        st.none(),
        st.text(),
        st.dictionaries(
            st.sampled_from(["accent", "radius", "font"]), st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text()))
        ),
    )
)
def test_invalid_stored_brands_fall_back_to_valid_css(stored):
    assert RULE.fullmatch(brand_css(stored))


@pytest.mark.parametrize(
    "hostile",
    [
        "#fff;}body{display:none",
        "</style><script>",
        "red",
        "#12345",
        "#1234567",
        "#12345g",
        "\u0661\u0662\u0663\u0664\u0665\u0666",
        "#123456\n",
        None,
        7,
    ],
)
def test_hostile_accents_fall_to_the_default(hostile):
    assert brand_tokens({"accent": hostile})["brand"] == "#2340a0"


def test_hostile_radius_and_font_fall_to_the_default():
    token = brand_tokens({"radius": True, "font": "x;}"})
    assert (token["radius"], token["font"]) == (4, "system")
    assert brand_tokens({"radius": 12, "font": "serif"})["font"] in FONTS


def test_contrast_of_the_two_sample_brands():
    assert brand_tokens({"accent": "#5a2e14"})["contrast"]["words"] == 11.4
    birch = brand_tokens({"accent": "#f4d63a"})
    assert (birch["contrast"]["words"], birch["on_brand"], birch["link_dark"]) == (11.4, "#18211c", "#f4d63a")


def picture(size=(400, 100), kind="PNG", **options):
    out = io.BytesIO()
    Image.new("RGB", size, "#5a2e14").save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_logo_is_reencoded_as_a_small_png(kind):
    cleaned = clean_logo(picture(kind=kind))
    with Image.open(io.BytesIO(cleaned)) as logo:
        assert (logo.format, logo.size, logo.mode) == ("PNG", (256, 256), "RGBA")


def test_metadata_of_a_logo_is_removed():
    assert b"<script>" not in clean_logo(picture() + b"<script>alert(1)</script>")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a",
        picture()[:60],
        picture((4097, 1)),
        picture(kind="BMP"),
        b"\0" * (2 * 1024 * 1024 + 1),
    ],
)
def test_invalid_logos_are_refused_with_a_sentence(raw):
    with pytest.raises(Invalid) as refused:
        clean_logo(raw)
    assert "logo" in refused.value.fields
