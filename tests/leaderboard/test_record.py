"""Reading records: what is newer or broken is named, never read as something else."""

import json

import pytest
from qbench.errors import ConfigurationError
from qbench.leaderboard.record import SCHEMA, Record, find_records, read_record

from ..support.leaderboard_factory import record


def write(folder, text: str):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "record.json"
    path.write_text(text)
    return path


def test_a_record_survives_its_file(tmp_path):
    made = record("qca", "A", {"A1": {"pcc_hvg": 0.25, "pcc_mg": None}}, settings={"alpha": 0.5})
    path = write(tmp_path, made.model_dump_json(by_alias=True))
    assert read_record(path) == made
    assert json.loads(path.read_text())["schema"] == SCHEMA


def test_a_record_of_the_first_schema_is_read(tmp_path):
    data = json.loads(record("qca").model_dump_json(by_alias=True)) | {"schema": 1}
    assert read_record(write(tmp_path, json.dumps(data))).schema_version == 1


@pytest.mark.parametrize("schema", ["2", 2.0, True, 0, -1])
def test_a_schema_that_is_no_number_of_one_is_refused(tmp_path, schema):
    data = json.loads(record("qca").model_dump_json(by_alias=True)) | {"schema": schema}
    with pytest.raises(ConfigurationError, match="schema"):
        read_record(write(tmp_path, json.dumps(data)))


def test_a_newer_schema_is_refused_even_where_it_would_validate(tmp_path):
    data = json.loads(record("qca").model_dump_json(by_alias=True)) | {"schema": SCHEMA + 1}
    with pytest.raises(ConfigurationError, match="upgrade qbench"):
        read_record(write(tmp_path, json.dumps(data)))


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', "{"])
def test_what_is_no_record_is_named(tmp_path, text):
    with pytest.raises(ConfigurationError, match=r"record\.json.*Delete its folder"):
        read_record(write(tmp_path, text))


def test_unfinished_folders_are_passed_over(tmp_path):
    text = record("qca").model_dump_json(by_alias=True)
    write(tmp_path / "p" / "cell", text)
    write(tmp_path / "p" / ".cell.123.tmp", text)
    assert [path.name for path, _ in find_records(tmp_path)] == ["cell"]
    assert isinstance(find_records(tmp_path)[0][1], Record)
