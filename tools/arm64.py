"""An ARM64 Debian userland to run programs in: emulated, without root, chroot or binfmt.

The packages come from the apt sources of this machine (Debian, or one that knows `arm64`), the
wheels from its package index at the versions of `constraints.txt`. Emulated times say nothing
about a device; the numbers that programs compute do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tledge._io import atomic
from tledge.errors import MissingError

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
EMULATOR = "qemu-aarch64-static"
MULTIARCH = "aarch64-linux-gnu"
COMPILER = f"{MULTIARCH}-g++"
WHEELS = ("ai-edge-litert", "numpy", "pillow")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27")
ROOTS = ("libpython{}-stdlib", "python{}-minimal", "libpython{}-minimal", "libstdc++6")
"""Packages that are unpacked together with those they depend on; {} is Debian's Python version."""

HEADERS = (
    "libjpeg62-turbo", "libjpeg62-turbo-dev", "libpng16-16", "libpng-dev", "zlib1g-dev",
    "libssl3", "libssl-dev",
)  # fmt: skip
"""Packages that `export/cpp` is built with; nlohmann-json is the same for every architecture."""

APT_CONF = """\
Dir::State "{0}";
Dir::State::lists "{0}/lists";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
APT::Sandbox::User "{1}";
APT::Architecture "{2}";
APT::Architectures {{ "{2}"; "arm64"; }};
"""

CORES = "".join(
    f"""\
processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
    for number in range(os.cpu_count() or 1)
)
"""`/proc/cpuinfo` of a Cortex-A72. LiteRT asks it for features, and crashes on one that is x86's."""


@dataclass(frozen=True)
class Userland:
    """`root` is the system, `site` the wheels, `emulator` the program that runs them."""

    root: Path
    site: Path
    emulator: Path

    @property
    def python(self) -> Path:
        return next(path for path in (self.root / "usr/bin").glob("python3.*") if path.stem == "python3")

    def run(self, program: str | Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run an ARM64 program, `python` being the userland's, and give what it printed and its exit code.

        Never `-cpu max`: it announces instructions that the emulator computes otherwise than a processor.
        """
        file = self.python if program == "python" else program
        command = [self.emulator, "-cpu", "cortex-a72", file, *arguments]
        return subprocess.run(
            command, cwd=cwd, env=self._environment(), text=True, capture_output=True, check=False
        )

    def cmake(self, project: Path) -> Path:
        """Build a CMake project for the board with this machine's cross compiler; gives its build folder.

        Raises MissingError where the compiler is not here or the project does not build.
        """
        if not shutil.which(COMPILER):
            raise MissingError(f"{COMPILER} is not here: sudo apt-get install g++-aarch64-linux-gnu")
        build = project / "build"
        board = (
            "CMAKE_SYSTEM_NAME=Linux",
            "CMAKE_SYSTEM_PROCESSOR=aarch64",
            f"CMAKE_CXX_COMPILER={COMPILER}",
        )
        only = [f"CMAKE_FIND_ROOT_PATH_MODE_{kind}=ONLY" for kind in ("INCLUDE", "LIBRARY", "PACKAGE")]
        library = f"LITERT_LIBRARY={self.site / 'ai_edge_litert' / 'libLiteRt.so'}"
        headers = f"CMAKE_CXX_FLAGS=-isystem {self.root}/usr/include/{MULTIARCH}"
        needed = f"CMAKE_EXE_LINKER_FLAGS=-Wl,-rpath-link,{self.root}/lib/{MULTIARCH}"
        options = [*board, *only, f"CMAKE_FIND_ROOT_PATH={self.root}", headers, needed, library]
        _output(["cmake", "-S", str(project), "-B", str(build), *(f"-D{one}" for one in options)])
        _output(["cmake", "--build", str(build), "--parallel"])
        return build

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
        return kept | {
            "QEMU_LD_PREFIX": str(self.root),
            "PYTHONHOME": str(self.root / "usr"),
            "PYTHONPATH": str(self.site),
        }


def userland(cache: Path) -> Userland:
    """Return the userland in the folder `cache`, set up there if this version of it is missing.

    Raises MissingError where a tool, a package or a wheel cannot be had.
    """
    folder = cache.absolute() / _version()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with atomic.replacing(folder) as made:
                _set_up(made)
    return Userland(folder / "root", folder / "site", folder / EMULATOR)


def _version() -> str:
    """Name all that the userland is made of, so that a cached one is not taken for another."""
    parts = (Path(__file__).read_bytes(), *(pin.encode() for pin in _pins()))
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:12]


def _pins() -> list[str]:
    lines = CONSTRAINTS.read_text().splitlines()
    return [line for line in lines if line.split("==")[0] in WHEELS]


def _set_up(folder: Path) -> None:
    host = _output(["dpkg", "--print-architecture"]).strip()
    apt = _apt(folder / "apt", host)
    _output(["apt-get", "update", "-q"], apt)
    python = _default_python(apt)
    roots = [f"{name.format(python)}:arm64" for name in ROOTS]
    _unpack(_with_depends(roots, apt) | _headers(), folder / "root", apt)
    _unpack([f"qemu-user-static:{host}"], folder / "emulators", apt)
    os.replace(folder / "emulators/usr/bin" / EMULATOR, folder / EMULATOR)
    for used in ("emulators", "apt"):
        shutil.rmtree(folder / used)
    (folder / "root/proc").mkdir()
    (folder / "root/proc/cpuinfo").write_text(CORES)
    _install_wheels(folder / "site", python)


def _apt(folder: Path, host: str) -> dict[str, str]:
    """Environment of an apt that keeps its lists and packages in `folder` and installs nothing."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    user = _output(["id", "--user", "--name"]).strip()
    (folder / "apt.conf").write_text(APT_CONF.format(folder, user, host))
    return {"APT_CONFIG": str(folder / "apt.conf")}


def _default_python(apt: Mapping[str, str]) -> str:
    found = re.search(
        r"Depends: python(3\.\d+):arm64", _output(["apt-cache", "depends", "python3:arm64"], apt)
    )
    if not found:
        raise MissingError("apt knows no Python for arm64. Its sources have to offer that architecture.")
    return found[1]


def _with_depends(packages: Iterable[str], apt: Mapping[str, str]) -> set[str]:
    """List packages and what they depend on; the next level brings nothing that is loaded."""
    listed = _output(["apt-cache", "depends", "--important", *packages], apt)
    return {*packages, *re.findall(r"^ +(?:Pre)?Depends: ([\w.+-]+:arm64)$", listed, re.MULTILINE)}


def _headers() -> set[str]:
    return {"nlohmann-json3-dev", *(f"{name}:arm64" for name in HEADERS)}


def _unpack(packages: Iterable[str], folder: Path, apt: Mapping[str, str]) -> None:
    """Download packages (apt checks signatures and hashes) and unpack them below `folder`."""
    debs = folder.parent / "apt" / folder.name
    debs.mkdir()
    _output(["apt-get", "download", "-q", *sorted(packages)], apt, debs)
    for deb in sorted(debs.glob("*.deb")):
        _output(["dpkg", "-x", str(deb), str(folder)])


def _install_wheels(folder: Path, python: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheels = ["--no-deps", "--only-binary=:all:", "--python-version", python]
    platforms = [f"--platform={name}_aarch64" for name in PLATFORMS]
    _output([*pip, *wheels, *platforms, "--target", str(folder), *_pins()])


def _output(command: list[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Return what a command prints; raises MissingError where it is not here or fails."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise MissingError(f"{command[0]} is not here; this needs Debian's apt and dpkg.") from error
    if done.returncode:
        raise MissingError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    return done.stdout
