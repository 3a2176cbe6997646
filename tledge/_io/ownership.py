"""Tell whether another account of this machine could have changed a file, and make private folders.

What a cache holds is believed later: photos with their labels, weights, a network that TensorFlow runs. So
only files of this account and of root count, in folders that no other account may write into. Windows keeps
these permissions elsewhere: nothing is checked there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tledge._io import folder_guard, resource_errors
from tledge.errors import ResourceError

TRUST = "TLEDGE_TRUST_LOCAL_USERS"
"""Environment variable: "1" trusts all accounts of this machine, where nobody else uses it."""

FOLDER_MODE, FILE_MODE = 0o700, 0o600

_MOST_PARTS = 255
"""Parts of a path, and of the links in it, that are followed."""


def this_account() -> int | None:
    """Return the number of the account that this process acts for; None where nothing is to be checked."""
    if os.environ.get(TRUST) == "1" or not hasattr(os, "geteuid"):
        return None
    return os.geteuid()


def fault(path: Path, *, sticky: bool = False, closed: bool = False) -> str:
    """Say why another account could have changed a file, folder or link; return "" where none could.

    Args:
        path: what to look at; a link is not followed.
        sticky: accept a folder like /tmp, in which everybody makes files and changes only their own.
        closed: it lies in a folder that nobody else may enter, so that its own permissions do not count.

    Raises:
        OSError: there is nothing at `path`, or it cannot be looked at.
    """
    account, facts = this_account(), path.lstat()
    if account is None:
        return ""
    if facts.st_uid not in (account, 0):
        return f"belongs to {_account_name(facts.st_uid)}"
    if closed or stat.S_ISLNK(facts.st_mode) or (sticky and facts.st_mode & stat.S_ISVTX):
        return ""
    by_group = facts.st_mode & stat.S_IWGRP and not _is_own_group(facts.st_gid, account)
    if by_group or facts.st_mode & stat.S_IWOTH:
        return f"may be changed by other accounts ({stat.filemode(facts.st_mode)})"
    return ""


def fault_within(folder: Path) -> str:
    """Say why another account could have changed a folder or something in it; return "" where none could.

    A link in the folder, or anything else that is neither file nor folder, is such a reason as well.
    """
    if this_account() is None:
        return ""
    if reason := fault(folder) or ("is a link" if folder.is_symlink() else ""):
        return reason
    closed = not folder.lstat().st_mode & (stat.S_IXGRP | stat.S_IXOTH)
    for entry in folder_guard.walk(folder):
        reason = fault(entry.path, closed=closed)
        if not reason and not (entry.is_file or entry.is_folder):
            reason = f"is no file ({stat.filemode(entry.mode)})"
        if reason:
            return f"its {entry.name} {reason}"
    return ""


def fault_on_the_way(path: Path) -> str:
    """Say which folder or link on the way to `path`, or at it, another account could exchange, and why."""
    for place in dict.fromkeys(_places(path)):
        with suppress(FileNotFoundError, NotADirectoryError):
            if reason := fault(place, sticky=True):
                return f"{place} {reason}"
    return ""


def require_own(path: Path, what: str, advice: str) -> None:
    """Raise ResourceError where another account could exchange `path`, which holds `what`.

    That is so where it may write into a folder above it as well.
    """
    try:
        reason = fault_on_the_way(path)
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, path)) from error
    if reason:
        raise ResourceError(
            f"{path}: {reason}, so another account of this machine could exchange {what}. Take that "
            f"permission away (chmod go-w), {advice}, or set {TRUST}=1 where you trust every account of "
            "this machine."
        )


def make_private(folder: Path) -> None:
    """Create a folder and the missing ones above it, for this account alone; leave existing ones alone."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for place in reversed(missing):
        place.mkdir(FOLDER_MODE, exist_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file, one that is created for this account alone: the `opener` of `open`."""
    return os.open(path, flags, FILE_MODE)


def remove_of_others(folder: Path) -> str:
    """Remove a folder that another account could have changed; return why, "" where it stays.

    Raises:
        ResourceError: it cannot be removed, as in a folder like /tmp.
    """
    try:
        reason = fault_within(folder)
    except FileNotFoundError:
        return ""
    except OSError as error:
        reason = f"cannot be looked at ({error.strerror})"
    if not reason:
        return ""
    aside = folder.with_name(f".{folder.name[:32]}.removed-{os.urandom(8).hex()}")
    try:
        os.rename(folder, aside)  # what belongs to others cannot be emptied, but it can be moved aside
    except OSError as error:
        raise ResourceError(
            f"{folder}: {reason}, so it is not used, and it cannot be removed ({error.strerror}). Remove it "
            f"(rm -r {shlex.quote(str(folder))}), or set TLEDGE_CACHE to a folder of your own."
        ) from error
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink()
    return reason


def _places(path: Path) -> Iterator[Path]:
    """Yield every folder and link that is looked up on the way to `path`, and `path` itself."""
    parts = list(path.absolute().parts)
    place = Path(parts.pop(0))
    yield place
    for _ in range(_MOST_PARTS):
        if not parts:
            return
        part = parts.pop(0)
        place = place.parent if part == ".." else place / part
        yield place
        if place.is_symlink():
            target = place.parent / os.readlink(place)
            parts = [*target.parts[1:], *parts]
            place = Path(target.anchor)


def _account_name(number: int) -> str:
    with suppress(ImportError, KeyError):
        import pwd

        return f"{pwd.getpwuid(number).pw_name} (account {number})"
    return f"account {number}"


def _is_own_group(number: int, account: int) -> bool:
    """Tell whether a group has no other member: root's, or one that has the account's own name."""
    if number == 0:
        return True
    with suppress(ImportError, KeyError):
        import grp
        import pwd

        name, group = pwd.getpwuid(account).pw_name, grp.getgrgid(number)
        return group.gr_name == name and set(group.gr_mem) <= {name}
    return False
