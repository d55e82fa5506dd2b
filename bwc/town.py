"""A town's file read into the database: communes, orders, bays; and the demonstration's people and cameras.

Read once, at `bwc init`. A wrong file changes nothing: it is checked whole before the first row is written.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.core.clock import Clock, paris_day
from bwc.core.errors import ConfigError
from bwc.core.ids import new_id
from bwc.db import models
from bwc.rules.access import Role
from bwc.rules.decision import require
from bwc.rules.orders import Order as OrderValue
from bwc.rules.orders import may_put_into_service

Insee = Annotated[str, StringConstraints(pattern=r"^[0-9AB]{5}$")]
Part = TypeVar("Part", bound=BaseModel)
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TownPart(_Strict):
    """`[town]`."""

    name: Text
    siret: Annotated[str, StringConstraints(pattern=r"^\d{14}$")]
    commune: Insee
    service: Text
    post: Text
    archives_agreement: str = ""


class CommunePart(_Strict):
    """`[[communes]]`."""

    insee: Insee
    name: Text


class OrderPart(_Strict):
    """`[[orders]]`."""

    number: Text
    kind: Literal["bodycam", "cctv"]
    signed_on: date
    in_force_from: date
    in_force_until: date | None = None
    prefecture: Text
    communes: list[Insee] = Field(min_length=1)
    medium_commune: Insee
    camera_count: int = Field(ge=1)
    retention_days: int | None = Field(default=None, ge=1, le=31)
    cnil_number: str = ""
    cnil_on: date | None = None


class BayPart(_Strict):
    """`[[bays]]`."""

    number: int = Field(ge=1, le=999)
    bus: int = Field(ge=0)
    port_path: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]


class TownFile(_Strict):
    """A whole town file."""

    town: TownPart
    communes: list[CommunePart] = Field(min_length=1)
    orders: list[OrderPart] = Field(min_length=1)
    bays: list[BayPart] = []


class HabilitationPart(_Strict):
    """A demonstration person's habilitation act, from today for `days` days."""

    number: Text
    signatory: Text
    days: int = Field(ge=1)
    scope: str


class PersonPart(_Strict):
    """`[[people]]` of the demonstration."""

    matricule: Text
    last_name: Text
    first_name: Text
    rank: Text
    role: Role
    commune: Insee
    login: str | None = None
    habilitation: HabilitationPart | None = None


class CameraPart(_Strict):
    """`[[cameras]]` of the demonstration; `wearer` is a matricule."""

    label: Text
    serial: Text
    model: str = ""
    commune: Insee
    wearer: str | None = None


class DemonstrationFile(_Strict):
    """The demonstration's people and cameras."""

    people: list[PersonPart]
    cameras: list[CameraPart]


def read_town(path: Path) -> TownFile:
    """Read and check a town file. Raises ConfigError that names the first wrong line."""
    return _read(path, TownFile)


def read_demonstration(path: Path) -> DemonstrationFile:
    """Read and check the demonstration's file. Raises ConfigError."""
    return _read(path, DemonstrationFile)


def _read(path: Path, kind: type[Part]) -> Part:
    try:
        return kind.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}", person=f"Le fichier {path} est illisible.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", person=f"Le fichier {path} n'est pas du TOML : {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(
            f"{path}: {where}: {first['msg']}",
            person=f"Le fichier {path} est incorrect : « {where} » — {first['msg']}.",
        ) from error


def write_town(session: Session, file: TownFile, now: datetime, *, demonstration: bool) -> models.Town:
    """Put a town into an empty database; returns its row, whose `origin` names the ledger for ever."""
    part = file.town
    for commune in file.communes:
        session.add(models.Commune(insee=commune.insee, name=commune.name))
    session.flush()
    town = models.Town(
        id=1,
        name=part.name,
        siret=part.siret,
        commune=part.commune,
        service=part.service,
        post=part.post,
        origin=f"bwc/{part.siret}/{secrets.token_hex(8)}",
        demonstration=demonstration,
        clock_believed_at=now,
        archives_agreement=part.archives_agreement or None,
    )
    session.add(town)
    for order in file.orders:
        _write_order(session, order)
    for bay in file.bays:
        session.add(models.Bay(number=bay.number, bus=bay.bus, port_path=bay.port_path))
    session.flush()
    return town


def _write_order(session: Session, part: OrderPart) -> None:
    row = models.Order(id=new_id(), **part.model_dump(exclude={"communes", "cnil_number"}))
    row.cnil_number = part.cnil_number or None
    row.communes = [models.OrderCommune(insee=insee) for insee in part.communes]
    session.add(row)
    session.flush()


def order_value(row: models.Order) -> OrderValue:
    """An order's row as the rules need it."""
    return OrderValue(
        row.number,
        row.signed_on,
        row.in_force_from,
        row.in_force_until,
        row.prefecture,
        frozenset(commune.insee for commune in row.communes),
        row.camera_count,
        row.medium_commune,
    )


def write_demonstration(
    session: Session, file: DemonstrationFile, clock: Clock, password_hashes: Mapping[str, str]
) -> None:
    """Put the invented people and cameras in, each camera issued to its wearer.

    `password_hashes` by login. Raises RefusedError when the order does not allow so many cameras (BWC-ORD-2).
    """
    now = clock.now()
    today = paris_day(now)
    by_matricule: dict[str, str] = {}
    for part in file.people:
        person = models.Person(
            id=new_id(),
            **part.model_dump(exclude={"habilitation", "role"}),
            role=str(part.role),
            password_hash=password_hashes.get(part.login or ""),
        )
        session.add(person)
        session.flush()
        by_matricule[part.matricule] = person.id
        if part.habilitation is not None:
            act = part.habilitation
            session.add(
                models.Habilitation(
                    id=new_id(),
                    person_id=person.id,
                    number=act.number,
                    signed_on=today,
                    signatory=act.signatory,
                    starts_on=today,
                    ends_on=today + timedelta(days=act.days),
                    scope=act.scope,
                )
            )
    order = session.scalars(select(models.Order).where(models.Order.kind == "bodycam").limit(1)).one()
    for number, camera in enumerate(file.cameras):
        require(may_put_into_service(order_value(order), number))
        row = models.Camera(
            id=new_id(),
            label=camera.label,
            serial=camera.serial,
            model=camera.model,
            commune=camera.commune,
            order_id=order.id,
        )
        session.add(row)
        session.flush()
        if camera.wearer is not None:
            session.add(
                models.CameraIssue(
                    id=new_id(),
                    camera_id=row.id,
                    person_id=by_matricule[camera.wearer],
                    issued_at=now - timedelta(days=3),
                )
            )
