"""Body-worn camera evidence for a French municipal police: from the dock to the erasure certificate."""

__version__ = "0.1.0"
