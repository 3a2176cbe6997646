"""Damaged, odd and mutated photos: each is decoded or named with its reason, in bounded time and memory."""

from __future__ import annotations

import os
import re
from collections import Counter

from torture.cases import photo_folders
from torture.inputs import odd_photos
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.photo_decoding import (
    MEMORY_LIMIT,
    DecodingOutcomes,
    check_memory,
    decode_folder,
    run_decoder,
)
from torture.support.workspace import Workspace


def odd_photos_prepared(workspace: Workspace) -> Observation:
    """Decode each odd file in a child: its fate is the expected one."""
    folder, files = workspace.folder("odd"), odd_photos.files()
    for name, odd_photo in files.items():
        (folder / name).write_bytes(odd_photo.data)
    tally = decode_folder(workspace, folder)
    for name, odd_photo in files.items():
        fate, reason = tally.fates.get(name, "missing"), tally.reasons.get(name, "")
        if odd_photo.fate not in (fate, odd_photos.EITHER) or odd_photo.word not in reason:
            tally.shortfalls.append(f"{name}: {fate} ({reason}), expected {odd_photo.fate} {odd_photo.word}")
    return tally.seen(
        f"{tally.count('prepared')} prepared, {tally.count('refused')} named with a reason; slowest "
        f"{tally.slowest:.1f} s, peak {tally.peak:.0f} MiB"
    )


def large_photos(workspace: Workspace) -> Observation:
    """Decode photos of 100 megapixels, one in each child; then all at once through `tledge data`."""
    folder, tally, peaks = workspace.folder("large"), DecodingOutcomes(), []
    # by a child: a process's peak is at least what its parent held when it began
    processes.run(
        processes.python_module("torture.workers.large_photo_writer", folder, workspace.count(5, 2)),
        workspace.env,
    )
    for path in sorted(folder.iterdir()):
        decoded = run_decoder(workspace, "files", folder, path.name)
        tally.add(decoded)
        peaks.append(f"{path.stem.removeprefix('100 megapixels').strip(', ') or 'plain'} {decoded.peak:.0f}")
    if not peaks:
        tally.shortfalls.append("no large photos were made")
    check_memory(tally)
    result, _facts = photo_folders.run_data_with_links(
        workspace, "large-data", {"dog": sorted(folder.iterdir())}, "skip"
    )
    if result.code or result.peak > MEMORY_LIMIT:
        tally.shortfalls.append(f"tledge data with all of them: {result.tail}, {result.peak:.0f} MiB")
    tally.peak = max(tally.peak, result.peak)
    return tally.seen(
        f"100 megapixels, MiB: {', '.join(peaks)}; all through `data` in {os.cpu_count()} threads "
        f"{result.peak:.0f}; slowest {tally.slowest:.1f} s"
    )


def photos_in_many_threads(workspace: Workspace) -> Observation:
    """Decode photos of 16 megapixels in many threads at a time: memory does not grow with their number."""
    from PIL import Image

    folder, threads = workspace.folder("threads"), workspace.count(40, 16)
    photo = Image.new("RGB", (4000, 4000), "teal")
    for name, options in ({"a.png": {}} if workspace.reduced else MANY_THREADS_FORMATS).items():
        photo.save(folder / name, **options)
    command = processes.python_module("torture.workers.photo_decoder", "together", threads)
    result = processes.run([*command, *sorted(folder.iterdir())], workspace.env, timeout=600)
    shortfalls = [] if result.code == 0 else [result.tail]
    most = workspace.count(1300, 900)  # MiB; WebP takes four times what PNG does
    if result.peak > most:
        shortfalls.append(f"{result.peak:.0f} MiB at the peak, more than {most}")
    kinds = ", ".join(path.suffix[1:] for path in sorted(folder.iterdir()))
    summary = f"16 megapixels in {threads} threads at a time ({kinds}): peak {result.peak:.0f} MiB"
    return Observation(summary, tuple(shortfalls), files=threads, hangs=int(result.hung), peak=result.peak)


MANY_THREADS_FORMATS: dict[str, dict[str, object]] = {
    "a.png": {},
    "b.jpg": {"progressive": True},
    "c.webp": {},
    "d.avif": {},
    "e.tif": {"compression": "tiff_lzw"},
}


def mutated_photos(workspace: Workspace) -> Observation:
    """Decode mutated files of every format in children; the file that ends one is named."""
    tally, number, stop = DecodingOutcomes(), 0, workspace.count(100_000, 3_000)
    while number < stop:
        end = min(number + 500 * workspace.count(10, 3), stop)
        killed = tally.add(run_decoder(workspace, "mutated", workspace.seed, number, end))
        number = int(killed.split()[0]) + 1 if killed else end
    check_memory(tally)
    if len(tally.fates) != stop or min(map(tally.count, ("prepared", "refused"))) < stop // 20:
        tally.shortfalls.append(
            f"{Counter(tally.fates.values())} of {stop}: mutations that change nothing or all"
        )
    kinds = len({name.split()[1] for name in tally.fates})
    return tally.seen(
        f"{stop} files of {kinds} formats: {tally.count('prepared')} prepared, {tally.count('refused')} "
        f"refused in {len(set(map(_kind_of_reason, tally.reasons.values())))} ways; "
        f"slowest {tally.slowest:.1f} s, "
        f"peak {tally.peak:.0f} MiB"
    )


def _kind_of_reason(reason: str) -> str:
    return re.sub(r"\d+", "", reason)


CASES: tuple[Case, ...] = (
    Case("odd and damaged files", "each is prepared or refused with one clean line", odd_photos_prepared),
    Case(
        "the same through data and predict",
        "skipped, stopped at and answered by name",
        photo_folders.through_commands,
    ),
    Case("pipes, devices, loops, wild names", "no hang; named or passed by", photo_folders.special_files),
    Case("photos that change meanwhile", "named, and the rest is kept", photo_folders.changing_photos),
    Case(
        "HEIC without its library", "named with what to install, exit 5", photo_folders.heic_without_library
    ),
    Case("photos of 100 megapixels", "memory is bounded, whatever the threads", large_photos),
    Case("16 megapixels in many threads", "memory does not grow with them", photos_in_many_threads),
    Case("mutated photos", "no crash, no hang, each refusal one clean line", mutated_photos),
    Case("mutated photos in a folder", "named by data and predict", photo_folders.mutated_through_commands),
)
