"""A new price for the existing subscribers of a product: preview, announcement, the customers' answers, and applying it at a renewal."""
