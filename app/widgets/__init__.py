"""Blocks of a page."""
