"""What a zip archive would expand to, known before any of it is read, and the archive anew for torch.

Python and torch read archives by libraries of their own, and a made-up file can show each another list of entries. So
Python's alone reads what comes from elsewhere: what it was asked about is what is read.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path


def entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return what an archive says it holds.

    Raises:
        zipfile.BadZipFile: the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        return archive.infolist()


def check_expanded(found: list[zipfile.ZipInfo], path: Path, *, most: int) -> None:
    """Raise unless what an archive holds is at most so many times as large as its file.

    The sizes that it states hold: readers read no further, and find the sum of the bytes wrong if there are more.
    Entries may share their bytes, so that no ratio of one entry bounds what all of them expand to.
    """
    expanded, size = sum(entry.file_size for entry in found), path.stat().st_size
    if expanded > most * size:
        raise ValueError(f"its {size} bytes expand to {expanded}, over {most} x as many; save it uncompressed")


def written_anew(path: Path) -> io.BytesIO:
    """Return an archive of the same entries, in memory and uncompressed, with nothing around them.

    Raises:
        zipfile.BadZipFile: an entry is damaged.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as anew:
        for name in dict.fromkeys(archive.namelist()):
            anew.writestr(name, archive.read(name))
    copy.seek(0)
    return copy
