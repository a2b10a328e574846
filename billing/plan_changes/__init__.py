"""Offers, quotes, confirms and schedules plan changes of subscriptions."""
