"""Starts, pauses, cancels, ends, reschedules and reads subscriptions."""
