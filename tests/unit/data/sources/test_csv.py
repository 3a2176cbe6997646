"""The source `csv`: what it reads, in which order, and how it refuses what does not fit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.helpers import fake_data
from tests.helpers.sources import LABELS, check_prepared, fails, options, prepared, read
from tledge.data.sources import csv
from tledge.errors import DataError, MissingError, RecipeError
from tledge.preprocessing import image


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Photos a.jpg to d.jpg and a table of the first two."""
    for index, name in enumerate("abcd"):
        (tmp_path / f"{name}.jpg").write_bytes(fake_data.photo(index, index))
    return write(tmp_path / "photos.csv", "path,label", "a.jpg,ant", "b.jpg,bee")


def test_csv_lists_photos(table: Path) -> None:
    found = read(csv, path=str(table))
    assert [(one.id, one.label, one.split) for one in found] == [
        ("a.jpg", "ant", "train"),
        ("b.jpg", "bee", "train"),
    ]
    assert found[1].read() == (table.parent / "b.jpg").read_bytes()


def test_csv_reads_nothing_early(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    whole = image.read_photo
    monkeypatch.setattr(image, "read_photo", lambda path: opened.append(path) or whole(path))  # type: ignore[func-returns-value]
    found = list(csv.scan(options(csv, path=str(table))).records())
    assert opened == []
    assert found[0].read() and opened == [table.parent / "a.jpg"]


def test_csv_columns_are_chosen(tmp_path: Path) -> None:
    path = fake_data.csv_file(
        tmp_path / "list.csv", {"train": 6, "test": 3}, LABELS, ("file", "kind", "part"), ";"
    )
    chosen = {"image": "file", "label": "kind", "split": "part", "delimiter": ";"}
    found = read(csv, path=str(path), **chosen)
    assert Counter((one.split, one.label) for one in found) == {
        **{("train", label): 2 for label in LABELS},
        **{("test", label): 1 for label in LABELS},
    }


def test_csv_is_prepared(tmp_path: Path) -> None:
    parts = {"train": 6, "test": 3}
    path = fake_data.csv_file(tmp_path / "list.csv", parts, LABELS)
    expected = {
        f"photos/{one.split}-{one.number:04d}.jpg": (one.label, one.split, one.photo)
        for one in fake_data.examples(parts, LABELS)
    }
    check_prepared(prepared(f"csv:{path}", split="split"), expected)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath,label\na.jpg,ant\nb.jpg,bee\n",
        "path,label\r\na.jpg,ant\r\nb.jpg,bee",
        'label,"path",note\nant,"a.jpg","two\nlines"\nbee,b.jpg,\n',
        "path , label\n a.jpg ,ant\nb.jpg,  bee\n",
    ],
    ids=["bom", "windows", "quoted", "blanks"],
)
def test_csv_dialects(table: Path, text: str) -> None:
    table.write_bytes(text.encode())
    assert [(one.id, one.label) for one in read(csv, path=str(table))] == [("a.jpg", "ant"), ("b.jpg", "bee")]


@pytest.mark.parametrize("name", ["a, b.jpg", "ünï ☃ 花.jpg", "line\u2028break.jpg", "deep/er/a.jpg"])
def test_csv_any_name(table: Path, name: str) -> None:
    photo = table.parent / name
    photo.parent.mkdir(parents=True, exist_ok=True)
    photo.write_bytes(b"encoded")
    cell = f'"{name}"' if "," in name else name
    write(table, "path,label", f"{cell},Äpfel und Birnen")
    [found] = read(csv, path=str(table))
    assert (found.id, found.label, found.read()) == (name, "Äpfel und Birnen", b"encoded")


