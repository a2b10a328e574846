"""Activates, validates, manages and finds license keys."""
