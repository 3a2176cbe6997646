"""`tledge preview`: try the bundled model in the browser."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge.cli.options import (
    common_options,
    echo,
    example,
    key_option,
    print_json,
    print_on_stderr,
    read_public_key,
    shell_path,
)
from tledge.errors import RecipeError, RunError

if TYPE_CHECKING:
    from tledge.bundle.reader import Bundle
    from tledge.bundle.signing import PublicKey
    from tledge.preview.http_server import PreviewServer
    from tledge.preview.site import Site


@click.command(epilog=example("tledge preview runs/rps"))
@click.argument("path", metavar="[RUN|BUNDLE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", help="Port to listen on [8765 or a free one]."
)
@click.option("--lan", is_flag=True, help="Also listen on the local network; phones need the access key.")
@click.option(
    "--feedback",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for kept photos [RUN/feedback].",
)
@click.option("--no-browser", is_flag=True, help="Open no browser window.")
@key_option
@common_options
def preview(
    path: Path | None,
    port: int | None,
    lan: bool,
    feedback: Path | None,
    no_browser: bool,
    key: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Try the bundled model in the browser, on photos and on the webcam.

    For a RUN (the newest finished one if left out), the page also shows the predictions of Keras and of the
    other artifacts, shows test photos on which an artifact differs, and can keep photos with their
    right label. With --key it opens only the run's signed bundle. It needs an access key, which other users
    of this machine do not have: the opened browser gets it, any other one asks for it. Ends with Ctrl-C. A
    bundle's `preview.html` is the same page without a server.
    """
    from tledge.preview import browser, server

    site = _site(path, feedback, read_public_key(key))
    with server.start(site, port=port, lan=lan, tell=print_on_stderr) as serving, ExitStack() as opened:
        if as_json:
            print_json(_facts(serving))
        elif no_browser or not quiet:  # without the key nobody could use it
            _announce(serving)
        try:
            if not no_browser:
                opened.enter_context(browser.opened(_address(serving), serving.key))
            serving.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print_on_stderr("\nStopped.")
        finally:
            if site.panel:
                site.panel.close()


def _site(path: Path | None, feedback: Path | None, key: PublicKey | None) -> Site:
    """Choose what to serve: a bundle alone, or a run's bundle; without a key also the run's other models."""
    from tledge._io import file_guard
    from tledge.bundle import reader
    from tledge.preview.panel import Panel
    from tledge.preview.site import Site
    from tledge.run import folder as run_folder

    folder = run_folder.newest_run(Path("runs")).path if path is None else path
    if run_folder.is_run(folder):
        if not reader.is_bundle(folder / "bundle"):
            raise RunError(f"{folder}: has no bundle yet. Run `tledge export {folder}`.")
        file_guard.require_no_link(folder / "bundle", folder)
        kept = feedback or folder / "feedback"
        panel = None if key else Panel(folder)  # the run's other models are not signed
        return Site(_usable(folder / "bundle", key), panel, kept, feedback is not None)
    if not reader.is_bundle(folder):
        expected = f"{folder}: expected a run, or a bundle (a folder with manifest.json, or its zip)."
        single = f" A single file predicts photos by: tledge predict {shell_path(folder)} PHOTO.jpg"
        is_single = folder.suffix.lower() in (".tflite", ".onnx")
        raise RecipeError(expected + single * is_single)
    return Site(_usable(folder, key), None, feedback, True)


def _usable(path: Path, key: PublicKey | None) -> Bundle:
    """Open the bundle at `path`; raise RecipeError where no browser can run any of its artifacts."""
    from tledge.bundle import preview_page, reader

    bundle = reader.open_bundle(path, key)
    if preview_page.choose(bundle.manifest) is None:
        known = ", ".join(preview_page.RUNNABLE)
        raise RecipeError(f"{path}: no artifact that a browser can run; export {known}.")
    return bundle


def _address(serving: PreviewServer, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{serving.port}/"


def _with_key(serving: PreviewServer, address: str) -> str:
    """Return an address with the key in its fragment, which browsers send to no server."""
    return f"{address}#key={serving.key}"


def _lan_addresses(serving: PreviewServer) -> list[str]:
    from tledge.preview.addresses import lan_addresses

    return [_address(serving, host) for host in lan_addresses()] if serving.lan else []


def _facts(serving: PreviewServer) -> dict[str, object]:
    """Return what `--json` prints: addresses with the key, the key alone, and the folder for photos."""
    return {
        "url": _with_key(serving, _address(serving)),
        "lan": [_with_key(serving, address) for address in _lan_addresses(serving)],
        "key": serving.key,
        "feedback": str(serving.site.feedback or ""),
    }


def _announce(serving: PreviewServer) -> None:
    """Print the addresses of the page and the key, for phones both as QR codes.

    The key is beside the address and not in it: a terminal that opens an address at a click hands it to the
    browser on a command line, which all users of the machine can read.
    """
    echo(f"Preview: {_address(serving)}")
    echo(f"Key: {serving.key} (the page asks for it, unless tledge opened it)")
    addresses = _lan_addresses(serving)
    for address in addresses:
        echo(f"On the local network: {address}, with the key as a QR code:")
        echo(_qr(_with_key(serving, address)))
        echo("A phone can choose and take photos there. Its live webcam would need https.")
    if serving.lan and not addresses:
        echo("This machine has no address on a local network.")
    print_on_stderr("Stop with Ctrl-C.")


def _qr(text: str) -> str:
    """Draw a QR code with characters of a terminal."""
    from io import StringIO

    import segno

    out = StringIO()
    segno.make(text, micro=False).terminal(out, compact=True, border=2)
    return out.getvalue()
