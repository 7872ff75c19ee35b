"""Processes the video of Framelog's cameras, fragment by fragment.

A program calls run with a function. Framelog starts the program:

    framelog process exec --name people --size 640x360 --fps 5 -- python3 people.py

The function gets a Fragment, some seconds of a camera, and reads its frames:

    def people(fragment):
        for frame in fragment:
            frame.boxes([framelog.Box(x, y, width, height, "person")])
        fragment.event("person")

    framelog.run(people)

It must not remember anything of a fragment: fragments come in any order, in several processes,
and again after a failure. If it raises an exception, this attempt has failed, and the next
fragment comes. What the program prints goes to Framelog's log. docs/exec-protocol.md describes
what goes over the pipes.
"""
from __future__ import annotations

import base64
import json
import os
import struct
import sys
import traceback
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Union

import numpy as np

__all__ = ["Box", "Chunk", "Error", "Fragment", "Frame", "Sample", "Track", "run"]

VERSION = 1
"""The version of the protocol."""

TIMESCALE = 90000
"""Ticks of media time in a second (pts and duration of a Frame)."""

_HEAD = struct.Struct(">2sBcII")
_MAX_HEADER = 1 << 20


class Error(Exception):
    """The program was not started by Framelog, or uses this module wrongly."""


class Box(NamedTuple):
    """A rectangle in a picture, in pixels of the picture that the program got."""

    x: float
    y: float
    width: float
    height: float
    label: str = ""
    score: float = 0.0
    """How sure the detector is, 0 to 1. 0: it does not say."""


class Track(NamedTuple):
    """A track of the fragment, as the camera encoded it."""

    id: int
    """1: pictures, 2: sound, 3: timed metadata."""
    codec: str
    """h264, h265, mjpeg, aac, opus or json."""
    timescale: int
    """Ticks a second of the track's samples."""
    config: bytes
    """Decoder configuration: avcC, hvcC, AudioSpecificConfig, OpusHead."""
    width: int
    height: int
    sample_rate: int
    channels: int


class Sample(NamedTuple):
    """An encoded picture or a frame of sound. Times are in ticks of its track's timescale."""

    track: int
    dts: int
    pts: int
    duration: int
    sync: bool
    data: bytes


class Chunk(NamedTuple):
    """A piece of a fragment, some 200 ms long (mode encoded)."""

    index: int
    samples: list


class Frame:
    """A decoded picture.

    image is an array of uint8. Its shape is height × width × 3 (formats BGR and RGB), height × width
    (Gray8), or height · 3/2 × width (I420, as OpenCV has it; one row if width or height is odd). It
    belongs to the program, which may change it.
    """

    def __init__(self, fragment: Fragment, header: dict, image: np.ndarray):
        self.fragment = fragment
        self.image = image
        self.width: int = header["width"]
        self.height: int = header["height"]
        self.pts: int = header["pts"]
        """Media time, in ticks of TIMESCALE."""
        self.duration: int = header["duration"]
        """In ticks of TIMESCALE."""
        self.time: datetime = fragment.start + timedelta(seconds=(self.pts - fragment.media) / TIMESCALE)
        """When the camera took the picture (UTC)."""
        self._answered = False

    @property
    def camera(self) -> str:
        return self.fragment.camera

    @property
    def seq(self) -> int:
        """The number of the fragment."""
        return self.fragment.seq

    def boxes(self, boxes: Iterable[Union[Box, tuple]], score: float = 0.0) -> None:
        """Says what stands in this picture. Each box is a Box, or a tuple of its fields.

        Call it for pictures in which nothing stands too, with an empty list: boxes are shown until
        the next call. score is of the whole picture, by the program's own measure.
        """
        boxes = [self.fragment._box(b, self.width, self.height) for b in boxes]
        self.fragment._send(b"D", pts=self.pts, duration=self.duration, boxes=boxes, score=float(score))

    def replace(self, image: np.ndarray) -> None:
        """Puts an image of the same size and format into the output, in place of this picture."""
        f = self.fragment
        if not f.output:
            raise Error("this processor has no output for pictures: start it with --output alternative or variant")
        if self._answered:
            raise Error("this picture has been replaced or dropped already")
        image = np.ascontiguousarray(image, dtype=np.uint8)
        if image.shape != self.image.shape:
            raise Error(f"the image has the shape {image.shape}, the picture has {self.image.shape}")
        self._answered = True
        f._send(b"P", image, pts=self.pts, duration=self.duration, width=self.width, height=self.height)

    def drop(self) -> None:
        """Leaves this picture out of the output."""
        self._answered = True


