"""Manages the records and settings of businesses and of their customers."""
