"""Implements the billing domain: catalogue, subscriptions, charges, invoices, licenses and imports."""
