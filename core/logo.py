"""A picture somebody uploaded becomes our own small PNG: decoded, squared, re-encoded. Nothing of the original but pixels is kept."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import Invalid

MAX_BYTES = 2 * 1024 * 1024
MAX_SIDE = 4096
SIDE = 256
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # raster only: an SVG is a program


def clean_logo(raw: bytes) -> bytes:
    """Image bytes (at most 2 MB, 4096 px a side) → PNG bytes, 256 × 256, the picture fitted inside, transparent around.

    Raises `Invalid` with `fields={"logo": …}` for anything else, decompression bombs and cut-off files included.
    """
    if len(raw) > MAX_BYTES:
        raise _refused("The logo is larger than 2 MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw), formats=FORMATS) as picture:
                if max(picture.size) > MAX_SIDE:  # the header says so; nothing is decoded yet
                    raise _refused("The logo is larger than 4096 pixels a side.")
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except Invalid:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, ValueError, SyntaxError) as why:
        raise _refused("This file is not a picture we can read. PNG, JPEG, WebP and GIF work.") from why
    square = ImageOps.pad(upright, (SIDE, SIDE), Image.Resampling.LANCZOS, color=(0, 0, 0, 0))
    # a picture of our own: Pillow hands a profile, texts and comments on to what it makes of a picture, and `pad` returns a square
    # one as it is. Colors under full transparency are not seen, so they are not kept.
    seen = square.getchannel("A").point(lambda alpha: 255 if alpha else 0)
    bare = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    bare.paste(square, (0, 0), seen)
    out = io.BytesIO()
    bare.save(out, "PNG", optimize=True)
    return out.getvalue()


def _refused(sentence: str) -> Invalid:
    return Invalid("INVALID_LOGO", sentence, fields={"logo": sentence})
