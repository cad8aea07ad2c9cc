"""Pickles that would take the machine's memory, its time or the stack are refused before torch reads them."""

from __future__ import annotations

import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BYTES = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xc8\x17\xa8\x04\x85R."
DOUBLED = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
KEY = b"\x80\x02" + DOUBLED + b"}h\x3cJ\1\0\0\0s."
DEEP = b"\x80\x02})" + b"\x85" * 3_000_000 + b"J\1\0\0\0s."
LARGE_INTS = b"".join(b"\x8a\x0a" + ((2**61 - 1) * n).to_bytes(10, "little") + b"K\1" for n in range(1, 50_000))
BOMBS = {
    "bytes": BYTES,
    "hashed for ever": KEY,
    "too deep": DEEP,
    "bytes of another name": BYTES.replace(b"__builtin__", b"builtins"),
    "in a set": b"\x80\x02cbuiltins\nset\n]" + DOUBLED + b"0" * 0 + b"(h\x3ce\x85R.",
    "counted": b"\x80\x02" + DOUBLED + b"0" * 60 + b"ccollections\nCounter\n](h\x3ce\x85R.",
    "in an ordered dictionary": b"\x80\x02" + DOUBLED + b"ccollections\nOrderedDict\n](h\x3cK\1\x86e\x85R.",
    "an item of many": b"\x80\x02" + DOUBLED + b"}(h\x3cK\1u.",
    "called by torch": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nbytearray\nctorch\nTensor\n"
    b"\x8a\x05\x00\xc8\x17\xa8\x04\x85}tR.",
    "a tensor of a size": b"\x80\x02ctorch\nTensor\n\x8a\x05\x00\xc8\x17\xa8\x04\x85R.",
    "a storage of a size": b"\x80\x02ctorch.storage\nUntypedStorage\n\x8a\x05\x00\xc8\x17\xa8\x04\x85R.",
    "a new tensor of a size": b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\x00\xc8\x17\xa8\x04\x85\x81.",
    "numbers of one hash": b"\x80\x02}(" + LARGE_INTS + b"u.",
    "doubled lists": b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b".",
    "a size as a name": b"\x80\x02}ctorch\nSize\n)\x85R(K\1" + b"." ,
    "nothing there": b"\x80\x02\x85.",
}  # fmt: skip
BOUND = """
import resource, sys
from pathlib import Path
import torch
from attnbench.errors import DataError
from attnbench.models.tensors import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read(path)
        print(path.name, "READ")
    except DataError as error:
        assert len(str(error)) < 1000 and "\\n" not in str(error).strip(), error
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def zipped(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", b"3\n")


def test_no_pickle_takes_memory_time_or_the_stack(tmp_path: Path) -> None:
    legacy = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."
    for name, content in BOMBS.items():
        (tmp_path / f"{name}.bare").write_bytes(content)
        (tmp_path / f"{name}.legacy").write_bytes(legacy + content + b"\x80\x02]q\x00.")
        zipped(tmp_path / f"{name}.zip", content)
    done = subprocess.run(
        [sys.executable, "-c", BOUND, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (120, 120)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *read, grown_kib = done.stdout.splitlines()
    assert read == []
    assert int(grown_kib) < 1 << 20


@pytest.mark.parametrize("name", ["bytes", "hashed for ever", "too deep"])
def test_what_is_wrong_is_said(name: str, tmp_path: Path) -> None:
    from attnbench.errors import DataError
    from attnbench.models.tensors import read

    (tmp_path / "a.pth").write_bytes(BOMBS[name])
    said = {
        "bytes": "bytes of a length that is asked for and not there",
        "hashed for ever": "more than 10000000 objects, each as often as it is there",
        "too deep": "objects within more than 100 others",
    }
    with pytest.raises(
        DataError, match=rf"a\.pth is damaged, or no checkpoint in PyTorch's legacy format: {said[name]}"
    ):
        read(tmp_path / "a.pth")
