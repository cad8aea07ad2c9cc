"""Virtual machines that mount a folder of this one over NFS: kernels, host names, caches and clocks of their own.

Wanted are root, qemu-system-x86, nfs-ganesha-vfs, nfs-common, busybox-static, kmod and cpio of Debian, and in
ATTNBENCH_KERNEL the folder into which a kernel was unpacked: ``apt-get download linux-image-VERSION-amd64``, then
``dpkg -x linux-image-*.deb FOLDER``. The machines see this one's files read-only, Python and what it has installed
among them; processors are emulated, so that any host does, and a machine takes a minute to be there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

MOUNTED = Path("/tmp/shared")
"""Where a machine has the folder."""
_PROGRAMS = ("qemu-system-x86_64", "ganesha.nfsd", "mount.nfs4", "modprobe", "depmod", "cpio")
_MODULES = ("virtio_pci", "virtio_net", "virtio_rng", "9pnet_virtio", "9p", "nfsv4")
_KERNEL = "ATTNBENCH_KERNEL"
_EXPORT = """
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Enable_NLM = false; Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }}
NFSV4 {{ Graceless = true; RecoveryBackend = fs; }}
EXPORT {{ Export_Id = 1; Path = {folder}; Pseudo = /shared; Access_Type = RW; Squash = No_root_squash; Protocols = 4;
         SecType = sys; FSAL {{ Name = VFS; }} }}
"""
_INIT = f"""#!/bin/busybox sh
on() {{ /bin/busybox "$@"; }}
on mount -t proc proc /proc; on mount -t sysfs sys /sys; on mount -t devtmpfs dev /dev
for module in $(on cat /modules); do on insmod /lib/modules/$module; done
on mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host
on ip link set lo up; on ip addr add 10.0.2.15/24 dev eth0; on ip link set eth0 up
for each in proc sys dev; do on mount -o bind /$each /host/$each; done
on mount -t tmpfs tmp /host/tmp; on mount -t tmpfs run /host/run; on mkdir /host{MOUNTED}
said() {{ on sed "s/.*$1=//; s/ .*//" /proc/cmdline; }}
on hostname $(said guest)
on chroot /host mount.nfs4 10.0.2.2:/shared {MOUNTED} -o vers=4.1,port=$(said nfsport) &&
    on chroot /host /bin/sh $(said script)
on poweroff -f
"""


def why_not() -> str:
    """Return why there can be no such machines here; empty if there can."""
    if sys.platform != "linux" or os.geteuid():
        return "an NFS server wants root on Linux"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or not Path("/bin/busybox").exists():
        return f"not installed: {', '.join(missing or ['busybox'])}"
    if any(Path("/tmp") in Path(each).resolve().parents for each in (__file__, sys.executable)):
        return "machines have a /tmp of their own, and this project or its Python is below this one's"
    return "" if _kernels() else f"no kernel is unpacked in a folder that {_KERNEL} names"


def _kernels() -> list[Path]:
    folder = os.environ.get(_KERNEL)
    return sorted(Path(folder).glob("boot/vmlinuz-*")) if folder else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What starts machines that share a folder."""

    folder: Path
    """As this machine sees it."""
    port: int
    kernel: Path
    initial: Path
    """The first root file system."""

    def start(self, name: str, script: str, *, hours: float = 0.0) -> Machine:
        """Start a machine.

        Args:
            name: of the host.
            script: what its shell does once the folder is mounted; the machine ends with it.
            hours: by how many its clock is ahead.
        """
        program = self.initial.with_name(f"{name}.sh")
        program.write_text(script)
        clock = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")
        said = f"console=ttyS0 quiet panic=-1 guest={name} nfsport={self.port} script={program} end"
        log = self.initial.with_name(f"{name}.log")
        with log.open("wb") as printed:
            process = subprocess.Popen(
                [
                    *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1200", "-nographic", "-no-reboot"),
                    *("-kernel", str(self.kernel), "-initrd", str(self.initial), "-append", said),
                    *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
                    *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
                    *("-device", "virtio-rng-pci", "-rtc", f"base={clock}"),
                ],
                stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return Machine(process=process, log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that was started."""

    process: subprocess.Popen[bytes]
    log: Path
    """What its console shows."""

    def lose_power(self) -> None:
        """End it between two instructions."""
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def stand_still(self) -> Iterator[None]:
        """Let no time pass in it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def sharing(folder: Path) -> Iterator[Machines]:
    """Serve a folder by NFS 4.1, and yield what starts machines that have it."""
    kernel = _kernels()[-1]
    # Not below /tmp, which the machines have their own of.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made, contextlib.ExitStack() as ends:
        here = Path(made)
        initial = _initial(here, kernel)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        settings = here / "ganesha.conf"
        settings.write_text(_EXPORT.format(port=port, folder=folder))
        for needed in ("/var/run/ganesha", "/var/lib/nfs/ganesha"):
            Path(needed).mkdir(parents=True, exist_ok=True)
        asked = ["ganesha.nfsd", "-F", "-f", settings, "-L", here / "ganesha.log", "-p", here / "ganesha.pid"]
        server = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends.callback(server.wait)
        ends.callback(server.kill)
        _await(port, server)
        yield Machines(folder=folder, port=port, kernel=kernel, initial=initial)


def _initial(here: Path, kernel: Path) -> Path:
    """Make the first root file system: a shell, the modules that mount what it needs, and what to do."""
    release, root = kernel.name.removeprefix("vmlinuz-"), here / "root"
    unpacked = kernel.parents[1]
    subprocess.run(["depmod", "-b", unpacked, release], check=True)
    for name in ("bin", "proc", "sys", "dev", "host", "lib/modules"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    files = dict[str, str]()
    for module in _MODULES:
        asked = ["modprobe", "-d", unpacked, "-S", release, "--show-depends", module]
        told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        files |= {Path(path).name: path for kind, path in map(str.split, told.splitlines()) if kind == "insmod"}
    for name, path in files.items():
        shutil.copy(path, root / "lib" / "modules" / name)
    (root / "modules").write_text("\n".join(files))
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    listed = "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))
    initial = here / "initial.cpio"
    with initial.open("wb") as archive:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=listed.encode(), stdout=archive, check=True
        )
    return initial


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError("the NFS server does not answer")
