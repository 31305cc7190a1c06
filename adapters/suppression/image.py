"""The lists as one file that every process of a machine maps: 9 octets an entry.

    header | offsets of buckets | keys, sorted | reason and categories of each

A key's first bits name its bucket, of about 64 keys; the rest is found by bisection. So a look
touches three pages, whatever the size, and pages that nobody looks at need not be in memory.
The file is written once, under another name, and never changed.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct("<8sQQQ32s")
_MAGIC: Final = b"hermSUP1"
_KEYS_A_BUCKET: Final = 6
"""As a power of two."""
_SPREAD: Final = 10
"""Bits by which `write` sorts into heaps first, to sort each of them by itself."""

NAME: Final = "suppressions-{number:020d}.image"


class Image:
    """A file, mapped. `number` is the version of the lists that it holds at least, `list_id` says
    of which database's. Raises ValueError for a file that is none of ours."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, self.number, self.count, bits, name = _HEADER.unpack_from(self._map)
        offsets = 4 * ((1 << bits) + 2)
        if magic != _MAGIC or len(self._map) != _HEADER.size + offsets + 9 * self.count:
            raise ValueError(f"{path} is no image of suppression lists")
        self.path = path
        self.list_id: str = name.rstrip(b"\0").decode()
        view = memoryview(self._map)
        start = _HEADER.size + offsets
        self._offsets = view[_HEADER.size : start].cast("I")
        self._keys = view[start : start + 8 * self.count].cast("Q")
        self._held = view[start + 8 * self.count :]
        self._shift = 64 - bits

    def find(self, key: int) -> bytes:
        """What is held against a key: an octet for each reason (`domain.suppression.unpacked`)."""
        keys = self._keys
        bucket = key >> self._shift
        end = self._offsets[bucket + 1]
        first = bisect_left(keys, key, self._offsets[bucket], end)
        last = first
        while last < end and keys[last] == key:
            last += 1
        return self._held[first:last].tobytes()


def write(directory: Path, number: int, list_id: str, entries: Iterable[tuple[int, int]]) -> Path:
    """Write the image of `entries` (key, octet), in any order; the octets of one key stay in
    theirs. It is there whole, or not at all. Needs 9 octets of memory an entry, and some."""
    heaps: list[tuple[array[int], bytearray]] = [
        (array("Q"), bytearray()) for _ in range(1 << _SPREAD)
    ]
    for key, octet in entries:
        keys, held = heaps[key >> 64 - _SPREAD]
        keys.append(key)
        held.append(octet)
    count = sum(len(keys) for keys, _ in heaps)
    bits = max(_SPREAD, count.bit_length() - _KEYS_A_BUCKET)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / NAME.format(number=number)
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            name = list_id.encode().ljust(32, b"\0")
            file.write(_HEADER.pack(_MAGIC, number, count, bits, name))
            start = _HEADER.size + 4 * ((1 << bits) + 2)
            file.seek(start)
            octets: list[bytes] = []
            offsets = array("I", [0])
            for place in range(len(heaps)):
                keys, held = _sorted(*heaps[place])
                heaps[place] = (array("Q"), bytearray())
                file.write(keys.tobytes())
                octets.append(bytes(held))
                _append_offsets(offsets, keys, place, bits)
            file.writelines(octets)
            offsets.append(count)
            file.seek(_HEADER.size)
            file.write(offsets.tobytes())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def newest(directory: Path, list_id: str, at_least: int = 0) -> Image | None:
    """The newest image of these lists in a directory, if it is new enough."""
    for path in reversed(_images(directory)):
        try:
            image = Image(path)
        except (OSError, ValueError):
            continue
        if image.list_id == list_id:
            return image if image.number >= at_least else None
    return None


def remove_older(directory: Path, image: Path) -> None:
    """Remove the images before this one; who has one mapped keeps it."""
    for path in _images(directory):
        if path.name < image.name:
            path.unlink(missing_ok=True)


def _images(directory: Path) -> list[Path]:
    return sorted(directory.glob("suppressions-*.image"))


def _sorted(keys: array[int], held: bytearray) -> tuple[array[int], bytearray]:
    """One heap in the order of its keys: stable, so that the octets of a key stay in theirs."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return array("Q", map(keys.__getitem__, order)), bytearray(map(held.__getitem__, order))


def _append_offsets(offsets: array[int], keys: array[int], heap: int, bits: int) -> None:
    """The ends of the buckets of one heap."""
    before = offsets[-1]
    for end in _ends(keys, heap, bits):
        offsets.append(before + end)


def _ends(keys: array[int], heap: int, bits: int) -> Iterator[int]:
    inside = bits - _SPREAD
    for bucket in range(1 << inside):
        following = (heap << inside | bucket) + 1
        yield bisect_left(keys, following << 64 - bits) if following < 1 << bits else len(keys)
