"""Refunds that customers make themselves under the business's refund policy."""
