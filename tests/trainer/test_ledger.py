"""The log of a run that was cut: every row once, no half ones, whatever the moment of the cut."""

import json

import pytest

from pilotage_trainer.ledger import COLUMNS, Ledger


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch):
    monkeypatch.setattr("pilotage_trainer.ledger.find_spec", lambda name: None)


def row(step):
    return ",".join([str(step), "0", *["1.5"] * (len(COLUMNS) - 2)])


def left_behind(out, rows, validations=()):
    (out / "log.csv").write_text("\n".join([",".join(COLUMNS), *rows]))
    (out / "validation.jsonl").write_text("\n".join(validations))


def reopened(out, steps, epoch=0):
    with Ledger(out, steps, epoch=epoch, quiet=True):
        pass
    return (out / "log.csv").read_text().splitlines()[1:], (out / "validation.jsonl").read_text().splitlines()


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    left_behind(tmp_path, [row(step) for step in range(1, 9)])
    assert reopened(tmp_path, 5)[0] == [row(step) for step in range(1, 6)]


@pytest.mark.parametrize("torn", ["1", "12", "123,0,1.5", "12," * len(COLUMNS)])
def test_a_row_cut_in_the_middle_is_no_row(tmp_path, torn):
    """A buffer ends anywhere: "12" may be what is left of step 1234."""
    left_behind(tmp_path, [*(row(step) for step in range(1, 31)), torn])
    assert reopened(tmp_path, 30)[0] == [row(step) for step in range(1, 31)]


def test_a_validation_cut_in_the_middle_does_not_stop_the_next_run(tmp_path):
    whole = json.dumps({"step": 4, "epoch": 1, "part": "val"})
    left_behind(tmp_path, [row(1)], [whole, '{"step": 8, "epo'])
    assert reopened(tmp_path, 8, epoch=2)[1] == [whole]


def test_a_validation_newer_than_the_checkpoint_of_its_step_is_made_again(tmp_path):
    """The last checkpoint of an epoch is of the step of its validation, and older."""
    lines = [json.dumps({"step": 4 * epoch, "epoch": epoch, "part": "val"}) for epoch in (1, 2)]
    left_behind(tmp_path, [row(1)], lines)
    assert reopened(tmp_path, 8, epoch=1)[1] == lines[:1]
    left_behind(tmp_path, [row(1)], lines)
    assert reopened(tmp_path, 8, epoch=2)[1] == lines


def test_a_run_cut_while_it_opens_its_log_keeps_it(tmp_path, monkeypatch):
    left_behind(tmp_path, [row(step) for step in range(1, 4)])
    before = (tmp_path / "log.csv").read_text()

    def cut(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", cut)
    with pytest.raises(KeyboardInterrupt):
        Ledger(tmp_path, 3, quiet=True)
    assert (tmp_path / "log.csv").read_text() == before


def test_a_run_from_the_beginning_begins_its_log_anew(tmp_path):
    left_behind(tmp_path, [row(1), row(2)], ["{}"])
    assert reopened(tmp_path, 0) == ([], [])


def test_another_process_writes_nothing(tmp_path):
    with Ledger(tmp_path, 0, writes=False) as ledger:
        ledger.flush()
    assert not list(tmp_path.iterdir())
