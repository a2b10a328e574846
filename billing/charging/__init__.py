"""Charges and refunds payments through a payment processor, records the outcomes and reconciles what stays open."""
