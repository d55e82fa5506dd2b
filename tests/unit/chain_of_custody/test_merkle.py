"""The tree against the published vectors, and against RFC 6962's definition written as it reads."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.chain_of_custody.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from bwc.core.errors import EvidenceError

VECTORS = json.loads((Path(__file__).parents[2] / "golden/ledger/ct_vectors.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]

sizes = st.integers(1, 70)


def some_leaves(size: int) -> list[bytes]:
    return [leaf_hash(bytes([number])) for number in range(size)]


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def test_the_empty_root_is_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT.hex() == VECTORS["empty_root"] == Frontier().root().hex()


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    assert root_of(LEAVES[:size]) == ROOTS[size - 1]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=str)
def test_published_inclusion_proofs(case: dict) -> None:
    proof = inclusion_proof(LEAVES[: case["size"]], case["index"])
    assert [node.hex() for node in proof] == case["proof"]
    verify_inclusion(LEAVES[case["index"]], case["index"], case["size"], proof, ROOTS[case["size"] - 1])


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=str)
def test_published_consistency_proofs(case: dict) -> None:
    proof = consistency_proof(LEAVES[: case["new"]], case["old"])
    assert [node.hex() for node in proof] == case["proof"]
    verify_consistency(case["old"], case["new"], ROOTS[case["old"] - 1], ROOTS[case["new"] - 1], proof)


@given(st.integers(0, 200))
def test_the_frontier_gives_the_defined_root_and_survives_writing(size: int) -> None:
    frontier = Frontier()
    for leaf in some_leaves(size):
        frontier = Frontier.from_bytes(frontier.size, frontier.to_bytes())
        frontier.append(leaf)
    assert frontier.size == size
    assert frontier.root() == naive_root(some_leaves(size))
    assert len(frontier.to_bytes()) == 32 * bin(size).count("1")


@pytest.mark.parametrize(("size", "peaks"), [(1, b""), (0, b"x" * 32), (3, b"x" * 32), (2, b"x" * 31), (-1, b"")])
def test_a_frontier_of_the_wrong_length_is_refused(size: int, peaks: bytes) -> None:
    with pytest.raises(EvidenceError):
        Frontier.from_bytes(size, peaks)


@given(st.data(), sizes)
def test_every_inclusion_proof_holds_and_no_altered_one_does(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = some_leaves(size)
    proof, root = inclusion_proof(leaves, index), naive_root(leaves)
    verify_inclusion(leaves[index], index, size, proof, root)
    for bad in altered(data, proof):
        with pytest.raises(EvidenceError):
            verify_inclusion(leaves[index], index, size, bad, root)
    other = data.draw(st.integers(-1, size + 1).filter(lambda place: place != index))
    with pytest.raises(EvidenceError):
        verify_inclusion(leaves[index], other, size, proof, root)
    with pytest.raises(EvidenceError):
        verify_inclusion(leaf_hash(b"another"), index, size, proof, root)


@given(st.data(), sizes)
def test_every_consistency_proof_holds_and_no_altered_one_does(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    leaves = some_leaves(size)
    proof, old_root, root = consistency_proof(leaves, old), naive_root(leaves[:old]), naive_root(leaves)
    verify_consistency(old, size, old_root, root, proof)
    for bad in altered(data, proof):
        with pytest.raises(EvidenceError):
            verify_consistency(old, size, old_root, root, bad)
    fork = naive_root([leaf_hash(b"fork"), *leaves[1:old]])
    with pytest.raises(EvidenceError):
        verify_consistency(old, size, fork, root, proof)
    with pytest.raises(EvidenceError):
        verify_consistency(old, size, old_root, fork if old < size else leaf_hash(b"x"), proof)


def altered(data: st.DataObject, proof: list[bytes]) -> list[list[bytes]]:
    extra = bytes(32)
    wrong = [[*proof, extra], [extra, *proof], [*proof, b""]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        wrong += [proof[:-1], proof[1:], [*proof[:at], flipped, *proof[at + 1 :]], [*proof, proof[-1]]]
        wrong.append([*proof[:at], proof[at][:31], *proof[at + 1 :]])
    return wrong


@pytest.mark.parametrize(("old", "new"), [(0, 4), (5, 4), (-1, 4)])
def test_sizes_that_make_no_sense_are_refused(old: int, new: int) -> None:
    with pytest.raises(EvidenceError):
        verify_consistency(old, new, EMPTY_ROOT, ROOTS[3], [])
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(LEAVES[:new], old)


@pytest.mark.parametrize("index", [-1, 8, 9])
def test_no_proof_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(LEAVES, index)
