"""Reading WebShop's original files."""

import json
import re

import pytest

from prism.core.errors import BadInput
from prism.environments.webshop import products
from prism.environments.webshop.products import CatalogFiles, parse_price, parse_product, read_products, stream_array


def record(**changes):
    base = {
        "asin": "B000000001",
        "name": "Mug, Blue",
        "full_description": "A mug.",
        "small_description": ["Holds tea"],
        "pricing": "$5.00",
        "category": "garden",
        "query": " Mugs ",
        "product_category": "Home › Mugs",
        "customization_options": {"Color": [{"value": " Red/Blue "}], "Material": None},
    }
    return {**base, **changes}


def write_catalog(folder, rows):
    (folder / "items_shuffle.json").write_text(json.dumps(rows))
    (folder / "items_ins_v2.json").write_text("{}")
    (folder / "items_human_ins.json").write_text("{}")
    return CatalogFiles.in_folder(folder)


@pytest.mark.parametrize(
    ("text", "prices", "tag"),
    [
        (None, (100.0,), "$100.0"),
        ("", (100.0,), "$100.0"),
        ("$12.41", (12.41,), "$12.41"),
        ("$1,299.00", (1299.0,), "$1299.0"),
        ("$5.70$301.02", (5.7, 301.02), "$5.7 to $301.02"),
        ("$3 - $4", (3.0, 4.0), "$3.0 to $4.0"),
        ("$1$2$3", (1.0, 2.0), "$1.0 to $2.0"),
    ],
)
def test_prices(text, prices, tag):
    assert parse_price(text, "here") == (prices, tag)


@pytest.mark.parametrize("text", ["12.41", "$", "$1.2.3", ["$5"]])
def test_unreadable_price_is_named(text):
    with pytest.raises(BadInput, match="here: price"):
        parse_price(text, "here")


def test_product_as_the_original_reads_it():
    product = parse_product(record(), {"attributes": ["dishwasher safe"]}, "here")
    assert product.options == {"color": ("red | blue",)}
    assert product.query == "mugs"
    assert product.attributes == ("dishwasher safe",)
    assert product.search_text() == "mug, blue a mug. holds tea color: red | blue"
    assert products.Product.from_record(json.loads(json.dumps(product.to_record()))) == product


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"asin": None}, "'asin' is missing"),
        ({"name": None}, "'name' is missing"),
        ({"small_description": []}, "'small_description'"),
        ({"customization_options": "red"}, "options of unknown type str"),
        ({"customization_options": {"color": "red"}}, "option 'color' is of unknown type str"),
        ({"customization_options": {"color": [{"colour": "red"}]}}, "no text 'value'"),
    ],
)
def test_bad_rows_are_named(tmp_path, changes, problem):
    files = write_catalog(tmp_path, [record(**changes)])
    with pytest.raises(BadInput, match=problem) as caught:
        list(read_products(files, {}))
    assert "product 0" in str(caught.value)


def test_rows_that_the_original_passes_over(tmp_path):
    rows = [record(asin="nan"), record(asin="B0123456789X"), record(), record(name="again"), record(asin="B2")]
    files = write_catalog(tmp_path, rows)
    assert [product.title for product in read_products(files, {})] == ["Mug, Blue", "Mug, Blue"]
    assert [product.asin for product in read_products(files, {}, limit=4)] == ["B000000001"]


def test_streaming_equals_loading(tmp_path, monkeypatch):
    monkeypatch.setattr(products, "_CHUNK_CHARACTERS", 7)
    items = [1, -2.5e3, "a,]b", {"x": [1, {"y": '[é\\"'}]}, None, True, [], 12345678901234567890, "end"]
    for text in (json.dumps(items), json.dumps(items, indent=3), f" \n{json.dumps(items)} \n"):
        path = tmp_path / "array.json"
        path.write_text(text)
        assert list(stream_array(path)) == items


def test_every_truncation_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(products, "_CHUNK_CHARACTERS", 5)
    path, text = tmp_path / "array.json", json.dumps([{"a": 1}, "two", 3])
    for length in range(len(text)):
        path.write_text(text[:length])
        with pytest.raises(BadInput, match=re.escape(str(path))):
            list(stream_array(path))


def test_missing_and_mixed_files(tmp_path):
    with pytest.raises(BadInput, match="holds no items_shuffle"):
        CatalogFiles.in_folder(tmp_path)
    write_catalog(tmp_path, [record()])
    (tmp_path / "items_human_ins.json").unlink()
    with pytest.raises(BadInput, match=r"items_human_ins\.json: is missing"):
        CatalogFiles.in_folder(tmp_path)
    (tmp_path / "items_shuffle_1000.json").write_text("[]")
    with pytest.raises(BadInput, match="the small and the full catalog"):
        CatalogFiles.in_folder(tmp_path)
