"""Results go to stdout, everything else to stderr."""

from __future__ import annotations

from poolwise.cli.output import show_progress


def test_what_a_library_prints_during_the_work_stays_out_of_the_results(capsys):
    with show_progress():
        print("(raylet) A worker died or was killed while executing a task")
    print("rank,index")
    out, err = capsys.readouterr()
    assert out == "rank,index\n"
    assert err == "(raylet) A worker died or was killed while executing a task\n"
