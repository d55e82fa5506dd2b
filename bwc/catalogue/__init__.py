"""Questions asked of the catalogue by pages and commands: recordings, journal, counters, fleet, conformity.

Reads only. Rows a person may not know of are left out in the query, and each row is put to the rule again.
"""

from bwc.catalogue.conformity import Point, conformity
from bwc.catalogue.counters import Counter, Counters, Docking, counters, dockings_of, open_incidents
from bwc.catalogue.fleet import FleetCamera, FleetState, fleet
from bwc.catalogue.journal import JournalFilter, JournalLine, JournalPage, custody_of, journal_page
from bwc.catalogue.people import people, person_by_login, signed_in_from, wearers
from bwc.catalogue.recordings import (
    Cursor,
    RecordingFilter,
    RecordingPage,
    consultation_of,
    list_recordings,
    one_recording,
)

__all__ = [
    "Counter",
    "Counters",
    "Cursor",
    "Docking",
    "FleetCamera",
    "FleetState",
    "JournalFilter",
    "JournalLine",
    "JournalPage",
    "Point",
    "RecordingFilter",
    "RecordingPage",
    "conformity",
    "consultation_of",
    "counters",
    "custody_of",
    "dockings_of",
    "fleet",
    "journal_page",
    "list_recordings",
    "one_recording",
    "open_incidents",
    "people",
    "person_by_login",
    "signed_in_from",
    "wearers",
]
