"""Receives what somebody declares without signing in, finds the contract, and carries the statement out or leaves it to staff."""
