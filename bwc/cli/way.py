"""`bwc demo`: the whole way of a recording, once, on the real parts, each step proven before the next.

Emulated are the cameras and the dock, at libusb's level, and the jump of the clock past a term; nothing else is.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import click
from sqlalchemy import select
from werkzeug.serving import make_server

from bwc.chain_of_custody.verify import verify_ledger
from bwc.cli.main import table
from bwc.clock_guard import ClockError, confirm_clock
from bwc.consultation import term_of
from bwc.core.clock import SettableClock, SystemClock
from bwc.db.models import Consultation, ErasureCertificate, Job, OffloadSession, Recording, RecordingKey
from bwc.demonstration.accounts import initialise_demonstration, password_file
from bwc.demonstration.cameras import Plan, Segment, build_dock
from bwc.docking.card import FileBlocks, open_card
from bwc.docking.emulation import EmulatedDock, put, take
from bwc.docking.service import DockingService
from bwc.erasure import erase_due
from bwc.installation import Installation, open_installation
from bwc.people import COMMAND_LINE
from bwc.settings import Settings
from bwc.tasks.jobs import run_job, waiting_jobs
from bwc.verification import verify_store
from bwc.web import web_app
from bwc.web.auth.passwords import hash_password

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "verify_ledger.py"
TWO_DAYS_MIN = 2 * 24 * 60
PLANS = (
    Plan("CAM-07", "BWDEMO0000007", "fat32", 10, (Segment(TWO_DAYS_MIN, 12), Segment(95, 30), Segment(44, 20))),
    Plan("CAM-12", "BWDEMO0000012", "exfat", 20, (Segment(120, 30), Segment(60, 20, cut=True))),
)


class StepError(Exception):
    """A step did not hold."""


@dataclass
class Walk:
    """What was done so far, for the table at the end."""

    settings: Settings
    folder: Path
    house: Installation
    clock: SettableClock
    rows: list[tuple[str, ...]] = field(default_factory=list)
    expected: dict[str, str] = field(default_factory=dict)

    def step(self, title: str, act: Callable[[], str]) -> None:
        """Do one act; its figures go into the table. Raises StepError, or whatever the act raises."""
        started = time.perf_counter()
        figures = act()
        self.rows.append(("✓", title, figures, f"{time.perf_counter() - started:.2f} s"))
        click.echo(f"  ✓ {title} — {figures}")


def walk(settings: Settings, folder: Path) -> bool:
    """Go the whole way in `folder`, made anew; print the table; True only if every step held."""
    for name in ("data", "root.key"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    clock = SettableClock(SystemClock().now())
    initialise_demonstration(settings, hash_password).close()
    this = Walk(settings, folder, open_installation(settings, clock), clock)
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("Deux caméras tournées et posées en images FAT32 et exFAT", lambda: _film(this)),
        ("Caméras branchées, copiées, vérifiées, vidées", lambda: _offload(this)),
        ("Empreinte de chaque fichier comparée à celle de la carte", lambda: _compare(this)),
        ("Vignettes et copies de visionnage 540p", lambda: _derive(this)),
        ("Une seconde relue par HTTP, après un motif", lambda: _play(this)),
        ("Un enregistrement effacé à son terme, introuvable ensuite", lambda: _erase(this)),
        ("Coffre relu en entier", lambda: _verify_store(this)),
        ("Registre vérifié par le produit", lambda: _verify_ledger(this)),
        ("Registre vérifié par l'outil indépendant", lambda: _verify_independently(this)),
    )
    click.secho("DÉMONSTRATION — caméras et station émulées, personnes et images inventées.", fg="yellow")
    held = True
    for title, act in steps:
        try:
            this.step(title, act)
        except Exception as error:
            this.rows.append(("✗", title, f"{type(error).__name__} : {error}", ""))
            held = False
            break
    this.house.close()
    click.echo()
    table(("", "étape", "constat", "durée"), this.rows)
    click.secho("Tout a tenu." if held else "ÉCHEC.", fg="green" if held else "red", bold=True)
    return held


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise StepError(what)


def _film(this: Walk) -> str:
    dock = this.settings.dock_folder
    build_dock(dock, this.clock.now(), PLANS)
    size = 0
    for plan in PLANS:
        blocks = FileBlocks(dock / "cameras" / f"{plan.label}.img")
        try:
            volume = open_card(blocks)
            for entry in volume.files():
                with volume.open(entry) as stream:
                    this.expected[entry.path] = hashlib.sha256(stream.read()).hexdigest()
                size += entry.size
        finally:
            blocks.close()
    return f"{len(this.expected)} fichiers, {size / 1e6:.1f} Mo, dont un coupé par une panne"


def _offload(this: Walk) -> str:
    dock = EmulatedDock(this.settings.dock_folder)
    stop = threading.Event()
    service = DockingService(this.house, dock.find, interval_s=0.1)
    thread = threading.Thread(target=service.run, args=(stop,), daemon=True)
    thread.start()
    try:
        for port, plan in enumerate(PLANS, 1):
            put(this.settings.dock_folder, port, plan.label)
        sessions = _wait_for_sessions(this.house, len(PLANS))
    finally:
        for port in range(1, len(PLANS) + 1):
            take(this.settings.dock_folder, port)
        stop.set()
        thread.join(60)
    for session in sessions:
        _must(session.state == "done", f"session {session.state}: {session.message}")
        _must(session.files_deleted == session.files_total, "une caméra n'est pas vide")
    files, size = sum(row.files_total for row in sessions), sum(row.bytes_total for row in sessions)
    return f"{files} fichiers, {size / 1e6:.1f} Mo, {len(sessions)} caméras vides"


def _wait_for_sessions(house: Installation, count: int) -> list[OffloadSession]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with house.database.read() as session:
            rows = list(session.scalars(select(OffloadSession).where(OffloadSession.closed_at.is_not(None))))
        if len(rows) == count:
            return rows
        time.sleep(0.1)
    raise StepError("les caméras n'ont pas fini en deux minutes")


def _recordings(house: Installation) -> list[Recording]:
    with house.database.read() as session:
        return list(session.scalars(select(Recording).order_by(Recording.recorded_on, Recording.id)))


def _compare(this: Walk) -> str:
    found = {row.source_path: row.sha256 for row in _recordings(this.house)}
    _must(found == this.expected, "les empreintes diffèrent")
    return f"{len(found)} SHA-256 identiques"


def _derive(this: Walk) -> str:
    for job_id in waiting_jobs(this.house):
        run_job(this.house, job_id)
    with this.house.database.read() as session:
        states = list(session.scalars(select(Job.state)))
        kinds = [
            made.kind for row in _recordings(this.house) for made in session.get_one(Recording, row.id).derivatives
        ]
    _must(set(states) == {"done"}, f"travaux : {states}")
    return f"{kinds.count('poster')} vignettes, {kinds.count('proxy')} copies de visionnage"


@contextmanager
def _server(house: Installation) -> Iterator[http.client.HTTPConnection]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, web_app(house), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()
        server.shutdown()
        thread.join(10)
        server.server_close()


class _Browser:
    """Just enough of a browser: one cookie jar, forms with their token, redirects seen."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self._request("GET", path, None, headers)[:2]

    def submit(self, page: str, path: str, fields: dict[str, str]) -> str:
        """Fetch `page` for its token, post the form, return where it leads."""
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', self.get(page)[1])
        _must(token is not None, f"pas de jeton sur {page}")
        body = urlencode({**fields, "csrf_token": token[1].decode() if token else ""})
        status, _, location = self._request(
            "POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        )
        _must(status in {302, 303}, f"{path} a répondu {status}")
        return location

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, bytes, str]:
        jar = "; ".join(f"{name}={value}" for name, value in self._cookies.items() if value)
        cookie = {"Cookie": jar} if jar else {}
        self._connection.request(method, path, body, {**headers, **cookie})
        answer = self._connection.getresponse()
        data = answer.read()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, kept = value.split(";", 1)[0].partition("=")
                self._cookies[key] = kept
        return answer.status, data, answer.getheader("Location") or ""


