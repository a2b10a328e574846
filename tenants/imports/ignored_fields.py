"""Finds fields of a line that are not imported, for the report of the import."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from tenants.imports import catalogue_shapes, payment_shapes, shapes, tax_shapes

MODELS: dict[str, type[BaseModel]] = {
    "customer": shapes.CustomerRecord,
    "payment_method": shapes.PaymentMethodRecord,
    "license_key": shapes.LicenseKeyRecord,
    "license_key_instance": shapes.ActivationRecord,
    "addon": catalogue_shapes.AddonRecord,
    "product": catalogue_shapes.ProductRecord,
    "collection": catalogue_shapes.CollectionRecord,
    "product_collection": catalogue_shapes.CollectionRecord,
    "subscription": payment_shapes.SubscriptionRecord,
    "payment": payment_shapes.PaymentRecord,
    "refund": payment_shapes.RefundRecord,
    tax_shapes.KIND: tax_shapes.TaxSettingsRecord,
}
MAX_LENGTH = 60  # characters of a name in the report


def ignored(kind: str, data: Any) -> set[str]:
    """Return the paths of the ignored fields, such as `billing.planet`, without list positions."""
    model = MODELS.get(kind)
    return _of(model, data, "") if model is not None and isinstance(data, dict) else set()


def outside(line: dict[str, Any]) -> set[str]:
    """Return the ignored fields of the line outside `data`."""
    return {str(name)[:MAX_LENGTH] for name in line if name not in ("type", "data")}


def _of(model: type[BaseModel], data: dict[str, Any], path: str) -> set[str]:
    known = {}
    for name, field in model.model_fields.items():
        for key in (name, field.alias):
            if isinstance(key, str):
                known[key] = field.annotation
        choices = getattr(field.validation_alias, "choices", [field.validation_alias])
        known |= {choice: field.annotation for choice in choices if isinstance(choice, str)}
    out = set()
    for name, value in data.items():
        here = f"{path}{str(name)[:MAX_LENGTH]}"
        if name not in known:
            out.add(here)
            continue
        inner = _model(known[name])
        for item in (value if isinstance(value, list) else [value]) if inner is not None else []:
            if isinstance(item, dict):
                out |= _of(inner, item, f"{here}.")  # type: ignore[arg-type]
    return out


def _model(kind: Any) -> type[BaseModel] | None:
    """Return the model inside an optional or list type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in (Annotated, Union, UnionType, list):
        return next((found for item in get_args(kind) if (found := _model(item)) is not None), None)
    return None
