import numpy as np
import pytest
from qbench.benchmark.downstream.gene_sets import columns_of, read_gene_sets, set_correlations
from qbench.errors import ConfigurationError, DataError, QbenchError


def test_shipped_signatures_have_sources_and_no_gene_twice():
    found = read_gene_sets(["breast"])
    assert {len(found["pam50"]), len(found["t_cell_inflamed"]), len(found["chemokines_12"])} == {50, 18, 12}
    assert len(found["collagens"]) == 44
    assert all(len(set(genes)) == len(genes) for genes in found.values())
    assert set(found["pam50_proliferation"]) < set(found["pam50"])


def test_a_gmt_file_stands_beside_the_shipped_ones(tmp_path):
    path = tmp_path / "mine.gmt"
    path.write_text("HALLMARK_X\thttp://somewhere\tA\tB\tB\tC\n\nHALLMARK_Y\t\tD\n")
    found = read_gene_sets(["breast", str(path)])
    assert found["HALLMARK_X"] == ("A", "B", "C")
    assert found["HALLMARK_Y"] == ("D",)
    assert "pam50" in found
    with pytest.raises(ConfigurationError, match="each gene set once, found 'HALLMARK_X' twice"):
        read_gene_sets([str(path), str(path)])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found none"),
        ("X\n", "line 1 .*found no genes"),
        ("X\tabout\t\t\n", "line 1 .*found no genes"),
        ("X\t\tA\nX\t\tB\n", "line 2 .*found the set 'X' again"),
        ("\t\tA\n", "line 1 .*found no name"),
        ("X\x1b[31m\t\tA\n", "without control characters"),
        ("X\t\tA\x1b\n", "without control characters"),
    ],
)
def test_what_is_no_gmt_is_one_sentence(tmp_path, text, found):
    path = tmp_path / "mine.gmt"
    path.write_text(text)
    with pytest.raises(DataError, match=found):
        read_gene_sets([str(path)])


@pytest.mark.parametrize("asked", ["brest", "no.gmt"])
def test_what_is_not_there_is_one_sentence(tmp_path, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QbenchError, match=r"Did you mean 'breast'|no\.gmt"):
        read_gene_sets([asked])


def test_a_set_is_scored_by_the_plain_mean_of_its_genes_in_the_panel():
    rng = np.random.default_rng(0)
    truth, prediction = rng.normal(size=(60, 5)), rng.normal(size=(60, 5))
    columns = columns_of({"three": ("B", "E", "C", "none"), "two": ("A", "B"), "none": ("X", "Y", "Z")}, "ABCDE")
    assert {name: at.tolist() for name, at in columns.items()} == {"three": [1, 4, 2], "two": [], "none": []}
    found = set_correlations(truth, prediction, columns)
    due = np.corrcoef(truth[:, [1, 2, 4]].mean(axis=1), prediction[:, [1, 2, 4]].mean(axis=1))[0, 1]
    assert found == {"three": pytest.approx(due), "two": None, "none": None}
    assert set_correlations(truth, truth, columns)["three"] == pytest.approx(1)
    assert set_correlations(truth, truth * 0 + 1, columns)["three"] == 0
