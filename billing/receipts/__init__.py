"""Receipts of cancelling, pausing, changing a plan and refunds: written with the action, typeset as PDF, read by pages and emails."""
