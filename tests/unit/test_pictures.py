"""Only the pixels of an uploaded picture are kept: no profile, text, hidden colors or further frames."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from core.logo import SIDE, clean_logo

MARK = b"SECRET-OF-THE-SENDER"


def picture(mode: str = "RGBA", size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert(mode)


def saved(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + MARK * 1000


def texts() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", MARK.decode())
    info.add_itxt("XML:com.adobe.xmp", MARK.decode(), "en", "x", zip=False)
    return info


def exif() -> bytes:
    item = Image.Exif()
    item[0x010E] = MARK.decode()
    return item.tobytes()


def trailing() -> bytes:
    return saved(picture(), "PNG") + MARK


def private_chunk() -> bytes:
    raw, body = saved(picture(), "PNG"), MARK * 10
    chunk = struct.pack(">I", len(body)) + b"prVt" + body + struct.pack(">I", zlib.crc32(b"prVt" + body))
    return raw[:33] + chunk + raw[33:]


UPLOADS: dict[str, Callable[[], bytes]] = {
    "square PNG with a profile": lambda: saved(picture(), "PNG", icc_profile=icc()),
    "wide PNG with a profile": lambda: saved(picture(size=(512, 100)), "PNG", icc_profile=icc()),
    "small PNG with a profile": lambda: saved(picture(size=(16, 16)), "PNG", icc_profile=icc()),
    "square JPEG with a profile": lambda: saved(picture("RGB"), "JPEG", icc_profile=icc()),
    "square WebP with a profile": lambda: saved(picture(), "WEBP", icc_profile=icc(), xmp=MARK),
    "PNG with texts": lambda: saved(picture(), "PNG", pnginfo=texts()),
    "PNG with Exif": lambda: saved(picture(), "PNG", exif=exif()),
    "JPEG with Exif and a comment": lambda: saved(picture("RGB"), "JPEG", exif=exif(), comment=MARK),
    "GIF with a comment": lambda: saved(picture("P"), "GIF", comment=MARK),
    "PNG with bytes after its end": trailing,
    "PNG with a chunk of its own": private_chunk,
    "PNG with resolution, gamma and palette": lambda: saved(picture("P"), "PNG", dpi=(123, 321), transparency=3),
    "animated PNG": lambda: saved(picture(), "PNG", save_all=True, append_images=[picture(size=(SIDE, SIDE)).rotate(90)]),
    "animated GIF": lambda: saved(picture("P"), "GIF", save_all=True, append_images=[picture("P").rotate(90)], comment=MARK),
    "animated WebP": lambda: saved(picture(), "WEBP", save_all=True, append_images=[picture().rotate(90)]),
}


def chunks(png: bytes) -> list[bytes]:
    names, at = [], 8
    while at < len(png):
        length = struct.unpack(">I", png[at : at + 4])[0]
        names.append(png[at + 4 : at + 8])
        at += length + 12
    return names


@pytest.mark.parametrize("name", sorted(UPLOADS))
def test_only_pixels_are_kept(name: str) -> None:
    raw = UPLOADS[name]()
    clean = clean_logo(raw)
    assert set(chunks(clean)) == {b"IHDR", b"IDAT", b"IEND"} and MARK not in clean
    with Image.open(io.BytesIO(clean)) as found:
        assert found.size == (SIDE, SIDE) and found.mode == "RGBA" and found.info == {} and getattr(found, "n_frames", 1) == 1


def test_transparent_pixels_hide_no_colors() -> None:
    hidden = Image.new("RGBA", (SIDE, SIDE), (10, 200, 30, 0))
    hidden.paste((255, 0, 0, 255), (0, 0, 10, 10))
    hidden.paste((0, 0, 255, 1), (20, 20, 30, 30))
    with Image.open(io.BytesIO(clean_logo(saved(hidden, "PNG")))) as found:
        assert found.getpixel((100, 100)) == (0, 0, 0, 0) and found.getpixel((5, 5)) == (255, 0, 0, 255)
        assert found.getpixel((25, 25)) == (0, 0, 255, 1)


def test_the_same_pixels_make_the_same_bytes() -> None:
    plain, dressed = saved(picture(), "PNG"), saved(picture(), "PNG", icc_profile=icc(), pnginfo=texts(), exif=exif())
    assert clean_logo(plain) == clean_logo(dressed)
