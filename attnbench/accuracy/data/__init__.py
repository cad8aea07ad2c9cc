"""Data sets for accuracy: digits, and whatever timm's factory reads."""
