"""The words of receipts, one module for each language, with the same keys and placeholders (a test compares them)."""