class Fragment:
    """Some seconds of a camera. Iterating over it gives a Frame for each picture (mode encoded: a
    Chunk), as it arrives from the camera.

    If the processor has an output for pictures, each frame goes into it as its image is when the
    next one is asked for, unless replace or drop was called. A loop that ends early ends the
    output too. After the loop complete tells whether it has seen everything.
    """

    def __init__(self, pipes: _Pipes, header: dict, hello: dict):
        self._pipes = pipes
        self._key = {"seq": header["seq"], "attempt": header["attempt"]}
        self._reading = True  # frames of this fragment may still come
        self._open = True  # answers are taken
        self._size = (0, 0)
        self.camera: str = header["camera"]
        self.seq: int = header["seq"]
        """The number of the fragment: +1 for each fragment of the camera."""
        self.attempt: int = header["attempt"]
        """1 at the first attempt."""
        self.input: str = header["input"]
        """The rendition that is read: raw is what the camera sent."""
        self.life: str = header["life"]
        """A random name of the camera's footage. seq is unique within it."""
        self.session: int = header["session"]
        self.start: datetime = _time(header["start"])
        """When the fragment starts (UTC)."""
        self.media: int = header["media"]
        """The media time at which it starts, in ticks of TIMESCALE."""
        self.output: str = hello.get("output", "")
        """The rendition for the program's pictures. Empty: there is none."""
        self.keyframe_only: bool = header.get("keyframe_only", False)
        """The processor is behind, and gets only the first picture."""
        self.tracks = [_track(t) for t in header["tracks"]]
        self.complete = False
        self.truncated = False
        """The end is missing. Known after the loop."""
        self.lost = 0
        """Pictures and frames of sound that did not arrive from the camera. Known after the loop."""
        self.duration = 0
        """In ticks of TIMESCALE. Known after the loop."""

    def __iter__(self) -> Iterator[Union[Frame, Chunk]]:
        while self._reading:
            kind, header, payload = self._pipes.read()
            if kind == b"P":
                frame = Frame(self, header, payload)
                self._size = (frame.width, frame.height)
                yield frame
                if self.output and not frame._answered:
                    frame.replace(frame.image)
            elif kind == b"C":
                yield _chunk(header, payload)
            else:
                self._ended(kind, header)

    def event(self, type: str, value: float = 0.0, start: Optional[datetime] = None, end: Optional[datetime] = None,
              boxes: Iterable[Union[Box, tuple]] = (), data: Any = None) -> None:
        """Tells an event. Give it a type, such as "person".

        start and end are times with a time zone, such as Frame.time. They default to those of the
        fragment. value is its peak, by the program's own measure; boxes say where it was; data is
        anything that JSON can hold.
        """
        if not type:
            raise Error("an event needs a type")
        fields: dict = {"type": type, "value": float(value)}
        for name, t in (("start", start), ("end", end)):
            if t is not None:
                if t.tzinfo is None:
                    raise Error(f"the {name} of the event has no time zone")
                fields[name] = t.isoformat()
        boxes = [self._box(b, *self._size) for b in boxes]
        if boxes:
            fields["boxes"] = boxes
        if data is not None:
            fields["data"] = data
        self._send(b"V", **fields)

    def note(self, note: Any) -> None:
        """Sets what a timeline shows of the fragment: anything that JSON can hold in 1 KiB. It
        defaults to the events."""
        self._send(b"N", note=note)

    def _box(self, box: Union[Box, tuple], width: int, height: int) -> dict:
        b = Box(*box)
        if not width:
            raise Error("boxes need a picture: read the fragment's frames first")
        x, y, w, h = float(b.x), float(b.y), float(b.width), float(b.height)
        left, top = min(max(x, 0), width), min(max(y, 0), height)
        right, bottom = min(max(x + w, left), width), min(max(y + h, top), height)
        d = {"x": left / width, "y": top / height, "w": (right - left) / width, "h": (bottom - top) / height}
        if b.label:
            d["label"] = str(b.label)
        if b.score:
            d["score"] = float(b.score)
        return d

    def _send(self, kind: bytes, payload: Optional[np.ndarray] = None, **fields: Any) -> None:
        if not self._open:
            raise Error(f"the work on fragment {self.seq} has ended; say everything before the function returns")
        self._pipes.write(kind, {**self._key, **fields}, payload)

    def _ended(self, kind: bytes, header: dict) -> None:
        if kind != b"E":
            raise _Broken(f"a frame {kind!r} within a fragment")
        self._reading = False
        self.complete = header["complete"]
        self.truncated = header.get("kind") == "truncated"
        self.lost = header.get("lost_units", 0)
        self.duration = header.get("duration", 0)

    def _close(self, kind: bytes, **fields: Any) -> None:
        """Ends the answers, and reads what is left of the fragment."""
        self._send(kind, **fields)
        self._open = False
        while self._reading:
            kind, header, _ = self._pipes.read()
            if kind not in (b"P", b"C"):
                self._ended(kind, header)


def run(handler: Callable[[Fragment], Any]) -> None:
    """Calls handler with each fragment, until Framelog ends the program.

    An exception of handler is written to standard error, and this attempt to process the fragment
    has failed. Then the next fragment comes, perhaps the same one again. Load models before run is
    called: until then, Framelog counts the program as starting.

    Raises Error if the program was not started by Framelog.
    """
    try:
        _run(_Pipes(), handler)
    except _Ended:
        pass


