"""Defines the rows of billing, the tables of allowed state changes and the settings of a business."""
