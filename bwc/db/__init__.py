"""The catalogue: SQLAlchemy models by subject, the engine and its two kinds of transaction, migrations."""

from bwc.db.base import Base
from bwc.db.engine import Database

__all__ = ["Base", "Database"]
