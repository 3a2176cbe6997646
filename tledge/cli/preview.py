"""`tledge preview`: try the bundled model in the browser."""

from __future__ import annotations

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
@click.option("--lan", is_flag=True, help="Also listen on the local network; the URL contains an access key.")
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
    right label. Ends with Ctrl-C. A bundle's `preview.html` is the same page without a server.
    """
    from tledge.preview import server

    site = _site(path, feedback, read_public_key(key))
    with server.start(site, port=port, lan=lan) as serving:
        url = _url(serving, "127.0.0.1")
        if as_json:
            print_json({"url": url, "lan": _lan_urls(serving), "feedback": str(site.feedback or "")})
        elif not quiet:
            _announce(serving, url)
        if not no_browser:
            _open_browser(url)
        try:
            serving.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print_on_stderr("\nStopped.")
        finally:
            if site.panel:
                site.panel.close()


def _site(path: Path | None, feedback: Path | None, key: PublicKey | None) -> Site:
    """Choose what to serve: a bundle alone, or a run's bundle with its other models."""
    from tledge.bundle import reader
    from tledge.preview.panel import Panel
    from tledge.preview.site import Site
    from tledge.run import folder as run_folder

    folder = run_folder.newest_run(Path("runs")).path if path is None else path
    if (folder / "run.json").is_file():
        if not (folder / "bundle" / "manifest.json").is_file():
            raise RunError(f"{folder}: has no bundle yet. Run `tledge export {folder}`.")
        return Site(_usable(folder / "bundle", key), Panel(folder), feedback or folder / "feedback")
    if not reader.is_bundle(folder):
        raise RecipeError(f"{folder}: expected a run, or a bundle (a folder with manifest.json, or its zip).")
    return Site(_usable(folder, key), None, feedback)


def _usable(path: Path, key: PublicKey | None) -> Bundle:
    """Open the bundle at `path`; raise RecipeError where no browser can run any of its artifacts."""
    from tledge.bundle import preview_page, reader

    bundle = reader.open_bundle(path, key)
    if preview_page.choose(bundle.manifest) is None:
        known = ", ".join(preview_page.RUNNABLE)
        raise RecipeError(f"{path}: no artifact that a browser can run; export {known}.")
    return bundle


def _url(serving: PreviewServer, host: str) -> str:
    return f"http://{host}:{serving.port}/" + (f"?key={serving.key}" if serving.key else "")


def _lan_urls(serving: PreviewServer) -> list[str]:
    from tledge.preview.addresses import lan_addresses

    return [_url(serving, address) for address in lan_addresses()] if serving.key else []


def _announce(serving: PreviewServer, url: str) -> None:
    """Print the addresses of the page, for phones also as QR codes."""
    echo(f"Preview: {url}")
    for address in _lan_urls(serving):
        echo(f"On the local network: {address}")
        echo(_qr(address))
        echo("A phone can choose and take photos there. Its live webcam would need https.")
    if serving.key and not _lan_urls(serving):
        echo("This machine has no address on a local network.")
    print_on_stderr("Stop with Ctrl-C.")


def _qr(text: str) -> str:
    """Draw a QR code with characters of a terminal."""
    from io import StringIO

    import segno

    out = StringIO()
    segno.make(text, micro=False).terminal(out, compact=True, border=2)
    return out.getvalue()


def _open_browser(url: str) -> None:
    import webbrowser

    webbrowser.open(url)
