"""A random life of the ledger: appends, failures, clock jumps, checkpoints; always sound, never rewritten."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from bwc.chain_of_custody.checkpoints import due, latest, publish
from bwc.chain_of_custody.ledger import Ledger
from bwc.chain_of_custody.merkle import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from bwc.chain_of_custody.verify import verify_ledger
from bwc.core.clock import SettableClock
from bwc.db.engine import Database
from tests.integration.ledger_helpers import SIGNER, START, event


class AbortedError(Exception):
    pass


def machine_over(template: Path) -> type[RuleBasedStateMachine]:
    class LedgerMachine(RuleBasedStateMachine):
        @initialize()
        def open(self) -> None:
            self.home = Path(tempfile.mkdtemp(prefix="bwc-ledger-"))
            shutil.copy(template, self.home / "bwc.db")
            self.folder = self.home / "checkpoints"
            self.database = Database(f"sqlite:///{self.home / 'bwc.db'}")
            self.clock = SettableClock(START)
            self.count = 0
            self.signed: list[tuple[int, bytes]] = []

        @rule(count=st.integers(0, 9))
        def append(self, count: int) -> None:
            with self.database.write() as session:
                places = Ledger(self.clock).append_many(session, map(event, range(count)))
            assert places == list(range(self.count, self.count + count))
            self.count += count

        @rule(before=st.integers(1, 3))
        def act_that_fails(self, before: int) -> None:
            def act() -> None:
                with self.database.write() as session:
                    Ledger(self.clock).append_many(session, map(event, range(before)))
                    raise AbortedError

            with pytest.raises(AbortedError):
                act()

        @rule(seconds=st.integers(-100_000, 100_000))
        def clock_moves(self, seconds: int) -> None:
            self.clock.advance(timedelta(seconds=seconds))

        @rule()
        def checkpoint(self) -> None:
            covered = self.signed[-1][0] if self.signed else 0
            assert self.count > covered or not due(self.database, self.clock)
            made = publish(self.database, self.clock, SIGNER, self.folder)
            assert (made is None) == (self.count == covered)
            if made is not None:
                self.signed.append((made.size, made.root))
                assert latest(self.database) == made

        @rule(data=st.data())
        def proofs_between_checkpoints(self, data: st.DataObject) -> None:
            if not self.signed:
                return
            with self.database.read() as session:
                leaves = [
                    bytes(leaf) for leaf in session.scalars(text("SELECT leaf_hash FROM ledger_entry ORDER BY seq"))
                ]
            (old, old_root), (new, root) = sorted(data.draw(st.tuples(*[st.sampled_from(self.signed)] * 2)))
            verify_consistency(old, new, old_root, root, consistency_proof(leaves[:new], old))
            index = data.draw(st.integers(0, new - 1))
            verify_inclusion(leaves[index], index, new, inclusion_proof(leaves[:new], index), root)

        @invariant()
        def sound(self) -> None:
            if not hasattr(self, "database"):
                return
            report = verify_ledger(self.database, self.folder, SIGNER.verifier)
            assert report.faults == ()
            assert (report.entries, report.checkpoints) == (self.count, len(self.signed))

        def teardown(self) -> None:
            if hasattr(self, "database"):
                self.database.close()
                shutil.rmtree(self.home)

    return LedgerMachine


def test_any_life_of_the_ledger_stays_sound(sqlite_template: Path) -> None:
    run_state_machine_as_test(
        machine_over(sqlite_template),
        settings=settings(max_examples=25, stateful_step_count=20, deadline=None),
    )
