"""Renews subscriptions, retries failed payments, sends dunning notices, collects dues and manages payment methods."""
