"""Calculates billing dates, prices, tax, proration, credit and the next charge."""
