"""`tledge verify` and `bundle`: a key asked of what nobody signed."""

from pathlib import Path

from tests.helpers.run_records import RUN
from tledge._io import files
from tledge.cli.verify import key_of_run


def test_key_of_a_run_names_its_bundle(tmp_path: Path) -> None:
    files.write_json(tmp_path / "run.json", RUN)
    said = key_of_run("bundle", tmp_path, Path("owner.pem"), "--target", "web")
    assert f"tledge bundle {tmp_path}/bundle --key owner.pem --target web" in said
