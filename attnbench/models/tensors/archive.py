"""What a zip archive would expand to, known before any of it is read.

torch reads archives by another library than Python's. What Python's says of an archive holds for both if they cannot
find different lists of entries, so archives with room for two are refused; no writer of checkpoints makes such.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

_END, _END64, _LOCATOR64 = 22, 56, 20
"""Bytes of the records at the end of an archive: its end, the same for large archives, and where that one is."""


def entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return what an archive says it holds.

    Raises:
        ValueError: something follows the archive, or its end names a list of entries that does not lie before it.
        zipfile.BadZipFile: the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        found, begin = archive.infolist(), archive.start_dir
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(-min(size, _END64 + _LOCATOR64 + _END), 2)
        tail = file.read()
    end, locator, end64 = tail[-_END:], tail[-_END - _LOCATOR64 : -_END], tail[: -_END - _LOCATOR64]
    begins = {struct.unpack("<16xI2x", end)[0]} - {0xFFFFFFFF}
    if locator.startswith(b"PK\x06\x07"):
        begins.add(struct.unpack("<48xQ", end64)[0])
        if struct.unpack("<8xQ4x", locator)[0] != size - len(tail):
            raise ValueError("an archive with two ends")
    if not end.startswith(b"PK\x05\x06") or begins != {begin}:
        raise ValueError("an archive with bytes behind or before it")
    return found


def check_expanded(found: list[zipfile.ZipInfo], path: Path, *, most: int) -> None:
    """Raise unless what an archive holds is at most so many times as large as its file.

    The sizes that it states hold: readers read no further, and find the sum of the bytes wrong if there are more.
    Entries may share their bytes, so that no ratio of one entry bounds what all of them expand to.
    """
    expanded, size = sum(entry.file_size for entry in found), path.stat().st_size
    if expanded > most * size:
        raise ValueError(f"its {size} bytes expand to {expanded}, over {most} x as many; save it uncompressed")
