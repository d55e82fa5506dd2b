"""Every table, by subject. Import from here."""

from bwc.db.models.custody import Checkpoint, JournalEntry, LedgerEntry, LedgerHead
from bwc.db.models.fleet import Bay, Camera, CameraIssue, OffloadFile, OffloadSession, Part
from bwc.db.models.jobs import Job
from bwc.db.models.orders import Order, OrderCommune
from bwc.db.models.people import Consultation, Habilitation, Person, WebSession
from bwc.db.models.recordings import (
    DayKey,
    Derivative,
    ErasureCertificate,
    Incident,
    Recording,
    RecordingKey,
)
from bwc.db.models.town import Commune, Town

__all__ = [
    "Bay",
    "Camera",
    "CameraIssue",
    "Checkpoint",
    "Commune",
    "Consultation",
    "DayKey",
    "Derivative",
    "ErasureCertificate",
    "Habilitation",
    "Incident",
    "Job",
    "JournalEntry",
    "LedgerEntry",
    "LedgerHead",
    "OffloadFile",
    "OffloadSession",
    "Order",
    "OrderCommune",
    "Part",
    "Person",
    "Recording",
    "RecordingKey",
    "Town",
    "WebSession",
]
