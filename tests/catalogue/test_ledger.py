"""The ledger: states, what a second run keeps, one writer at a time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogue.job import Job
from catalogue.ledger import BAD, DONE, FAILED, PENDING, REFUSED, SUBMITTED, Ledger
from catalogue.protocol import ComfyError
from catalogue.run_one import Outcome


def job(number: int, **values: object) -> Job:
    return Job(
        f"p{number}", 0, number + 2, 2**64 - 1 - number, {"seed": 2**64 - 1 - number, "category": "靴", **values}
    )


def outcome(number: int) -> Outcome:
    return Outcome(f"key{number}", 5, "id", 1.5, None, {"picture": f"pictures/p{number}.png"})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Three jobs, the first one done."""
    with Ledger(tmp_path / "out" / "ledger.sqlite3") as opened:
        opened.want((job(number), "stamp") for number in range(3))
        (first, *_) = opened.waiting(9)
        opened.submit(first, key="key0", prompt_id="id", server="http://a")
        opened.done(first, outcome(0), "http://a")
        yield opened


def states(ledger: Ledger) -> dict[str, str]:
    every = (PENDING, SUBMITTED, DONE, FAILED, REFUSED, BAD)
    return {entry.job.product: entry.state for entry in ledger.entries(*every)}


def test_a_job_comes_back_as_it_went_in(ledger: Ledger) -> None:
    entries = {entry.job.product: entry for entry in ledger.entries(PENDING, DONE)}
    assert entries["p1"].job == job(1)
    assert entries["p0"].files == {"picture": "pictures/p0.png"} and entries["p0"].seconds == 1.5
    assert entries["p0"].job == job(0) and entries["p0"].seed == 5 and entries["p1"].seed == entries["p1"].job.seed
    assert ledger.counts() == {"pending": 2, "submitted": 0, "done": 1, "failed": 0, "refused": 0, "bad": 0}


def test_a_second_run_keeps_what_is_the_same(ledger: Ledger) -> None:
    second, third = ledger.waiting(9)
    ledger.again(second, "no", failed=True, pause=100)
    ledger.ended(third, FAILED, "no")
    ledger.want((job(number), "stamp") for number in range(3))
    assert states(ledger) == {"p0": DONE, "p1": PENDING, "p2": FAILED}
    (second,) = ledger.waiting(9)
    assert next(ledger.entries(DONE)).seed == 5
    assert (second.failures, second.error, second.submission) == (1, "no", 1), "its pause is over, its failure isn't"


def test_a_changed_row_is_made_anew(ledger: Ledger) -> None:
    (second, third) = ledger.waiting(9)
    ledger.again(second, "no", failed=True, pause=0)
    ledger.ended(third, BAD, "no")
    ledger.want((job(number, size="XL"), "another") for number in range(3))
    waiting = {entry.job.product: entry for entry in ledger.waiting(9)}
    assert waiting.keys() == {"p0", "p1", "p2"} and waiting["p0"].job.values["size"] == "XL"
    assert [(entry.failures, entry.error) for entry in waiting.values()] == [(0, None)] * 3
    assert waiting["p0"].key == "key0" and waiting["p0"].files, "its key tells, when it is made, whether it must be"
    assert waiting["p1"].submission == 1, "its next prompt id is no earlier one"
    ledger.still_done(waiting["p0"])
    assert states(ledger)["p0"] == DONE


def test_a_row_that_left_the_catalogue_is_not_counted_and_may_come_back(ledger: Ledger) -> None:
    ledger.want([(job(1), "stamp")])
    assert states(ledger) == {"p1": PENDING} and sum(ledger.counts().values()) == 1
    assert [entry.job.product for entry in ledger.waiting(9)] == ["p1"]
    ledger.want((job(number), "stamp") for number in range(3))
    assert states(ledger) == {"p0": DONE, "p1": PENDING, "p2": PENDING}


def test_a_catalogue_that_breaks_off_changes_nothing(ledger: Ledger) -> None:
    def broken() -> Iterator[tuple[Job, str]]:
        yield job(1, size="XL"), "another"
        raise ComfyError("the file ends here")

    with pytest.raises(ComfyError):
        ledger.want(broken())
    assert states(ledger) == {"p0": DONE, "p1": PENDING, "p2": PENDING}
    assert "size" not in ledger.waiting(1)[0].job.values
    ledger.want([(job(1), "stamp")])  # and it can go on


def test_lost_files_are_made_again(ledger: Ledger) -> None:
    assert ledger.reopen(None) == ledger.reopen({"p0.png"}) == 0
    assert ledger.reopen(set()) == 1
    first = ledger.waiting(1)[0]
    assert (first.job.product, first.state, first.submission) == ("p0", PENDING, 1)


