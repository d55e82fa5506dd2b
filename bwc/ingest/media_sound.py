"""The sound of a proxy: resampled to 48 kHz, laid on the picture's timeline, encoded to AAC. Media child only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import OutputContainer
from numpy.typing import NDArray

RATE: Final = 48_000
BIT_RATE: Final = 96_000

_FRAME: Final = 1024
_TOLERANCE: Final = RATE // 25
_MAX_SILENCE: Final = 2 * 3600 * RATE
_BLOCK: Final = 60 * RATE


class Sound:
    """Takes decoded frames in order and writes packets to `output`.

    A gap or an overlap of more than 40 ms in the time stamps is filled with silence or cut, so that sound stays with
    the picture; at most two hours of silence are added in all.
    """

    def __init__(self, output: OutputContainer, channels: int, origin: Fraction) -> None:
        self._output = output
        self._origin = origin
        self._layout = "mono" if channels == 1 else "stereo"
        self._stream = output.add_stream("aac", rate=RATE, layout=self._layout)
        encoder = self._stream.codec_context
        if not isinstance(encoder, AudioCodecContext):
            raise TypeError("the AAC encoder is an audio encoder")
        encoder.bit_rate = BIT_RATE
        self._resampler = self._new_resampler()
        self._held: NDArray[np.float32] = np.zeros((1 if channels == 1 else 2, 0), dtype=np.float32)
        self._laid = 0
        self._encoded = 0
        self._silence_left = _MAX_SILENCE

    @property
    def seconds(self) -> Fraction:
        """Length laid so far."""
        return Fraction(self._laid, RATE)

    def take(self, frame: AudioFrame) -> None:
        """Lay one decoded frame; raises av.error.FFmpegError when it cannot be resampled."""
        late = 0
        if frame.pts is not None and frame.time_base is not None:
            late = round((frame.pts * frame.time_base - self._origin) * RATE) - self._laid
        frame.pts = None
        samples = self._resample(frame)
        if late > _TOLERANCE:
            self._add_silence(late)
        elif late < -_TOLERANCE:
            samples = samples[:, -late:]
        self._lay(samples)

    def finish(self) -> None:
        """Encode what is held and close the track."""
        self._lay(self._resample(None))
        if self._held.shape[1]:
            self._encode(self._held)
        self._output.mux(self._stream.encode(None))

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(format="fltp", layout=self._layout, rate=RATE)

    def _resample(self, frame: AudioFrame | None) -> NDArray[np.float32]:
        try:
            frames = self._resampler.resample(frame)
        except ValueError:  # the source changed its rate or layout on the way
            self._resampler = self._new_resampler()
            frames = self._resampler.resample(frame)
        parts: list[NDArray[Any]] = [part.to_ndarray() for part in frames]
        return np.concatenate(parts, axis=1).astype(np.float32) if parts else self._held[:, :0]

    def _add_silence(self, samples: int) -> None:
        samples = min(samples, self._silence_left)
        self._silence_left -= samples
        while samples > 0:
            block = min(samples, _BLOCK)
            self._lay(np.zeros((self._held.shape[0], block), dtype=np.float32))
            samples -= block

    def _lay(self, samples: NDArray[np.float32]) -> None:
        self._laid += samples.shape[1]
        held = np.concatenate([self._held, samples], axis=1)
        whole = held.shape[1] - held.shape[1] % _FRAME
        for start in range(0, whole, _FRAME):
            self._encode(held[:, start : start + _FRAME])
        self._held = held[:, whole:]

    def _encode(self, samples: NDArray[np.float32]) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = self._encoded
        self._encoded += samples.shape[1]
        self._output.mux(self._stream.encode(frame))
