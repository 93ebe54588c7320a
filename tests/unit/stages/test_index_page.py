"""The page that a person opens first: what it says, and that a browser renders it without asking anybody."""

import json

import pytest
from browser import WIDTHS, Measured, measure, needs_browser, requests_of_page

from prism.core.errors import BadInput
from prism.stages.index_page import Shown, build_index_page

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"><rect width="9" height="9"/></svg>'


@pytest.fixture
def results(tmp_path):
    """A run with one table of two methods, one of them with a cell, and one figure."""
    for folder in ("tables", "figures", "benchmarks", "cells/table1/seen/sft", "captions"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tables/table1.csv").write_text(
        "# Table 1 <of & test>\nsplit,method,pick,all,all_low,all_high,paper_all\nseen,base,0.0,0.0,0.0,7.4,9.38\n"
        "seen,sft,75.0,45.8333,32.6,59.7,45.31\n"
    )
    cell = {
        "row": {"split": "seen", "method": "sft"},
        "column": "all",
        "unit": "success rate, percent",
        "value": 45.8333,
        "interval": {"low": 32.57, "high": 59.71, "level": 0.95, "method": "Wilson score"},
        "episodes": 48,
        "seeds": {"0": {}},
        "paper": {"value": 45.31},
    }
    (tmp_path / "cells/table1/seen/sft/all.json").write_text(json.dumps(cell))
    (tmp_path / "figures/figure1.svg").write_text(SVG)
    (tmp_path / "benchmarks/summary.csv").write_text(
        "rule,jobs,seconds,longest_seconds,peak_mib\nsft,2,3725.0,3000,512\nsplit,1,0.5,0.5,\n"
    )
    (tmp_path / "captions/figure1.rst").write_text("Two cases <b>.\n")
    return tmp_path


def build(results):
    shown = Shown(("table1",), ("figure1",), "demo", (0, 1))
    build_index_page(results, shown, results / "captions", results / "index.html")
    return (results / "index.html").read_text()


def test_a_number_has_its_interval_on_hover_and_leads_to_its_cell(results):
    page = build(results)
    hover = "success rate, percent; 95% interval 32.6 to 59.7 (Wilson score); 48 episodes; 1 seed; paper: 45.31"
    assert f'<td title="{hover}"><a href="cells/table1/seen/sft/all.json">45.8</a></td>' in page
    assert '<td title="95% interval 0.0 to 7.4">0.0</td>' in page  # without a cell: the table's own interval
    assert "all low" not in page


def test_the_scale_stands_on_top_and_everything_is_escaped(results):
    page = build(results)
    assert page.index("DEMO SCALE") < page.index("Table 1")
    assert "Table 1 &lt;of &amp; test&gt;" in page
    assert "Two cases &lt;b&gt;." in page
    assert "seeds</dt><dd>0, 1" in page


def test_a_name_may_hold_a_number_sign(results):
    """The lines in front of a table are notes; nothing below them is."""
    table = results / "tables/table1.csv"
    table.write_text(table.read_text().replace("seen,sft", "seen,mine#2"))
    page = build(results)
    assert "mine#2" in page
    assert "45.8" in page


def test_the_cost_is_summed(results):
    page = build(results)
    assert "3 jobs took 1h 02m together; the largest needed 512 MiB" in page


def test_every_link_and_image_is_there(results):
    page = build(results)
    assert 'src="figures/figure1.svg"' in page
    assert 'width="134"' in page  # 72 pt, enlarged for the screen
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


@pytest.mark.parametrize("missing", ["tables/table1.csv", "figures/figure1.svg", "benchmarks/summary.csv"])
def test_what_is_missing_is_named(results, missing):
    (results / missing).unlink()
    with pytest.raises(BadInput, match=missing):
        build(results)


@pytest.mark.slow
@needs_browser
def test_the_page_renders_without_errors_or_requests(results, tmp_path):
    page = results / "index.html"
    build(results)
    shown, console, addresses = requests_of_page(page, tmp_path)
    assert "45.8" in shown
    assert console == []
    assert addresses == set()
    # the same check sees a page that does ask, and one that fails
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("broken")</script>')
    _, console, addresses = requests_of_page(page, tmp_path)
    assert addresses == {"http://127.0.0.1:9/x.png"}
    assert any("broken" in line for line in console)


def test_sizes_stand_in_the_heading_of_a_group(results):
    path = results / "tables/table1.csv"
    path.write_text(path.read_text().replace("paper_all\n", "paper_all,episodes,seeds\n")
                    .replace("9.38\n", "9.38,48,1\n").replace("45.31\n", "45.31,48,1\n"))  # fmt: skip
    page = build(results)
    assert "<span>seen, 48 episodes, 1 seed</span>" in page
    assert ">episodes</th>" not in page


def test_a_number_keeps_the_digits_of_its_verdict(results):
    (results / "tables/table1.csv").write_text("benchmark,metric,rho,holds\nalfworld,gini,0.9896,no\n")
    assert "<td>0.9896</td>" in build(results)


def test_other_tables_and_formats_are_linked(results):
    path = results / "tables/table1.csv"
    path.write_text("# Tests: table1_statistics.csv, none.csv\n" + path.read_text())
    (results / "tables/table1_statistics.csv").write_text("a\n1\n")
    (results / "tables/table1.tex").write_text("")
    page = build(results)
    assert '<a href="tables/table1_statistics.csv">table1_statistics.csv</a>' in page
    assert "none.csv" in page
    assert 'href="tables/none.csv"' not in page
    assert 'href="tables/table1.tex"' in page
    assert 'href="tables/table1.md"' not in page


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_at_either_width(results, tmp_path, width):
    path = results / "tables/table1.csv"
    names = [f"a_rather_long_name_{number}" for number in range(20)]
    path.write_text(f"# {'note ' * 90}\nsplit,method,{','.join(names)}\nseen,sft-then-rl{',12345.5' * 20}\n")
    (results / "figures/figure1.svg").write_text(SVG.replace('"72pt"', '"500pt"'))
    build(results)
    # the table is wider than both windows, the picture than the narrow one: they scroll in their boxes
    assert measure(results / "index.html", width, tmp_path) == Measured(width, 1 if width > 1000 else 2, "")
    # the same ruler sees a page that sticks out
    (results / "index.html").write_text('<body><p style="width: 2000px">x</p>')
    found = measure(results / "index.html", width, tmp_path)
    assert found.width > width
    assert found.out == "P"


@pytest.mark.demo
@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_the_demo_s_page_fits(root, tmp_path, width):
    page = root / "results/demo/index.html"
    if not page.exists():
        pytest.skip("results/demo is not built: run `make demo` first")
    found = measure(page, width, tmp_path)
    assert (found.width, found.out) == (width, "")
    assert found.scrolled == 0 or width < 1000
