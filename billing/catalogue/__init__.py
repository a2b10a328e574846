"""Manages and reads the products, add-ons, collections and discount codes of a business."""
