"""Alembic's entry: runs migrations on the connection it is handed (bwc.db.schema)."""

from alembic import context

import bwc.db.models  # noqa: F401  (fills the metadata)
from bwc.db.base import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=False,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