def test_what_failed_comes_last_and_after_its_pause(ledger: Ledger) -> None:
    second, third = ledger.waiting(9)
    ledger.again(second, "no", failed=True, pause=0)
    assert [entry.job.product for entry in ledger.waiting(9)] == ["p2", "p1"]
    ledger.again(third, "no", failed=False, pause=0)
    assert [entry.job.product for entry in ledger.waiting(9)] == ["p1", "p2"], "in the catalogue's order again"
    ledger.again(second, "no", failed=True, pause=100)
    assert [entry.job.product for entry in ledger.waiting(9)] == ["p2"]
    (third,) = ledger.waiting(9)
    assert (third.failures, third.losses, third.submission) == (0, 1, 1)
    ledger.submit(third, key="key2", prompt_id="x", server="http://a")
    soon = ledger.next_time()
    assert soon and 90 < soon - time.time() < 101


def test_what_a_server_has_is_known(ledger: Ledger) -> None:
    second, third = ledger.waiting(9)
    ledger.submit(second, key="key1", prompt_id="x", server="http://a")
    ledger.submit(third, key="key2", prompt_id="y", server="http://b")
    assert [entry.prompt_id for entry in ledger.submitted("http://b")] == ["y"] and len(ledger.submitted()) == 2
    ledger.put_back(second)
    ledger.put_back(third, taken_back=True)
    assert [(entry.submission, entry.failures) for entry in ledger.waiting(9)] == [(0, 0), (1, 0)]


def test_retry(ledger: Ledger) -> None:
    second, third = ledger.waiting(9)
    ledger.again(second, "no", failed=True, pause=0)
    ledger.ended(second, FAILED, "no")
    ledger.ended(third, REFUSED, "never")
    assert ledger.retry((FAILED,), ("p2",)) == 0
    assert ledger.retry((FAILED, REFUSED), ("p2",)) == 1
    assert states(ledger) == {"p0": DONE, "p1": FAILED, "p2": PENDING}
    assert ledger.retry((FAILED,)) == 1
    entries = {entry.job.product: entry for entry in ledger.waiting(9)}
    assert entries["p1"].failures == 0 and entries["p1"].submission == 2, "its prompt id is a new one"


def test_what_a_server_says_is_stored_whatever_it_is(ledger: Ledger) -> None:
    (second, third) = ledger.waiting(9)
    ledger.ended(second, FAILED, "half a letter \ud800, nothing \0" + "x" * 10**6)
    ledger.again(third, "\udcff", failed=True, pause=0)
    (entry,) = ledger.entries(FAILED)
    assert entry.error and entry.error.startswith("half a letter ?, nothing \0x") and len(entry.error) == 2000


def test_one_writer_and_many_readers(ledger: Ledger) -> None:
    with pytest.raises(ComfyError, match="Another run is at work on"):
        Ledger(ledger.path)
    with Ledger(ledger.path, read_only=True) as reader:
        ledger.remember("x", [1])
        assert reader.recall("x") == [1] and reader.recall("y") is None
        assert reader.counts()["done"] == 1
    assert ledger.client_id() == ledger.client_id()


def test_a_killed_runs_ledger_opens_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    code = (
        "import os, sys; from pathlib import Path; from catalogue.ledger import Ledger; from catalogue.job import Job\n"
        "ledger = Ledger(Path(sys.argv[1])); ledger.want([(Job('p', 0, 2, 5, {}), 's')])\n"
        "ledger.submit(ledger.waiting(1)[0], key='k', prompt_id='i', server='u'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    with Ledger(path) as ledger:
        (entry,) = ledger.submitted("u")
        assert (entry.job.product, entry.key, entry.prompt_id) == ("p", "k", "i")


def test_what_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(ComfyError, match=r"There is no ledger .*lost\.sqlite3"):
        Ledger(tmp_path / "lost.sqlite3", read_only=True)
    (tmp_path / "text.sqlite3").write_text("not a database, but long enough for its header" * 9)
    sqlite3.connect(tmp_path / "other.sqlite3").executescript("CREATE TABLE jobs (x)")
    (tmp_path / "folder.sqlite3").mkdir()
    (tmp_path / "empty.sqlite3").touch()
    with pytest.raises(ComfyError, match=r"empty\.sqlite3 is no ledger"):
        Ledger(tmp_path / "empty.sqlite3", read_only=True)
    assert (tmp_path / "empty.sqlite3").read_bytes() == b"", "a look changes nothing"
    for name in ("text", "other", "folder"):
        with pytest.raises(ComfyError, match=rf"{name}\.sqlite3 is no ledger of a catalogue"):
            Ledger(tmp_path / f"{name}.sqlite3")
        with Ledger(tmp_path / "good.sqlite3"):  # a refused one leaves nothing locked
            pass
