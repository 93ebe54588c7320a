"""Tables of results in the terminal."""

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from prism.cli import app
from prism.core.errors import BadInput
from prism.core.progress import printable
from prism.tools.show import print_table

TITLE = "\x1b]0;gotcha\x07"


@pytest.fixture
def show(tmp_path):
    """What `prism show` prints of a file's text in a terminal of some columns; its last line, the path, left out."""

    def run(text, columns=80):
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8", newline="")
        shown = CliRunner().invoke(app, ["show", str(path)], env={"COLUMNS": str(columns)}, catch_exceptions=False)
        assert shown.exit_code == 0
        lines = shown.output.splitlines()
        assert all(cell_len(line) <= columns for line in lines[:-1])
        return "\n".join(lines[:-1])

    return run


@pytest.mark.parametrize("number", ["0.967", "0.9896", "0.035", "0.04996", "0.0006104", "-0.123"])
def test_a_number_below_one_keeps_the_digits_of_its_verdict(show, number):
    assert number in show(f"metric,rho,holds\ngini,{number},no\ncv,0.5,no\n").split()


def test_rates_and_factors_are_short(show):
    shown = show("method,rate,speedup\nsft,45.8333,1.84\ngrpo,0.00,0.00\n")
    assert "45.8" in shown.split()
    assert "45.83" not in shown
    assert {"1.84", "0.0"} <= set(shown.split())


def test_names_are_never_taken_for_numbers(show):
    assert "0.123456789" in show("id,score\n0.123456789,7\nb,8\n")


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_every_number_of_a_wide_table_is_shown_whole(show, columns):
    names = [f"measure_{number}" for number in range(12)]
    rows = [[str(100 * row + number) for number in range(12)] for row in range(3)]
    text = "split,method," + ",".join(names) + "\n"
    text += "".join(f"seen,method-{row},{','.join(fields)}\n" for row, fields in enumerate(rows))
    shown = show(text, columns)
    assert {field for fields in rows for field in fields} <= set(shown.split())
    assert "…" not in shown
    # the rows are named in every part
    assert shown.count("method-0") == shown.count("method-2") == 1 + shown.count("(continued)")


def test_long_texts_make_lists_of_fields(show):
    claim = "PRISM beats every baseline on seen and on unseen tasks, by more than two points of percent. " * 2
    shown = show(f"claim,statement,estimate,verdict\nc1,{claim.replace(',', ' ')},0.967,inconclusive\n")
    assert " ".join(shown.split()).count("two points of percent.") == 2
    assert "verdict" in shown
    assert "0.967" in shown


def test_long_ids_go_on_below_themselves(show):
    ids = [letter * 70 for letter in "ab"]
    shown = show("id,score\n" + "".join(f"{name},0.{number}5\n" for number, name in enumerate(ids)))
    assert {"score", "0.05", "0.15"} <= set(shown.split())
    assert [shown.count(letter) for letter in "ab"] == [70, 70]


@pytest.mark.parametrize("text", ["[/]", "[/bold]", "[red]", ":smile:", "[link=file:///x]y"])
def test_brackets_are_no_markup(show, text):
    shown = show(f"# note {text}\nname{text},{text}\n{text},1\n")
    assert shown.count(text) == 4


def test_what_a_terminal_would_obey_is_spelt(show):
    shown = show(f'# {TITLE}\n{TITLE}id,score\n{TITLE}\u202ea,1\n"b\nc",2\n')
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert shown.count(r"\x1b]0;gotcha\x07") == 3
    assert r"b\nc" in shown


def test_a_ragged_file_is_refused_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(BadInput, match=r"t\.csv:3: has 1 fields, not 2"):
        print_table(path)


def test_sizes_that_rows_share_stand_in_the_title(show):
    shown = show("split,method,all,tasks,seeds\nseen,a,1.5,48,1\nseen,b,2.5,48,1\n")
    assert "seen, 48 tasks, 1 seed\n" in shown


def test_a_table_without_rows_says_so(show):
    assert "no rows; columns: a, b" in show("a,b\n")


def test_printable_keeps_text_and_lines():
    text = "Ünï — 日本 🎉\n\tnext"
    assert printable(text) == text
    assert printable("\x1b[2J\x9b\x7f\r\ud800") == r"\x1b[2J\x9b\x7f\r\ud800"
