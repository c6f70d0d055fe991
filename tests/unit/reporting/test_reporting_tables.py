import pandas as pd
import pytest

from hrsa.errors import UserError
from hrsa.reporting.tables import collect, write_table

COLUMNS = ["pair", "seed", "step", "value", "note"]


def part(path, **columns):
    frame = pd.DataFrame({"pair": ["a"], "seed": [0], "step": [None], "value": [0.5]} | columns)
    frame["note"] = columns.get("note")
    frame.to_parquet(path)
    return path


def test_rows_come_in_the_same_order_whatever_the_order_of_the_parts(tmp_path):
    paths = [part(tmp_path / f"{name}.parquet", pair=[name]) for name in ("b", "a", "c")]
    forward, backward = collect(paths, COLUMNS), collect(reversed(paths), COLUMNS)
    pd.testing.assert_frame_equal(forward, backward)
    assert list(forward["pair"]) == ["a", "b", "c"]


def test_types_do_not_depend_on_what_is_missing(tmp_path):
    full = part(tmp_path / "a.parquet", step=[20], note=["text"])
    empty = part(tmp_path / "b.parquet", seed=[None], value=[None])
    both, none = collect([full, empty], COLUMNS), collect([], COLUMNS)
    assert list(both.dtypes) == list(none.dtypes)
    assert list(both.columns) == COLUMNS
    assert str(both["seed"].dtype) == "Int64"
    assert both["value"].dtype == "float64"


def test_a_part_that_lacks_a_column_is_named(tmp_path):
    path = part(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet.*lacks the column\(s\) floor"):
        collect([path], [*COLUMNS, "floor"])


def test_a_part_that_is_cut_short_is_named(tmp_path):
    path = part(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"a\.parquet.*cannot be read"):
        collect([path], COLUMNS)


def test_csv_has_six_digits_and_nothing_for_what_is_missing(tmp_path):
    path = part(tmp_path / "part.parquet", value=[1 / 3])
    out = tmp_path / "tables" / "similarity.csv"
    write_table(collect([path], COLUMNS), out)
    assert out.read_bytes() == b"pair,seed,step,value,note\na,0,,0.333333,\n"
    back = pd.read_parquet(out.with_suffix(".parquet"))
    assert back["value"].item() == 1 / 3
    assert back["step"].isna().all()


def test_writing_twice_gives_the_same_bytes(tmp_path):
    table = collect([part(tmp_path / "part.parquet")], COLUMNS)
    for name in ("a", "b"):
        write_table(table, tmp_path / f"{name}.csv")
    for suffix in (".csv", ".parquet"):
        first, second = (tmp_path / f"{name}{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
