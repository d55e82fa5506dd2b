"""What a visitor's forms need before anybody is signed in: a signed cookie, so that visits write nothing here.

It holds the secret of his form tokens and nothing that gives a right; it is dropped at sign-in, where the session
gets a row and everything in it is made anew. Not responsible for sessions of people (bwc.web.sessions).
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from flask.wrappers import Request, Response
from itsdangerous import BadData, URLSafeSerializer

from bwc.installation import Installation

LENGTH = timedelta(hours=2)
_LONGEST = 2000
_SALT = "bwc/web/visitor"


class Visitors:
    """Reads and writes the visitor's cookie of one installation."""

    def __init__(self, house: Installation) -> None:
        self.house = house
        self.cookie = "__Host-bwc_form" if house.settings.https else "bwc_form"
        self._signer = URLSafeSerializer(
            house.keys.derive(_SALT), salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256}
        )

    def read(self, request: Request) -> dict[str, Any]:
        """What the cookie holds; nothing when it is absent, too old or not of our making."""
        text = request.cookies.get(self.cookie, "")
        if not text or len(text) > _LONGEST:
            return {}
        try:
            kept = self._signer.loads(text)
        except BadData:
            return {}
        age = self.house.clock.now().timestamp() - kept["at"]
        return dict(kept["data"]) if 0 <= age < LENGTH.total_seconds() else {}

    def write(self, response: Response, data: dict[str, Any]) -> None:
        """Keep `data` in the browser until it closes, two hours at most."""
        text = str(self._signer.dumps({"at": int(self.house.clock.now().timestamp()), "data": data}))
        response.set_cookie(
            self.cookie,
            text,
            max_age=int(LENGTH.total_seconds()),
            path="/",
            secure=self.house.settings.https,
            httponly=True,
            samesite="Strict",
        )

    def forget(self, request: Request, response: Response) -> None:
        """Drop the cookie where there is one."""
        if self.cookie in request.cookies:
            response.delete_cookie(
                self.cookie, path="/", secure=self.house.settings.https, httponly=True, samesite="Strict"
            )
