"""Alembic migrations of the catalogue; one transaction each, serial four-digit names."""
