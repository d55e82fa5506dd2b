"""Signed notes: the published example of sumdb/note, and every writing that must be refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bwc.chain_of_custody.note import (
    Note,
    NoteSignature,
    Signer,
    TreeHead,
    VerifierKey,
    open_checkpoint,
    parse_note,
    parse_tree_head,
    parse_vkey,
)
from bwc.core.errors import EvidenceError

# golang.org/x/mod/sumdb/note, package example.
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PETER_NOTE = f"{PETER_TEXT}\n{PETER_LINE}"

ORIGIN = "bwc/21260362100014/01J0000000000000000000TOWN"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = Signer("temoin.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
HEAD = TreeHead(ORIGIN, 123, bytes(32))


def test_the_published_example_is_written_and_verified_alike() -> None:
    signer = Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(PETER_SEED))
    assert signer.verifier.vkey() == PETER_VKEY
    assert signer.sign(PETER_TEXT).format() == PETER_NOTE
    note = parse_note(PETER_NOTE)
    parse_vkey(PETER_VKEY).verify(note)
    assert note.text == PETER_TEXT


def test_a_checkpoint_opens_for_its_key_and_no_other() -> None:
    written = SIGNER.sign(HEAD.text()).format()
    assert open_checkpoint(written, SIGNER.verifier) == HEAD
    with pytest.raises(EvidenceError, match="not of"):
        open_checkpoint(written, OTHER.verifier)
    impostor = Signer(ORIGIN, Ed25519PrivateKey.generate())
    with pytest.raises(EvidenceError, match="no signature by"):
        open_checkpoint(written, impostor.verifier)


def test_a_changed_text_or_signature_does_not_verify() -> None:
    note = SIGNER.sign(HEAD.text())
    with pytest.raises(EvidenceError, match="does not verify"):
        SIGNER.verifier.verify(Note(TreeHead(ORIGIN, 124, bytes(32)).text(), note.signatures))
    forged = NoteSignature(ORIGIN, SIGNER.verifier.key_id, bytes(64))
    for signatures in [(forged,), (forged, *note.signatures), (*note.signatures, forged)]:
        with pytest.raises(EvidenceError, match="does not verify"):
            SIGNER.verifier.verify(Note(note.text, signatures))


def test_unknown_and_repeated_signatures_do_no_harm() -> None:
    note = SIGNER.sign(HEAD.text())
    unknown = NoteSignature("futur.example", b"abcd", b"\x06" * 2420)
    same_name = NoteSignature(ORIGIN, b"wxyz", b"\x06" * 90)
    both = Note(note.text, (unknown, same_name, *note.signatures, *note.signatures, *OTHER.sign(note.text).signatures))
    assert open_checkpoint(both.format(), SIGNER.verifier) == HEAD
    assert open_checkpoint(parse_note(both.format()).format(), SIGNER.verifier) == HEAD


HOSTILE_NOTES = {
    "empty": "",
    "no blank line": PETER_TEXT + PETER_LINE,
    "no signature": PETER_TEXT + "\n",
    "only a blank line": "\n\n",
    "no text": "\n" + PETER_LINE,
    "blank text": "\n\n" + PETER_LINE,
    "no final newline": PETER_NOTE[:-1],
    "CRLF": PETER_NOTE.replace("\n", "\r\n"),
    "CR in the text": PETER_NOTE.replace("problem,", "problem,\r"),
    "tab": PETER_NOTE.replace("you think", "you\tthink"),
    "NUL": PETER_NOTE.replace("you think", "you\0think"),
    "DEL": PETER_NOTE.replace("you think", "you\x7fthink"),
    "a hyphen for the dash": PETER_NOTE.replace("—", "-"),
    "two spaces": PETER_NOTE.replace("— Peter", "—  Peter"),
    "a no-break space": PETER_NOTE.replace("— Peter", "—\u00a0Peter"),
    "a line separator in the name": PETER_NOTE.replace("PeterN", "Peter\u2028N"),
    "a plus in the name": PETER_NOTE.replace("PeterN", "Peter+N"),
    "trailing space": PETER_NOTE.replace("nAM=\n", "nAM= \n"),
    "a fourth field": PETER_NOTE.replace("nAM=\n", "nAM= x\n"),
    "base64 without padding": PETER_NOTE.replace("nAM=\n", "nAM\n"),
    "base64 with loose bits": PETER_NOTE.replace("nAM=\n", "nAN=\n"),
    "URL base64": PETER_NOTE.replace("x08go/", "x08go_"),
    "a signature of nothing": f"{PETER_TEXT}\n— PeterNeumann x08gow==\n",
    "text after the signatures": PETER_NOTE + "more\n",
    "a blank line after": PETER_NOTE + "\n",
    "101 signatures": f"{PETER_TEXT}\n" + PETER_LINE * 101,
    "over 64 KiB": "a" * 65536 + "\n\n" + PETER_LINE,
    "a lone surrogate": PETER_NOTE.replace("you think", "\ud800"),
}


@pytest.mark.parametrize("name", HOSTILE_NOTES)
def test_hostile_notes_are_refused(name: str) -> None:
    with pytest.raises(EvidenceError):
        parse_note(HOSTILE_NOTES[name])


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(EvidenceError, match="UTF-8"):
        parse_note(b"\xff\n\n" + PETER_LINE.encode())


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_note_of_one_writing_or_refused(data: bytes) -> None:
    try:
        note = parse_note(data)
    except EvidenceError:
        return
    assert note.format().encode() == data


@given(st.data())
def test_no_single_change_of_a_checkpoint_opens(data: st.DataObject) -> None:
    good = SIGNER.sign(HEAD.text()).format().encode()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(
        st.sampled_from([good[:at] + good[at + 1 :], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], good[:at]])
        | st.integers(0, 255).filter(lambda b: b != good[at]).map(lambda b: good[:at] + bytes([b]) + good[at + 1 :])
    )
    with pytest.raises(EvidenceError):
        open_checkpoint(bad, SIGNER.verifier)


ROOT = base64.b64encode(bytes(32)).decode()
HOSTILE_HEADS = {
    "leading zero": f"{ORIGIN}\n0123\n{ROOT}\n",
    "two zeros": f"{ORIGIN}\n00\n{ROOT}\n",
    "a sign": f"{ORIGIN}\n+1\n{ROOT}\n",
    "negative": f"{ORIGIN}\n-1\n{ROOT}\n",
    "spaces": f"{ORIGIN}\n 1\n{ROOT}\n",
    "underscore": f"{ORIGIN}\n1_0\n{ROOT}\n",
    "other digits": f"{ORIGIN}\n١\n{ROOT}\n",
    "hexadecimal": f"{ORIGIN}\n0x1\n{ROOT}\n",
    "huge": f"{ORIGIN}\n{'9' * 20}\n{ROOT}\n",
    "very huge": f"{ORIGIN}\n{'9' * 60000}\n{ROOT}\n",
    "empty size": f"{ORIGIN}\n\n{ROOT}\n",
    "short root": f"{ORIGIN}\n1\n{base64.b64encode(bytes(31)).decode()}\n",
    "root in hexadecimal": f"{ORIGIN}\n1\n{'00' * 32}\n",
    "empty origin": f"\n1\n{ROOT}\n",
    "extension line": f"{ORIGIN}\n1\n{ROOT}\nmore\n",
    "two lines": f"{ORIGIN}\n1\n",
}


@pytest.mark.parametrize("name", HOSTILE_HEADS)
def test_hostile_tree_heads_are_refused(name: str) -> None:
    with pytest.raises(EvidenceError):
        parse_tree_head(HOSTILE_HEADS[name])


@pytest.mark.parametrize("size", [0, 1, 9, 10, 10**19 - 1])
def test_plain_sizes_are_read(size: int) -> None:
    head = TreeHead(ORIGIN, size, bytes(range(32)))
    assert parse_tree_head(head.text()) == head


@pytest.mark.parametrize("cut", range(len(PETER_VKEY)))
def test_a_mangled_vkey_is_refused(cut: int) -> None:
    letter = "B" if PETER_VKEY[cut] != "B" else "C"
    for bad in (PETER_VKEY[:cut] + PETER_VKEY[cut + 1 :], PETER_VKEY[:cut] + letter + PETER_VKEY[cut + 1 :]):
        with pytest.raises(EvidenceError):
            parse_vkey(bad)


def test_a_vkey_reads_back() -> None:
    assert parse_vkey(SIGNER.verifier.vkey() + "\n") == SIGNER.verifier
    assert isinstance(SIGNER.verifier, VerifierKey)
    for bad in (PETER_VKEY + "\n\n", " " + PETER_VKEY, PETER_VKEY + "\r\n", PETER_VKEY.replace("c7", "C7")):
        with pytest.raises(EvidenceError):
            parse_vkey(bad)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", " a", "a\x00"])
def test_names_that_name_no_key(name: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        Signer(name, Ed25519PrivateKey.generate())


@pytest.mark.parametrize("text", ["", "\n", "no newline", "a\rb\n", "a\tb\n"])
def test_texts_that_cannot_be_signed(text: str) -> None:
    with pytest.raises(ValueError, match="note's text"):
        SIGNER.sign(text)
