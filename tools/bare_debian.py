"""Run README's two commands in a root file system that holds Debian's base, Python, venv and make only.

    sudo python3 tools/bare_debian.py                        # make demo, make test; an hour on two cores
    sudo python3 tools/bare_debian.py "make demo"            # these commands instead
    sudo python3 tools/bare_debian.py --without-venv "make demo"   # has to end with 2 and name python3-venv

The root file system is made by mmdebstrap of this machine's apt sources, and kept in --folder. The working
tree (what git would commit) is copied into it. pip's settings and certificates of this machine go along,
since pip needs the same index. Needs Linux, root and mmdebstrap (sudo apt-get install mmdebstrap).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("make demo", "make test")
HOME = "home/tledge"
MADE = (".venv", ".cache", "runs")
"""What earlier commands left in the copied tree."""

PACKAGES = ("python3", "make")
PIP = ("/etc/pip.conf", "/etc/hosts", "/etc/resolv.conf")
"""Files of this machine without which pip reaches no index."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOUNT = """\
mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" || exit 1
for folder in $BIND; do mkdir -p "$1$folder" && mount --rbind "$folder" "$1$folder" || exit 1; done
exec chroot "$1" setsid --wait sh -c "cd '/$2' && $3"
"""


def make_root(folder: Path, packages: tuple[str, ...]) -> None:
    """Unpack and configure Debian's essential packages, apt, and `packages` with what they depend on."""
    if not shutil.which("mmdebstrap"):
        sys.exit("mmdebstrap is not here: sudo apt-get install mmdebstrap")
    folder.parent.mkdir(parents=True, exist_ok=True)
    release = _output("sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"').strip()
    sources = sorted(map(str, Path("/etc/apt").glob("sources.list.d/*.sources"))) or ["/etc/apt/sources.list"]
    included = f"--include={','.join(packages)}"
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", included, release, str(folder), *sources]
    subprocess.run(command, check=True)


def copy_tree(target: Path) -> None:
    """Copy what git tracks and new files that it does not ignore; keep what make made there before."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if path.name not in MADE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    listed = _output("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def pip_environment(root: Path) -> dict[str, str]:
    """Return the environment of commands in `root`; copy files there that it and pip's settings name."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "WORKERS")
    }
    user = (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf")
    for path in (*map(Path, PIP), *user, *map(Path, kept.values())):
        if path.is_absolute() and path.exists():
            copied = root / path.relative_to("/")
            copied.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copied, **_replacing(path))
    return {**kept, "PATH": PATH, "HOME": str(Path.home()), "LANG": "C.UTF-8"}


def _replacing(path: Path) -> dict[str, bool]:
    return {"dirs_exist_ok": True} if path.is_dir() else {}


def run(root: Path, command: str, environment: dict[str, str]) -> int:
    """Run a command in the copied tree, with /proc and /dev, in its own namespaces; return its exit code."""
    started = time.monotonic()
    inside = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", MOUNT, "sh", str(root), HOME, command]
    code = subprocess.run(inside, env=environment, check=False).returncode
    print(f"{command}: exit {code} after {time.monotonic() - started:.0f} s", flush=True)
    return code


def main() -> int:
    """Run the commands that the command line names; the exit code is that of the first that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commands", nargs="*", default=COMMANDS, help="[make demo, make test]")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "bare-debian", help="[%(default)s]")
    parser.add_argument(
        "--bind", nargs="+", default=(), help="folders to show inside, such as a package index"
    )
    parser.add_argument("--without-venv", action="store_true", help="leave python3-venv out")
    given = parser.parse_args()
    packages = PACKAGES if given.without_venv else (*PACKAGES, "python3-venv")
    root = given.folder.absolute() / "-".join(packages)
    if not (root / "etc/debian_version").is_file():
        shutil.rmtree(root, ignore_errors=True)
        make_root(root, packages)
    copy_tree(root / HOME)
    environment = pip_environment(root) | {"BIND": " ".join(given.bind)}
    for command in given.commands:
        if code := run(root, command, environment):
            return code
    return 0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
