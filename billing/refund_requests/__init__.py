"""Refund requests: customers ask for what they cannot refund themselves, and staff decide."""
