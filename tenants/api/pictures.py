"""Pictures of products, add-ons and collections: the answer names an address to upload to, and that address needs no key."""

from __future__ import annotations

from flask import Response, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer

from billing.commands.pictures import announce_picture, picture_of, upload_picture
from core.bounds import takes_upload
from core.errors import NotFound
from core.logo import MAX_BYTES
from core.scope import system
from core.web import db, external, house
from tenants.api.door import bp, caller, without_key
from tenants.api.reading import Query, query
from tenants.api.saying import says
from tenants.api.shapes import Shape, one

HOUR = 3600  # how long an upload address lasts


class ImageQuery(Query):
    force_update: bool = False


class ImageShape(Shape):
    """`url`: PUT the picture's bytes there (PNG, JPEG, WebP or GIF, 2 MB) within the hour."""

    image_id: str
    url: str


@bp.put("/products/<product_id>/images", endpoint="product_image")
@says(ImageShape, asks=ImageQuery)
def of_product(product_id: str) -> ResponseReturnValue:
    """The product shows it as soon as it is uploaded, if force_update; else when its image_id is set."""
    return _announce(product_id, query(ImageQuery).force_update)


@bp.put("/product-collections/<collection_id>/images", endpoint="collection_image")
@says(ImageShape, asks=ImageQuery)
def of_collection(collection_id: str) -> ResponseReturnValue:
    return _announce(collection_id, query(ImageQuery).force_update)


@bp.put("/addons/<addon_id>/images", endpoint="addon_image")
@says(ImageShape)
def of_addon(addon_id: str) -> ResponseReturnValue:
    return _announce(addon_id, False)


@bp.put("/uploads/<token>", endpoint="upload")
@takes_upload(MAX_BYTES + 1)
@without_key
@says(form="nothing", status=204, refuses=(413, 422))
def upload(token: str) -> ResponseReturnValue:
    """The bytes of a picture. It is decoded and encoded anew, and fitted into a square."""
    try:
        business_id, picture_id = _signer().loads(token, max_age=HOUR)
    except BadSignature:
        raise NotFound() from None
    with house().database.open(system(business_id), write=True) as writing:
        upload_picture(writing, picture_id, request.get_data())
    return "", 204


@bp.get("/images/<business_id>/<image_id>.png", endpoint="image")
@without_key
@says(form="png")
def show(business_id: str, image_id: str) -> Response:
    with house().database.open(system(business_id)) as reading:
        answer = Response(picture_of(reading, image_id), mimetype="image/png")
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


def _announce(noun_id: str, use: bool) -> ResponseReturnValue:
    picture = announce_picture(db(), caller().business_id, noun_id, use=use)
    token = _signer().dumps([picture.business_id, picture.id])
    return one(ImageShape(image_id=picture.id, url=external(f"/api/uploads/{token}")))


def _signer() -> URLSafeTimedSerializer:
    settings = house().settings
    oldest_first = list(reversed(settings.secret_keys))
    return URLSafeTimedSerializer(oldest_first, salt=f"picture upload, {settings.mode}")
