"""Refunds, disputes, and bank debits that end days later."""

from __future__ import annotations

from typing import Any

from tests.harness.stripe_standin import intents, methods, specification
from tests.harness.stripe_standin.world import Account, Object, Problem


def create_refund(account: Account, values: dict[str, Any]) -> Object:
    intent = account.get(values["payment_intent"], "payment_intent", "payment_intent")
    if intent["status"] != "succeeded":
        raise Problem(400, "This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
    charge = account.get(intent["latest_charge"], "charge")
    if charge["disputed"]:
        raise Problem(400, "This charge has been charged back, and cannot be refunded.", code="charge_disputed")
    left = charge["amount"] - charge["amount_refunded"]
    amount = values.get("amount", left)
    if left == 0:
        raise Problem(400, "Charge has already been refunded.", code="charge_already_refunded")
    if amount > left:
        raise Problem(400, "Refund amount is greater than unrefunded amount on charge.", param="amount")
    behavior = account.private[charge["payment_method"]]["behavior"]
    made = account.make("refund", amount=amount, currency=charge["currency"], charge=charge["id"], payment_intent=intent["id"],
                        status="pending" if behavior == "refund_pending" else "succeeded", metadata=values.get("metadata", {}),
                        reason=values.get("reason"), balance_transaction=None, receipt_number=None)  # fmt: skip
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    if made["status"] == "succeeded":
        account.move("refund", made, amount, charge["currency"])
    account.emit("refund.created", made)
    account.emit("charge.refunded", charge)
    return made


def update_refund(account: Account, values: dict[str, Any], refund: str) -> Object:
    found = account.get(refund, "refund")
    found["metadata"] |= values.get("metadata", {})
    return found


def finish_refund(account: Account, refund: str, *, failed: bool) -> Object:
    """A pending refund ends, or one that succeeded fails days later: the money is back on the account's balance."""
    found = account.get(refund, "refund")
    charge = account.get(found["charge"], "charge")
    if failed:
        if found["status"] == "succeeded":
            account.move("refund failed", found, found["amount"], found["currency"])
        found |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
        charge["amount_refunded"] -= found["amount"]
        charge["refunded"] = False
        account.emit("refund.failed", found)
    else:
        found["status"] = "succeeded"
        account.move("refund", found, found["amount"], found["currency"])
    account.emit("refund.updated", found)
    return found


def finish_debit(account: Account, intent: str, *, failed: bool = False) -> Object:
    """The bank answers about a debit that was processing."""
    found = account.get(intent, "payment_intent")
    if found["status"] != "processing":
        raise ValueError(f"it is {found['status']}")
    session = account.objects.get(account.private[intent].get("session", ""))
    if not failed:
        intents.succeed(account, found, account.objects[found["payment_method"]])
    else:
        account.objects[found["latest_charge"]]["status"] = "failed"
        error = methods.decline("insufficient_funds").error
        method = account.objects[found["payment_method"]]
        found |= {"status": "requires_payment_method", "last_payment_error": {**error, "payment_method": method}, "payment_method": None}
        account.emit("payment_intent.payment_failed", found)
    if session is not None:
        session["payment_status"] = "unpaid" if failed else "paid"
        account.emit(f"checkout.session.async_payment_{'failed' if failed else 'succeeded'}", session)
    return found


def open_dispute(account: Account, intent: str, reason: str = "fraudulent", *, inquiry: bool = False) -> Object:
    """The customer's bank takes the money back, or only asks about it."""
    charge = account.get(account.get(intent, "payment_intent")["latest_charge"], "charge")
    charge["disputed"] = not inquiry
    made = account.make(
        "dispute", amount=charge["amount"], currency=charge["currency"], charge=charge["id"], payment_intent=intent, reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
        balance_transactions=[], is_charge_refundable=False, metadata={}, enhanced_eligibility_types=[],
        evidence=_no_evidence(), evidence_details={"due_by": charge["created"] + 7 * 86400, "has_evidence": False, "past_due": False,
                                       "submission_count": 0, "enhanced_eligibility": {}},
    )  # fmt: skip
    account.emit("charge.dispute.created", made)
    if not inquiry:
        _withdraw(account, made)
    return made


def _no_evidence() -> Object:
    fields = specification.document()["components"]["schemas"]["dispute_evidence"]["required"]
    return dict.fromkeys(fields) | {"enhanced_evidence": {}}


def escalate(account: Account, dispute: str) -> None:
    """An inquiry becomes a dispute."""
    found = account.get(dispute, "dispute")
    found["status"] = "needs_response"
    account.get(found["charge"], "charge")["disputed"] = True
    account.emit("charge.dispute.updated", found)
    _withdraw(account, found)


def return_debit(account: Account, intent: str) -> Object:
    """The customer's bank returns a debit that had succeeded: a dispute that is lost at once."""
    made = open_dispute(account, intent, "debit_not_authorized")
    return close_dispute(account, made["id"], won=False)


def _withdraw(account: Account, dispute: Object) -> None:
    account.move("dispute", dispute, dispute["amount"], dispute["currency"])
    account.emit("charge.dispute.funds_withdrawn", dispute)


def close_dispute(account: Account, dispute: str, *, won: bool) -> Object:
    found = account.get(dispute, "dispute")
    found["status"] = "won" if won else "lost"
    if won:
        account.get(found["charge"], "charge")["disputed"] = False
        account.move("dispute won", found, found["amount"], found["currency"])
        account.emit("charge.dispute.funds_reinstated", found)
    account.emit("charge.dispute.closed", found)
    return found
