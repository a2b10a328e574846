"""Reads past payments, invoices, refunds and events for pages, emails, the API and staff."""
