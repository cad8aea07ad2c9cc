"""What tests ask of processes that others started."""

from pathlib import Path


def runs(pid: int) -> bool:
    """Return whether a process is there and does more than wait for its parent to hear of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
