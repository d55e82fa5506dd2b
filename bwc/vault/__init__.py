"""Encrypted evidence store: the container format, the keys, the directory that holds them.

Knows bytes, keys and durability; nothing of cameras, people or law. Specified in docs/custody-format.md §1 to §5.
"""
