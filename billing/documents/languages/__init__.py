"""Holds the labels and sentences printed on documents, one module per language."""
