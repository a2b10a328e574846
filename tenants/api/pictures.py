"""Images of products, add-ons and collections. The API returns an upload URL that needs no API key."""

from __future__ import annotations

from flask import Response, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer

from billing.catalogue.pictures import announce_picture, picture_of, upload_picture
from core.errors import NotFound
from core.links import external
from core.logo import MAX_BYTES
from core.request_context import db, services
from core.request_limits import takes_upload
from core.scope import system
from tenants.api.authentication import bp, caller, without_key
from tenants.api.request_parsing import Query, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Shape, json_response

UPLOAD_SECONDS = 3600  # how long an upload URL is valid


class ImageQuery(Query):
    force_update: bool = False


class ImageShape(Shape):
    """Upload the image with `PUT` to `url` within one hour: PNG, JPEG, WebP or GIF, at most 2 MB."""

    image_id: str
    url: str


@bp.put("/products/<product_id>/images", endpoint="product_image")
@route_spec(ImageShape, query=ImageQuery)
def of_product(product_id: str) -> ResponseReturnValue:
    """Create an upload URL for an image of a product.

    With `force_update` the product shows the image after the upload. Otherwise set `image_id` on the product.
    """
    return _create_upload(product_id, query(ImageQuery).force_update)


@bp.put("/product-collections/<collection_id>/images", endpoint="collection_image")
@route_spec(ImageShape, query=ImageQuery)
def of_collection(collection_id: str) -> ResponseReturnValue:
    """Create an upload URL for an image of a product collection. `force_update` works as for products."""
    return _create_upload(collection_id, query(ImageQuery).force_update)


@bp.put("/addons/<addon_id>/images", endpoint="addon_image")
@route_spec(ImageShape)
def of_addon(addon_id: str) -> ResponseReturnValue:
    """Create an upload URL for an image of an add-on. Set `image_id` on the add-on to show it."""
    return _create_upload(addon_id, False)


@bp.put("/uploads/<token>", endpoint="upload")
@takes_upload(MAX_BYTES + 1)
@without_key
@route_spec(form="empty", status=204, errors=(413, 422))
def upload(token: str) -> ResponseReturnValue:
    """Upload the bytes of an image to an upload URL. The image is re-encoded and fitted into a square."""
    try:
        business_id, picture_id = _signer().loads(token, max_age=UPLOAD_SECONDS)
    except BadSignature:
        raise NotFound() from None
    with services().database.open(system(business_id), write=True) as writing:
        upload_picture(writing, picture_id, request.get_data())
    return "", 204


@bp.get("/images/<business_id>/<image_id>.png", endpoint="image")
@without_key
@route_spec(form="png")
def show(business_id: str, image_id: str) -> Response:
    """Return an image as PNG. No API key is needed."""
    with services().database.open(system(business_id)) as reading:
        answer = Response(picture_of(reading, image_id), mimetype="image/png")
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


def _create_upload(noun_id: str, use: bool) -> ResponseReturnValue:
    picture = announce_picture(db(), caller().business_id, noun_id, use=use)
    token = _signer().dumps([picture.business_id, picture.id])
    return json_response(ImageShape(image_id=picture.id, url=external(f"/api/uploads/{token}")))


def _signer() -> URLSafeTimedSerializer:
    settings = services().settings
    oldest_first = list(reversed(settings.secret_keys))
    return URLSafeTimedSerializer(oldest_first, salt=f"picture upload, {settings.mode}")
