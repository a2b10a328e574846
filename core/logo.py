"""Convert an uploaded image to a small square PNG. Only the pixels of the original are kept."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import N_, Invalid

MAX_BYTES = 2 * 1024 * 1024
MAX_SIDE = 4096
SIDE = 256
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # raster only, because an SVG can contain scripts


def clean_logo(raw: bytes) -> bytes:
    """Return image bytes (at most 2 MB, 4096 px per side) as a PNG of 256 × 256 px, fitted and padded with transparency.

    Raises `Invalid` with `fields={"logo": …}` for anything else, including decompression bombs and truncated files.
    """
    if len(raw) > MAX_BYTES:
        raise _refused(N_("The logo is larger than 2 MB."))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw), formats=FORMATS) as picture:
                if max(picture.size) > MAX_SIDE:  # read from the header, before anything is decoded
                    raise _refused(N_("The logo is larger than 4096 by 4096 pixels."))
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except Invalid:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, ValueError, SyntaxError) as why:
        raise _refused(N_("This file cannot be read as an image. Use PNG, JPEG, WebP or GIF.")) from why
    square = ImageOps.pad(upright, (SIDE, SIDE), Image.Resampling.LANCZOS, color=(0, 0, 0, 0))
    # copy to a new image: Pillow passes profiles, texts and comments on to derived images, and `pad` returns a square image
    # unchanged. Colors under full transparency are invisible and are dropped.
    seen = square.getchannel("A").point(lambda alpha: 255 if alpha else 0)
    bare = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    bare.paste(square, (0, 0), seen)
    out = io.BytesIO()
    bare.save(out, "PNG", optimize=True)
    return out.getvalue()


def _refused(sentence: str) -> Invalid:
    return Invalid("INVALID_LOGO", sentence, fields={"logo": sentence})
