"""Makes the document of a statement from its row."""

from __future__ import annotations

from billing.documents.statements import StatementDocument
from billing.model.business_profile import BusinessProfile
from billing.model.statements import Statement


def document_of(statement: Statement, profile: BusinessProfile, *, is_test: bool, outcome: tuple[str, ...] = ()) -> StatementDocument:
    """`outcome`: what follows; only for the customer whose contract it is."""
    return StatementDocument(
        number=statement.number,
        language=statement.language,
        zone=statement.zone,
        received_at=statement.received_at,
        declared=statement.declared,
        name=statement.name,
        email=statement.email,
        contract=statement.contract,
        is_for_cause=statement.is_for_cause,
        reason=statement.reason,
        wanted_at=statement.wanted_at,
        sha256=statement.sha256,
        seller=profile.seller,
        country=profile.country,
        accent=profile.accent,
        is_test=is_test,
        outcome=outcome,
        kind=statement.kind,
    )
