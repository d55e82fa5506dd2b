"""The Merkle tree of RFC 6962 over SHA-256: frontier, proofs and their verification.

Knows hashes only: not what a leaf means, not where it is kept (docs/custody-format.md §6.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from bwc.core.digests import sha256
from bwc.core.errors import EvidenceError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"")


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf, 32 bytes (RFC 6962 §2.1)."""
    return sha256(b"\x00" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, 32 bytes (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right)


class Frontier:
    """Right-hand edge of a tree that only grows: one hash per 1 bit of `size`, largest subtree first.

    Appending costs one hash on average, the root at most log2(size); nothing else of the tree is needed.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add the leaf whose hash is `leaf` (32 bytes) at place `size`."""
        size, node, peaks = self.size, leaf, self._peaks
        while size & 1:
            node = sha256(b"\x01" + peaks.pop() + node)
            size >>= 1
        peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Root of the tree at its present size, 32 bytes; SHA-256 of nothing when empty."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node

    def to_bytes(self) -> bytes:
        """The peaks one after the other, largest subtree first: 32 bytes for each 1 bit of `size`."""
        return b"".join(self._peaks)

    @classmethod
    def from_bytes(cls, size: int, peaks: bytes) -> Frontier:
        """The frontier written by `to_bytes` at `size`; raises EvidenceError when the lengths disagree."""
        if size < 0 or len(peaks) != HASH_SIZE * size.bit_count():
            raise EvidenceError(f"frontier of {len(peaks)} bytes does not fit a tree of {size} leaves")
        frontier = cls()
        frontier.size = size
        frontier._peaks = [peaks[at : at + HASH_SIZE] for at in range(0, len(peaks), HASH_SIZE)]
        return frontier


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over these leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _split(size: int) -> int:
    """Largest power of two strictly below `size` (RFC 6962 §2.1), for `size` of 2 or more."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree over `leaves`, lowest node first (RFC 6962 §2.1.1).

    Raises ValueError when `index` is not a place of the tree.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} in a tree of {len(leaves)}")
    low, high, path = 0, len(leaves), []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    return path[::-1]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the tree of the first `old_size` leaves is a prefix of the tree over `leaves` (RFC 6962 §2.1.2).

    Empty when the sizes are equal. Raises ValueError unless 1 <= old_size <= len(leaves).
    """
    if not 1 <= old_size <= len(leaves):
        raise ValueError(f"no proof from size {old_size} to {len(leaves)}")
    low, high, path, whole = 0, len(leaves), [], True
    while old_size < high:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low, whole = middle, False
    if not whole:
        path.append(root_of(leaves[low:high]))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is at `index` of the tree of `size` leaves with this `root` (RFC 9162 §2.1.3.2).

    Raises EvidenceError when it is not, or when the proof has a node too many or too few.
    """
    if not 0 <= index < size:
        _refuse(f"no leaf {index} in a tree of {size}")
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0 or len(sibling) != HASH_SIZE:
            _refuse("inclusion proof has an extra or misshapen node")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        _refuse("inclusion proof lacks a node")
    if node != root:
        _refuse(f"inclusion proof of leaf {index} leads to {node.hex()}, not to the root {root.hex()}")


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new_size` leaves begins with the tree of `old_size` (RFC 9162 §2.1.4.2).

    Raises EvidenceError when it does not, when the proof has a node too many or too few, or when the sizes are not
    1 <= old_size <= new_size.
    """
    if not 1 <= old_size <= new_size:
        _refuse(f"no consistency from size {old_size} to {new_size}")
    if any(len(node) != HASH_SIZE for node in proof):
        _refuse("consistency proof has a misshapen node")
    if old_size == new_size:
        if proof:
            _refuse("consistency proof has an extra node")
        if old_root != new_root:
            _refuse(f"two roots at size {old_size}: {old_root.hex()} and {new_root.hex()}")
        return
    # A tree of a power of two leaves is itself the first node of the path: the proof leaves it out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        _refuse("consistency proof lacks a node")
    _walk_consistency(old_size, new_size, old_root, new_root, path)


def _walk_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for node in path[1:]:
        if sn == 0:
            _refuse("consistency proof has an extra node")
        if fn & 1 or fn == sn:
            old, new = node_hash(node, old), node_hash(node, new)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, node)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        _refuse("consistency proof lacks a node")
    if old != old_root or new != new_root:
        _refuse(f"the tree of {new_size} leaves does not begin with the tree of {old_size}")


def _refuse(message: str) -> NoReturn:
    raise EvidenceError(message, code="proof")
