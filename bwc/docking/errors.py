"""What can go wrong between a dock and a card, as the session needs to tell it apart."""

from __future__ import annotations

from bwc.core.errors import DeviceError


class DeviceGoneError(DeviceError):
    """The camera was pulled out (errno 5, 19, 71, 108 of libusb, or a mounted folder that vanished)."""

    code = "device_gone"
    person = "La caméra a été retirée pendant la copie. Rien n'est perdu : replacez-la, la copie reprendra."


class DeviceBusyError(DeviceError):
    """Another program holds the camera."""

    code = "device_busy"
    person = "La caméra est utilisée par un autre programme. Retirez-la puis replacez-la sur la baie."


class MediumError(DeviceError):
    """A block could not be read: sense key 3, 4 or b, after the retries."""

    code = "medium"
    person = "Une partie de la carte de la caméra est illisible. La caméra n'est pas effacée ; prévenez l'atelier."


class ChangedError(DeviceError):
    """A file changed while it was copied: the camera still records, or somebody writes."""

    code = "changed"
    person = "Un fichier a changé pendant la copie. Il reste sur la caméra et sera repris la prochaine fois."


class CardError(DeviceError):
    """The card's file system contradicts itself or exceeds a limit (cycle, loop, bounds): hostile or damaged."""

    code = "card"
    person = "La carte de la caméra est endommagée. Ce qui était lisible est copié, la caméra n'est pas effacée."
