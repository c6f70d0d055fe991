"""Files of samples: what each kind keeps as it is, and errors that say where in the file."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrsa.data.sources import read_file
from hrsa.errors import UserError


def cells(path, column="text"):
    return read_file(path).values(column, "text")


def complaint(path):
    with pytest.raises(UserError) as error:
        cells(path)
    return str(error.value)


# -- bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("t.txt", "one\ntwo\n"),
        ("t.csv", "text\none\n"),
        ("t.jsonl", '{"text": "one"}\n{"text": "two"}\n'),
    ],
)
def test_invalid_utf8_is_named_by_line_and_byte(tmp_path, name, before):
    (tmp_path / name).write_bytes(before.encode() + b'"caf\xe9"\n')
    text = complaint(tmp_path / name)
    assert f"is not UTF-8: line 3 holds the byte 0xe9 (byte {len(before) + 4} of the file" in text
    assert f"`iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8-{name}`" in text


def test_the_place_of_an_invalid_byte_counts_a_byte_order_mark(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfa\n\xff\n")
    assert "line 2 holds the byte 0xff (byte 5 of the file" in complaint(tmp_path / "t.txt")


def test_utf16_is_recognised(tmp_path):
    (tmp_path / "t.txt").write_bytes("text".encode("utf-16"))
    assert "`iconv -f UTF-16 -t UTF-8" in complaint(tmp_path / "t.txt")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbftext\r\na\r\n")
    assert cells(tmp_path / "t.csv") == ["a"]


# -- text --------------------------------------------------------------------------------------


def test_only_a_line_feed_ends_a_line(tmp_path):
    (tmp_path / "t.txt").write_bytes("a\u2028b\x0cc\x85d\r\nlast".encode())
    assert cells(tmp_path / "t.txt") == ["a\u2028b\x0cc\x85d", "last"]


# -- CSV ---------------------------------------------------------------------------------------


def test_cells_of_a_csv_stay_as_they_are_written(tmp_path):
    (tmp_path / "t.csv").write_text('text\nNA\nnull\n007\n1.50\n"a, ""b""\nc"\n')
    assert cells(tmp_path / "t.csv") == ["NA", "null", "007", "1.50", 'a, "b"\nc']


def test_a_cell_may_be_longer_than_the_csv_module_expects(tmp_path):
    (tmp_path / "t.csv").write_text(f"text\n{'x' * 200_000}\n")
    assert len(cells(tmp_path / "t.csv")[0]) == 200_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,a\none,1\ntwo,2,3\n", "the row that ends in line 3 has 3 fields, the header 2"),
        ('text\n"never closed\n', "cannot be read as .csv: line 2"),
        ("text,text\na,b\n", "more than one column named 'text'"),
    ],
)
def test_a_malformed_csv_is_named_by_line(tmp_path, content, said):
    (tmp_path / "t.csv").write_text(content)
    assert said in complaint(tmp_path / "t.csv")


# -- JSONL -------------------------------------------------------------------------------------


def test_records_may_leave_columns_out(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n\n{"other": [1]}\n')
    assert cells(tmp_path / "t.jsonl") == ["a", None]
    assert cells(tmp_path / "t.jsonl", "other") == [None, [1]]
    assert read_file(tmp_path / "t.jsonl").ids == ["000000", "000001"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": ', "line 2 is no JSON"),
        ("[1, 2]", "line 2 holds a list of 2 (first the number 1)"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, line, said):
    (tmp_path / "t.jsonl").write_text(f'{{"text": "a"}}\n{line}\n')
    assert said in complaint(tmp_path / "t.jsonl")


# -- Parquet -----------------------------------------------------------------------------------


def test_parquet_keeps_types_lists_and_gaps(tmp_path):
    rows = {
        "n": [1, None, 3],
        "options": [["a", "b"], [], None],
        "m": [{"k": "v"}, None, {"k": ""}],
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet", row_group_size=2)
    table = read_file(tmp_path / "t.parquet")
    assert table.values("n", "id") == [1, None, 3]
    assert table.values("options", "text") == [["a", "b"], [], None]
    assert table.values("m[k]", "text") == ["v", None, ""]
    assert table.take([False, True, True]).values("n", "id") == [None, 3]


def test_classes_that_the_datasets_library_numbered_have_their_names(tmp_path):
    features = {"label": {"names": ["World", "Sports"], "_type": "ClassLabel"}, "text": {}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "t.parquet")
    assert cells(tmp_path / "t.parquet", "label") == ["Sports", "World", None]
    assert cells(tmp_path / "t.parquet") == ["a", "b", "c"]


def test_a_parquet_file_cut_short_is_refused(tmp_path):
    pq.write_table(pa.table({"text": ["a"] * 1000}), tmp_path / "t.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-10])
    assert "cannot be read as .parquet" in complaint(tmp_path / "cut.parquet")


# -- no file -----------------------------------------------------------------------------------


def test_other_kinds_of_file_are_refused(tmp_path):
    (tmp_path / "t.docx").write_text("text")
    text = complaint(tmp_path / "t.docx")
    assert "ends in '.docx'; readable are .jsonl, .csv, .parquet, .txt" in text


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "There is no data file" in complaint(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.csv", ""), ("t.csv", "text\n"), ("t.jsonl", ""), ("t.jsonl", "\n\n"), ("t.txt", "")],
)
def test_a_file_without_a_row_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert "holds no text: the file has no row" in complaint(tmp_path / name)


def test_a_parquet_file_without_a_row_is_refused(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "t.parquet")
    assert "holds no text: the file has no row" in complaint(tmp_path / "t.parquet")