def _run(pipes: _Pipes, handler: Callable[[Fragment], Any]) -> None:
    kind, hello, _ = pipes.read()
    if kind != b"H":
        raise _Broken(f"a frame {kind!r}, where hello is wanted")
    pipes.write(b"R", {"version": VERSION})
    while True:
        kind, header, _ = pipes.read()
        if kind != b"F":
            raise _Broken(f"a frame {kind!r}, where a fragment begins")
        fragment = Fragment(pipes, header, hello)
        answer = {}
        try:
            handler(fragment)
        except Exception as e:
            traceback.print_exc()
            answer["error"] = "".join(traceback.format_exception_only(type(e), e)).strip()[:1000]
        fragment._close(b"X" if answer else b"O", **answer)
        sys.stdout.flush()


class _Ended(BaseException):
    """Framelog has closed the pipes. No handler catches this by mistake."""


class _Broken(BaseException):
    """The other side does not follow the protocol."""


class _Pipes:
    """The two pipes to Framelog."""

    def __init__(self) -> None:
        try:
            version, self._in, self._out = (int(os.environ["FRAMELOG_EXEC_" + k]) for k in ("VERSION", "IN", "OUT"))
        except (KeyError, ValueError):
            raise Error("start this program with Framelog: framelog process exec --name NAME -- python3 PROGRAM.py") from None
        if version != VERSION:
            raise Error(f"this module speaks version {VERSION} of the protocol, Framelog {version}; use the module of this Framelog")
        for fd in (self._in, self._out):
            os.set_inheritable(fd, False)
        self._buffers: list = []
        self._unheld = _holders([np.empty(1)])[0]

    def read(self) -> tuple:
        """Returns kind, header and payload of the next frame; the payload of a picture as an array."""
        magic, version, kind, length, size = _HEAD.unpack(self._fill(bytearray(_HEAD.size)))
        if magic != b"FL" or version != VERSION:
            raise _Broken("no frame of the protocol")
        header = json.loads(self._fill(bytearray(length)))
        if kind == b"P":
            return kind, header, self._fill(self._buffer(size)).reshape(_shape(header))
        return kind, header, self._fill(bytearray(size)) if size else b""

    def _buffer(self, size: int) -> np.ndarray:
        """Returns memory for a picture: that of an earlier one which nobody has any more, since new
        memory costs the system as much as the picture itself."""
        for b, holders in zip(self._buffers, _holders(self._buffers)):
            if b.size == size and holders == self._unheld:
                return b
        # Two: a loop has the frame before while it asks for the next one.
        self._buffers = [*self._buffers[-1:], np.empty(size, np.uint8)]
        return self._buffers[-1]

    def _fill(self, buffer):
        view, n = memoryview(buffer), 0
        while n < len(view):
            got = os.readv(self._in, [view[n:]])
            if not got:
                raise _Ended
            n += got
        return buffer

    def write(self, kind: bytes, header: dict, payload: Optional[np.ndarray] = None) -> None:
        text = json.dumps(header, separators=(",", ":"), allow_nan=False, default=_plain).encode()
        if len(text) > _MAX_HEADER:
            raise Error(f"{len(text)} bytes are too much for one answer, at most {_MAX_HEADER} are allowed")
        data = b"" if payload is None else memoryview(payload).cast("B")
        for view in (memoryview(_HEAD.pack(b"FL", VERSION, kind, len(text), len(data)) + text), memoryview(data)):
            while view:
                try:
                    view = view[os.write(self._out, view):]
                except BrokenPipeError:
                    raise _Ended from None


def _holders(arrays: list) -> list:
    """Returns how often each array of a list is referred to, with the references of list and call."""
    return [sys.getrefcount(a) for a in arrays]


def _plain(value: Any) -> Any:
    """Makes numbers and arrays of numpy plain for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be told in JSON")


def _shape(header: dict) -> tuple:
    w, h, format = header["width"], header["height"], header["format"]
    if format == "Gray8":
        return h, w
    if format == "I420":
        return (-1,) if w % 2 or h % 2 else (h * 3 // 2, w)
    return h, w, 3


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def _track(t: dict) -> Track:
    config = base64.b64decode(t.get("config", ""))
    size = t.get("width", 0), t.get("height", 0)
    return Track(t["id"], t["codec"], t["timescale"], config, *size, t.get("sample_rate", 0), t.get("channels", 0))


def _chunk(header: dict, payload: bytes) -> Chunk:
    samples, at = [], 0
    for s in header["samples"]:
        data = bytes(payload[at:at + s["size"]])
        at += s["size"]
        samples.append(Sample(s["track"], s["dts"], s["pts"], s["duration"], s.get("sync", False), data))
    return Chunk(header["index"], samples)