def test_csv_absolute_path(table: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    photo = tmp_path_factory.mktemp("elsewhere") / "x.jpg"
    photo.write_bytes(b"far away")
    write(table, "path,label", f"{photo},ant")
    assert [(one.id, one.read()) for one in read(csv, path=str(table))] == [(str(photo), b"far away")]


BAD_LINES = {
    "c.jpg,": ":4: the label of ['c.jpg', ''] is empty",
    ",cat": ":4: the image of ['', 'cat'] is empty",
    ",": ":4: an empty row",
    "": ":4: an empty row",
    "c.jpg": ":4: 1 cells ['c.jpg'], expected 2",
    "c.jpg,cat,": ":4: 3 cells ['c.jpg', 'cat', ''], expected 2",
    "e.jpg,cat": ":4: 'e.jpg': no such photo. Expected a path from",
    "a.jpg,ant": ":4: 'a.jpg' with label 'ant' was listed before, on line 2",
    "./a.jpg,cat": ":4: './a.jpg' with label 'cat' was listed before, on line 2",
    'c.jpg,"cat': ":4: not valid CSV (unexpected end of data)",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=list(BAD_LINES.values()))
def test_csv_bad_line(table: Path, line: str) -> None:
    write(table, "path,label", "a.jpg,ant", "b.jpg,bee", line, "d.jpg,dog")
    message = fails(csv, path=str(table))
    assert f"{table}{BAD_LINES[line]}" in message
    with pytest.raises(DataError):
        csv.scan(options(csv, path=str(table))).fingerprint()


def test_csv_line_after_a_long_cell(table: Path) -> None:
    write(table, "path,label,note", 'a.jpg,ant,"one', 'two"', "gone.jpg,bee,")
    assert fails(csv, path=str(table)).startswith(f"{table}:4: 'gone.jpg'")


def test_csv_empty_split(table: Path) -> None:
    write(table, "path,label,part", "a.jpg,ant,train", "b.jpg,bee,")
    assert "photos.csv:3: the split of" in fails(csv, path=str(table), split="part")


def test_csv_tells_a_common_cause_once(table: Path) -> None:
    write(
        table, "path,label", "a.jpg,ant", *(f"no{number}.jpg,ant" for number in range(13)), "b.jpg,", "c.jpg"
    )
    message = fails(csv, path=str(table)).split("\n")
    assert len(message) == 3
    assert message[0].startswith(f"{table}: 13 of 16 lines are like line 3: 'no0.jpg': no such photo.")
    assert message[0].endswith("Others: line 4 'no1.jpg', line 5 'no2.jpg'.")
    assert message[1].startswith(f"{table}:16: the label of ['b.jpg', ''] is empty")
    assert message[2].startswith(f"{table}:17: 1 cells ['c.jpg']")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["a.jpg,", "b.jpg,", "c.jpg,", "d.jpg,"],
            "4 of 4 lines are like line 2: the label of ['a.jpg', '']",
        ),
        (["a.jpg"] * 5, "5 of 5 lines are like line 2: 1 cells ['a.jpg'], expected 2"),
        (["a.jpg,ant"] * 6, "5 of 6 lines are like line 3: 'a.jpg' with label 'ant' was listed before"),
        ([""] * 4, "4 of 4 lines are like line 2: an empty row. Remove it. Others: line 3, line 4."),
    ],
)
def test_csv_common_causes(table: Path, lines: list[str], words: str) -> None:
    write(table, "path,label", *lines)
    message = fails(csv, path=str(table))
    assert words in message and "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,ant\n", "no column 'path'; the columns are 'file', 'label'"),
        ("path/label\na.jpg/ant\n", "the columns are 'path/label'.* separates columns with .data. delimiter"),
        ("path,label,path\na.jpg,ant,b.jpg\n", "more than one column 'path'"),
        ("", "no column 'path'; the columns are none"),
        ("path,label\n", "lists no photo"),
        ("path,label\n\xe4.jpg,ant\n", "not UTF-8"),
    ],
    ids=["name", "delimiter", "twice", "nothing", "header", "latin"],
)
def test_csv_bad_table(table: Path, text: str, message: str) -> None:
    table.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        csv.scan(options(csv, path=str(table))).count()


@pytest.mark.parametrize("delimiter", ["", "::", "\n", '"'])
def test_csv_bad_delimiter(table: Path, delimiter: str) -> None:
    with pytest.raises(RecipeError, match="expected one character"):
        csv.scan(options(csv, path=str(table), delimiter=delimiter)).count()


def test_csv_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.csv: no such CSV file"):
        prepared(f"csv:{tmp_path / 'none.csv'}")


def test_csv_fingerprint_sees_changes(table: Path) -> None:
    seen = {csv.scan(options(csv, path=str(table))).fingerprint()}
    seen.add(csv.scan(options(csv, path=str(table))).fingerprint())
    assert len(seen) == 1
    (table.parent / "a.jpg").write_bytes(fake_data.photo(0, 77))
    seen.add(csv.scan(options(csv, path=str(table))).fingerprint())
    write(table, "path,label", "a.jpg,bee", "b.jpg,ant")
    seen.add(csv.scan(options(csv, path=str(table))).fingerprint())
    assert len(seen) == 3
