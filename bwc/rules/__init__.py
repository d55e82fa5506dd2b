"""The law as pure functions over plain values: no database, no web, no disk.

Each rule is cited once in docs/legal/register.md by an id; the code names the id.
"""
