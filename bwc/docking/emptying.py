"""Off the camera: one file deleted there, only once what was stored is proven and committed. Rules BWC-CUS-1 to -3.

Ordered in the ledger first, in the transaction that looks once more at the recording and its key; then done on the
card; then told.
"""

from __future__ import annotations

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.core.errors import DeviceError
from bwc.docking.errors import DeviceGoneError
from bwc.docking.transport import CameraFile, Transport
from bwc.ingest.intake import Taken, still_kept
from bwc.installation import Installation
from bwc.rules.custody import CopyFacts, may_delete_from_camera
from bwc.rules.decision import Refused


class Emptying:
    """Deletion from one camera in one stay."""

    def __init__(self, house: Installation, *, serial: str, card_damaged: bool, wipe_allowed: bool) -> None:
        self._house = house
        self._serial = serial
        self._card_damaged = card_damaged
        self._wipe_allowed = wipe_allowed

    def delete(self, transport: Transport, file: CameraFile, taken: Taken) -> Refused | None:
        """Delete the file that became `taken`; the refusal when the rule says no.

        Raises DeviceGoneError, or DeviceError when the camera did not delete it (told in the ledger).
        """
        with self._house.database.write() as session:
            row = still_kept(session, taken.recording_id)
            facts = CopyFacts(
                copied_sha256=taken.sha256,
                read_back_sha256=taken.read_back_sha256,
                committed=row is not None and row.sha256 == taken.sha256 and self._house.vault.exists(row.vault_name),
                card_damaged=self._card_damaged,
                wipe_allowed_by_profile=self._wipe_allowed,
            )
            decision = may_delete_from_camera(facts)
            if isinstance(decision, Refused):
                return decision
            self._house.ledger.append(session, self._event("camera.deletion_ordered", file, taken))
        try:
            transport.delete(file)
        except DeviceGoneError:
            raise
        except DeviceError as error:
            self._tell("camera.deletion_failed", file, taken, error=str(error)[:200])
            raise
        self._tell("camera.file_deleted", file, taken)
        return None

    def _tell(self, action: str, file: CameraFile, taken: Taken, **more: str) -> None:
        with self._house.database.write() as session:
            self._house.ledger.append(session, self._event(action, file, taken, **more))

    def _event(self, action: str, file: CameraFile, taken: Taken, **more: str) -> Event:
        detail = {"path": file.path, "serial": self._serial, "sha256": taken.sha256, **more}
        return Event(
            Operation.EFFACEMENT,
            action,
            SYSTEM_ACTOR,
            recording_id=taken.recording_id,
            motive="BWC-CUS-1",
            detail=detail,
        )