def _play(this: Walk) -> str:
    row = next(row for row in _recordings(this.house) if row.duration_ms and row.media_state == "read")
    second = max(1, row.size * 1000 // (row.duration_ms or 1))
    with _server(this.house) as connection:
        browser = _Browser(connection)
        page = f"/enregistrements/{row.id}"
        password = password_file(this.settings).read_text().strip()
        browser.submit("/connexion", "/connexion", {"login": "agent", "password": password})
        fields = {"motive": "compte_rendu", "text": "Démonstration du chemin complet", "reference": ""}
        where = browser.submit(page, f"{page}/consultation", fields)
        logged = _last_consultation(this.house)
        status, data = browser.get(f"{where}/images/original", Range=f"bytes=0-{second - 1}")
        alien = browser.get(f"/consultations/{'0' * 26}/images/original")[0]
    _must(status == 206 and len(data) == second, f"réponse {status}, {len(data)} octets")
    _must(data == _plaintext(this.house, row)[:second], "les octets lus ne sont pas ceux de l'original")
    _must(alien in {403, 404}, "une consultation inconnue a été servie")
    return f"{second} octets identiques à l'original, entrée n° {logged.ledger_seq} écrite avant"


def _last_consultation(house: Installation) -> Consultation:
    with house.database.read() as session:
        return session.scalars(select(Consultation).order_by(Consultation.opened_at.desc())).one()


def _plaintext(house: Installation, row: Recording) -> bytes:
    with house.database.read() as session:
        wrapped = session.get_one(RecordingKey, row.id)
    key = house.keys.unwrap(wrapped.day_key_id, row.id, wrapped.wrapped)
    with house.vault.open(row.vault_name, key, row.id) as file:
        return file.read()


def _erase(this: Walk) -> str:
    row = _recordings(this.house)[0]
    with this.house.database.read() as session:
        wrapped = session.get_one(RecordingKey, row.id).wrapped
        day_key_id = session.get_one(RecordingKey, row.id).day_key_id
    key = this.house.keys.unwrap(day_key_id, row.id, wrapped)
    plain = _plaintext(this.house, row)
    this.clock.instant = term_of(row).ends_at - timedelta(seconds=1)
    _must(_refused(lambda: erase_due(this.house)), "un bond de l'horloge a été cru")
    confirm_clock(this.house, COMMAND_LINE)
    _must(erase_due(this.house) == [], "effacé avant 24 h du dernier jour")
    this.clock.instant = term_of(row).ends_at
    _must(erase_due(this.house) == [row.id], "pas exactement cet enregistrement")
    with this.house.database.read() as session:
        certificate = session.scalars(select(ErasureCertificate)).one()
    _must(certificate.sha256 == row.sha256 and not certificate.late, "certificat inexact")
    traces = _traces(this.settings.data, (wrapped, key, key.hex().encode(), plain[1000:1064]))
    _must(not traces, f"traces dans {traces}")
    return f"{row.size / 1e6:.1f} Mo, certificat {certificate.id[-8:]}, aucune trace de la clé ni des images"


def _refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except ClockError:
        return True
    return False


def _traces(folder: Path, needles: tuple[bytes, ...]) -> list[str]:
    """Files of the data folder (the emulated cards apart) in which any of the byte strings is left.

    Searched by another process: closing a database file in this one would drop SQLite's locks on it.
    """
    script = (
        "import sys; from pathlib import Path; needles = [bytes.fromhex(text) for text in sys.stdin.read().split()]\n"
        "for path in Path(sys.argv[1]).rglob('*'):\n"
        "    if path.is_file() and 'emulated-dock' not in path.parts:\n"
        "        data = path.read_bytes()\n"
        "        if any(needle in data for needle in needles): print(path.name)\n"
    )
    asked = " ".join(needle.hex() for needle in needles)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder)], input=asked, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def _verify_store(this: Walk) -> str:
    checked, faults = verify_store(this.house)
    _must(not faults, f"{len(faults)} écarts")
    return f"{checked} conteneurs intacts"


def _verify_ledger(this: Walk) -> str:
    made = this.house.publish_checkpoint()
    report = verify_ledger(this.house.database, this.settings.checkpoint_folder, this.house.signer().verifier)
    _must(report.ok and made is not None, "registre altéré")
    return f"{report.entries} entrées, racine {report.root[:16]}…"


def _verify_independently(this: Walk) -> str:
    database = this.house.database.file
    if database is None:
        raise StepError("l'outil lit une base SQLite")
    folder = this.settings.checkpoint_folder
    done = subprocess.run(
        [sys.executable, "-I", str(TOOL), "--database", str(database), "--checkpoints", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    _must(done.returncode == 0, f"sortie {done.returncode} : {done.stdout[:300]}{done.stderr[:300]}")
    report = json.loads(done.stdout)
    return f"{report['entries']} entrées, même verdict"
