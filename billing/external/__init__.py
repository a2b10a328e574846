"""Sends the actions of subscriptions that another billing system collects to that system."""
