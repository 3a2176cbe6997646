"""Serve a folder as a disk with faults, through /dev/fuse: `python -m torture.workers.odd_disk`.

Names differ in letters and their case only where `ignore_case` is off, as on the disks of macOS and Windows.
Where the file `faults` says so, operations fail with EIO, as on a disk that is dying: it holds JSON,
`{"operation": "read", "after": 3}`. The protocol is that of the kernel's include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import stat
import struct
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

REQUEST, REPLY = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
LARGEST_WRITE = 1 << 17
ROOT = 1
NOSUID_NODEV = 2 | 4
SIZE, MODE, FILE_HANDLE = 1 << 3, 1 << 0, 1 << 6
TIMES, MTIME = (1 << 4) | (1 << 5), 1 << 5


def _text(data: bytes) -> str:
    return os.fsdecode(data.split(b"\0", 1)[0])


def _times(status: os.stat_result) -> tuple[int, ...]:
    moments = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    return (*(ns // 10**9 for ns in moments), *(ns % 10**9 for ns in moments))


def _attributes(status: os.stat_result) -> bytes:
    times = _times(status)
    return ATTRIBUTES.pack(
        status.st_ino, status.st_size, status.st_blocks, *times, status.st_mode, status.st_nlink,
        status.st_uid, status.st_gid, 0, 4096, 0,
    )  # fmt: skip


class Disk:
    """A folder as the kernel asks for it: nodes are numbers of paths below `top`."""

    def __init__(self, top: str, faults: str, ignore_case: bool) -> None:
        self.top, self.faults, self.ignore_case = top, faults, ignore_case
        self.paths = {ROOT: ""}
        self.counts: dict[str, int] = {}
        self.read_at = 0
        self.fault: dict[str, object] = {}
        self.answers: dict[int, tuple[str, Callable[[int, bytes], bytes]]] = {
            1: ("lookup", self.lookup), 3: ("attributes", self.attributes), 4: ("change", self.change),
            5: ("readlink", lambda node, _data: os.fsencode(os.readlink(self.at(node)))),
            6: ("symlink", self.symlink), 9: ("mkdir", self.mkdir), 10: ("unlink", self.unlink),
            11: ("rmdir", self.rmdir), 12: ("rename", self.rename), 13: ("link", self.link),
            14: ("open", self.open), 15: ("read", self.read), 16: ("write", self.write),
            17: ("statfs", self.statfs), 18: ("release", self.release), 20: ("fsync", self.fsync),
            25: ("flush", lambda _node, _data: b""), 26: ("init", self.init),
            27: ("opendir", lambda _node, _data: struct.pack("<QII", 0, 0, 0)), 28: ("readdir", self.readdir),
            29: ("releasedir", lambda _node, _data: b""), 30: ("fsyncdir", lambda _node, _data: b""),
            34: ("access", lambda _node, _data: b""), 35: ("create", self.create),
            43: ("allocate", self.allocate), 45: ("rename", self.rename2),
        }  # fmt: skip

    def serve(self, device: int) -> None:
        """Answer requests until the disk is unmounted."""
        while True:
            try:
                request = os.read(device, LARGEST_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise
            _length, operation, unique, node, *_caller = REQUEST.unpack_from(request)
            if operation in (2, 36, 42):  # nodes that are forgotten, interrupts
                continue
            failed, answer = self._answer(operation, node, request[REQUEST.size :])
            os.write(device, REPLY.pack(REPLY.size + len(answer), -failed, unique) + answer)

    def _answer(self, operation: int, node: int, data: bytes) -> tuple[int, bytes]:
        name, answer = self.answers.get(operation, ("", None))
        if answer is None:
            return errno.ENOSYS, b""
        try:
            self._fail_where_due(name)
            return 0, answer(node, data)
        except OSError as error:
            return error.errno or errno.EIO, b""

    def _fail_where_due(self, operation: str) -> None:
        """Raise EIO for an operation of the kind that the file of faults names, once enough have worked."""
        changed = os.stat(self.faults).st_mtime_ns if os.path.exists(self.faults) else 0
        if changed != self.read_at:
            self.read_at, self.counts = changed, {}
            self.fault = json.loads(Path(self.faults).read_text()) if changed else {}
        self.counts[operation] = self.counts.get(operation, 0) + 1
        due = self.fault.get("operation") == operation
        if due and self.counts[operation] > int(str(self.fault.get("after", 0))):
            raise OSError(errno.EIO, "")

    def at(self, node: int) -> str:
        """Return the path of a node on the disk below."""
        return os.path.join(self.top, self.paths[node])

    def child(self, node: int, name: str) -> str:
        """Return the path of a name in a folder, under the letters in which it stands there."""
        folder = self.at(node)
        if self.ignore_case and not os.path.lexists(os.path.join(folder, name)):
            name = next((other for other in os.listdir(folder) if _folded(other) == _folded(name)), name)
        return os.path.join(folder, name)

    def entry(self, path: str) -> bytes:
        """Describe a file or folder; the same file keeps its node."""
        status = os.lstat(path)
        node = ROOT + status.st_ino
        self.paths[node] = os.path.relpath(path, self.top)
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + _attributes(status)

    def init(self, _node: int, data: bytes) -> bytes:
        _major, _minor, ahead, _flags = struct.unpack_from("<IIII", data)
        big_writes = 1 << 5
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead, big_writes, 16, 12, LARGEST_WRITE, 1, 0, 0, 0)

    def lookup(self, node: int, data: bytes) -> bytes:
        return self.entry(self.child(node, _text(data)))

    def attributes(self, node: int, data: bytes) -> bytes:
        flags, _, handle = struct.unpack_from("<IIQ", data)
        status = os.fstat(handle) if flags & 1 else os.lstat(self.at(node))
        return struct.pack("<QII", 0, 0, 0) + _attributes(status)

    def change(self, node: int, data: bytes) -> bytes:
        flags, _, handle, size, _owner, atime, mtime, _ctime = struct.unpack_from("<IIQQQQQQ", data)
        atime_ns, mtime_ns, _ctime_ns, mode = struct.unpack_from("<IIII", data, 56)
        path = self.at(node)
        if flags & SIZE:
            os.truncate(handle if flags & FILE_HANDLE else path, size)
        if flags & MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if flags & TIMES:
            now = os.lstat(path)
            moments = (
                atime * 10**9 + atime_ns if flags & TIMES & ~MTIME else now.st_atime_ns,
                mtime * 10**9 + mtime_ns if flags & MTIME else now.st_mtime_ns,
            )
            os.utime(path, ns=moments, follow_symlinks=False)
        return struct.pack("<QII", 0, 0, 0) + _attributes(os.lstat(path))

    def symlink(self, node: int, data: bytes) -> bytes:
        name, target = data.split(b"\0")[:2]
        path = self.child(node, os.fsdecode(name))
        os.symlink(os.fsdecode(target), path)
        return self.entry(path)

    def mkdir(self, node: int, data: bytes) -> bytes:
        mode, mask = struct.unpack_from("<II", data)
        path = self.child(node, _text(data[8:]))
        os.mkdir(path, stat.S_IMODE(mode) & ~mask)
        return self.entry(path)

    def unlink(self, node: int, data: bytes) -> bytes:
        os.unlink(self.child(node, _text(data)))
        return b""

    def rmdir(self, node: int, data: bytes) -> bytes:
        os.rmdir(self.child(node, _text(data)))
        return b""

    def rename(self, node: int, data: bytes) -> bytes:
        return self._rename(node, struct.unpack_from("<Q", data)[0], data[8:])

    def rename2(self, node: int, data: bytes) -> bytes:
        other, flags, _ = struct.unpack_from("<QII", data)
        if flags:  # no exchange, as on most network disks
            raise OSError(errno.EINVAL, "")
        return self._rename(node, other, data[16:])

    def _rename(self, node: int, other: int, names: bytes) -> bytes:
        old, new = (os.fsdecode(name) for name in names.split(b"\0")[:2])
        source, target = self.child(node, old), self.child(other, new)
        if self.ignore_case and os.path.lexists(target) and os.path.samefile(source, target):
            target = os.path.join(self.at(other), new)  # the same file in other letters
        os.rename(source, target)
        before, after = os.path.relpath(source, self.top), os.path.relpath(target, self.top)
        for number, path in self.paths.items():
            if path == before or path.startswith(before + "/"):
                self.paths[number] = after + path[len(before) :]
        return b""

    def link(self, node: int, data: bytes) -> bytes:
        path = self.child(node, _text(data[8:]))
        os.link(self.at(struct.unpack_from("<Q", data)[0]), path)
        return self.entry(path)

    def open(self, node: int, data: bytes) -> bytes:
        flags = struct.unpack_from("<I", data)[0] & ~(os.O_NOFOLLOW | os.O_EXCL | os.O_CREAT | os.O_APPEND)
        return struct.pack("<QII", os.open(self.at(node), flags), 0, 0)

    def create(self, node: int, data: bytes) -> bytes:
        flags, mode, mask, _ = struct.unpack_from("<IIII", data)
        path = self.child(node, _text(data[16:]))
        handle = os.open(path, (flags & ~os.O_APPEND) | os.O_CREAT, stat.S_IMODE(mode) & ~mask)
        return self.entry(path) + struct.pack("<QII", handle, 0, 0)

    def read(self, _node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        return os.pread(handle, size, offset)

    def write(self, _node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        return struct.pack("<II", os.pwrite(handle, data[40 : 40 + size], offset), 0)

    def allocate(self, _node: int, data: bytes) -> bytes:
        handle, offset, length, mode = struct.unpack_from("<QQQI", data)
        if mode:
            raise OSError(errno.EOPNOTSUPP, "")
        os.posix_fallocate(handle, offset, length)
        return b""

    def release(self, _node: int, data: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", data)[0])
        return b""

    def fsync(self, _node: int, data: bytes) -> bytes:
        return b""

    def statfs(self, _node: int, _data: bytes) -> bytes:
        disk = os.statvfs(self.top)
        figures = (disk.f_blocks, disk.f_bfree, disk.f_bavail, disk.f_files, disk.f_ffree)
        return struct.pack("<QQQQQIIII24x", *figures, disk.f_bsize, 255, disk.f_frsize, 0)

    def readdir(self, node: int, data: bytes) -> bytes:
        _handle, offset, size = struct.unpack_from("<QQI", data)
        answer = b""
        for number, name in enumerate(sorted(os.listdir(self.at(node)))[offset:], offset + 1):
            letters = os.fsencode(name)
            line = struct.pack("<QQII", number, number, len(letters), 0) + letters
            line += bytes(-len(line) % 8)
            if len(answer) + len(line) > size:
                break
            answer += line
        return answer


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def main(top: str, mountpoint: str, faults: str, ignore_case: str) -> int:
    """Mount the folder `top`, say so, and serve it until it is unmounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"odd-disk", os.fsencode(mountpoint), b"fuse", NOSUID_NODEV, options.encode()):
        sys.exit(f"not mounted: {os.strerror(ctypes.get_errno())}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner unmounts it
    print("mounted", flush=True)
    os.umask(0)
    Disk(top, faults, ignore_case == "1").serve(device)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
