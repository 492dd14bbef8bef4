"""The studio: pages over openreml_core. No mathematics here, and no torch."""
