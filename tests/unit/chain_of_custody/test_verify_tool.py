"""Parts of the stand-alone verifier against known answers and against another implementation."""

from __future__ import annotations

import importlib.util
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bwc.chain_of_custody.merkle import Frontier, leaf_hash


def load() -> ModuleType:
    path = Path(__file__).parents[3] / "tools" / "verify_ledger.py"
    spec = importlib.util.spec_from_file_location("verify_ledger_tool", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load()

# RFC 8032 §7.1, tests 1 to 3: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]  # fmt: skip
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("vector", RFC_8032, ids=["test 1", "test 2", "test 3"])
def test_ed25519_known_answers(vector: tuple[str, str, str]) -> None:
    public, message, signature = map(bytes.fromhex, vector)
    assert TOOL.ed25519_verify(public, message, signature)
    assert not TOOL.ed25519_verify(public, message + b"x", signature)
    assert not TOOL.ed25519_verify(public, message, signature[:-1])
    assert not TOOL.ed25519_verify(public, message, signature + b"\0")
    for at in (0, 31, 32, 63):
        flipped = bytearray(signature)
        flipped[at] ^= 1
        assert not TOOL.ed25519_verify(public, message, bytes(flipped))
    s = int.from_bytes(signature[32:], "little") + ORDER  # the malleable twin
    assert not TOOL.ed25519_verify(public, message, signature[:32] + s.to_bytes(32, "little"))


@settings(max_examples=15, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
def test_ed25519_agrees_with_another_implementation(seed: bytes, message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), bytearray(key.sign(message))
    assert TOOL.ed25519_verify(public, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert not TOOL.ed25519_verify(public, message, bytes(signature))


@pytest.mark.parametrize("raw", [b"", b"\xff" * 32, (2**255 - 19).to_bytes(32, "little"), b"\x02" + bytes(31)])
def test_bytes_that_are_no_point(raw: bytes) -> None:
    assert TOOL.ed_point(raw) is None
    assert not TOOL.ed25519_verify(raw, b"", bytes(64))


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_both_trees_have_the_same_root_and_edge(bodies: list[bytes]) -> None:
    product, tool = Frontier(), TOOL.Tree()
    for body in bodies:
        product.append(leaf_hash(body))
        tool.add(sha256(b"\0" + body).digest())
    assert tool.root() == product.root()
    assert b"".join(node for _, node in tool.edge) == product.to_bytes()
