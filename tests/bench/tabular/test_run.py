"""The benchmark as a whole: published numbers, resuming, refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from poolwise.bench.tabular import format_table, run_tabular
from poolwise.bench.tabular.code import _with_helpers, code_digest
from poolwise.bench.tabular.loader import load_set
from poolwise.bench.tabular.protocol import Cell, make_cell
from poolwise.bench.tabular.reference import published
from poolwise.bench.tabular.registry import TABULAR, State, tabular
from poolwise.bench.tabular.results import read_rows
from poolwise.bench.tabular.run import _data_digest, load_readable
from poolwise.bench.tabular.simulate import simulate
from poolwise.errors import BudgetError, InputError, OptionError, UnknownNameError
from poolwise.kernels.sampling import best_first
from poolwise.types import IndexArray

from .conftest import blobs, cell_of


def test_appendicitis_over_100_seeds_equals_the_published_table(tabular_dir: Path) -> None:
    rows = run_tabular(["appendicitis"], ["us"], seeds=100, data_dir=tabular_dir).rows
    values = [row.aubc_noinit for row in rows]
    assert len(values) == 100
    assert np.mean(values) == pytest.approx(0.8454, abs=5e-5)
    assert np.std(values, ddof=1) == pytest.approx(0.0333, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["appendicitis", "ex8b", "haberman", "ionosphere", "wdbc"])
def test_three_strategies_over_100_seeds_equal_the_published_table(tabular_dir: Path, name: str) -> None:
    rows = run_tabular([name], ["random", "us", "kcenter"], seeds=100, data_dir=tabular_dir, workers=2).rows
    for strategy, column in (("random", "Random"), ("us", "US-C"), ("kcenter", "Core-Set")):
        figure = published(name, column)
        assert figure is not None
        ours = np.mean([row.aubc_noinit for row in rows if row.strategy == strategy])
        assert ours == pytest.approx(figure.mean, abs=5e-4)


def test_strategies_share_start_and_end_and_visit_every_position_once(cell: Cell) -> None:
    curves = [simulate(cell, name) for name in ("random", "us", "kcenter")]
    for curve in curves:
        assert sorted(curve.order.tolist()) == list(range(20, 30))
        assert curve.n_labeled.tolist() == list(range(20, 31))
    assert len({int(c.n_correct[0]) for c in curves}) == 1
    assert len({int(c.n_correct[-1]) for c in curves}) == 1


def test_batches_and_budgets_shorten_the_last_round(cell: Cell) -> None:
    curve = simulate(cell, "us", batch_size=3, budget=7)
    assert curve.n_labeled.tolist() == [20, 23, 26, 27]
    assert len(set(curve.order.tolist())) == 7
    for budget in (0, 11):
        with pytest.raises(BudgetError, match="between 1 and 10"):
            simulate(cell, "us", budget=budget)


def test_hidden_labels_do_not_change_the_first_query() -> None:
    cell = cell_of(blobs(60))
    swapped = cell.y_train.copy()
    swapped[20:] = 1 - swapped[20:]
    other = type(cell)(**{f: getattr(cell, f) for f in cell.__slots__} | {"y_train": swapped})
    for name in TABULAR:
        if TABULAR[name].cost in ("instant", "fast"):
            assert simulate(cell, name, budget=1).order == simulate(other, name, budget=1).order


def test_a_missing_set_is_named_and_the_others_run(folder: Path) -> None:
    results = run_tabular(["heart", "two"], ["random"], seeds=2, data_dir=folder)
    assert [d for d, _ in results.missing] == ["heart"]
    assert {row.dataset for row in results.rows} == {"two"}
    assert "heart" in format_table(results)


def test_it_is_an_error_if_none_of_the_sets_exists(folder: Path) -> None:
    with pytest.raises(InputError, match=r"none of the data sets heart, sonar.*--data-dir"):
        run_tabular(["heart", "sonar"], ["random"], seeds=1, data_dir=folder)
    with pytest.raises(InputError, match=r"thre \(did you mean 'three'\?\)"):
        run_tabular(["thre"], ["random"], seeds=1, data_dir=folder)


def test_one_seed_has_no_spread_in_the_table(folder: Path, tabular_dir: Path) -> None:
    for name, where in (("two", folder), ("appendicitis", tabular_dir)):
        table = format_table(run_tabular([name], ["random"], seeds=1, data_dir=where))
        assert "nan" not in table


def test_unknown_strategies_models_and_empty_seeds_are_refused(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="kcenter"):
        run_tabular(["two"], ["kcentre"], seeds=1, data_dir=folder)
    with pytest.raises(UnknownNameError, match="svm-rbf"):
        run_tabular(["two"], ["us"], seeds=1, data_dir=folder, model="svm")
    with pytest.raises(OptionError, match="at least one seed"):
        run_tabular(["two"], ["us"], seeds=0, data_dir=folder)


def test_machine_form_has_the_promised_keys(folder: Path) -> None:
    form = run_tabular(["two"], ["random", "us"], seeds=2, data_dir=folder).to_dict()
    assert json.loads(json.dumps(form)) == form
    assert [(r["strategy"], r["seed"]) for r in form["rows"]] == [("random", 0), ("random", 1), ("us", 0), ("us", 1)]
    assert set(form["rows"][0]) == {"dataset", "strategy", "seed", "aubc", "aubc_noinit", "final"}


def test_machine_form_is_rows_alone_unless_something_could_not_be_run(folder: Path) -> None:
    assert set(run_tabular(["two"], ["us"], seeds=1, data_dir=folder, budget=2).to_dict()) == {"rows"}
    form = run_tabular(["two", "gone", "three"], ["quire"], seeds=1, data_dir=folder, budget=2).to_dict()
    assert set(form) == {"rows", "missing", "refused"}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Files of other people: each name says what is the matter with it."""
    lines = [f"{i % 2} 1:{i / 7} 2:{(i * i) % 13}" for i in range(60)]
    files = {
        "zero_one.txt": lines,
        "one_two.svm": [f"{1 + int(line[0])}{line[1:]}" for line in lines],
        "constant.libsvm": [line + " 3:7" for line in lines],
        "ten.dat": [f"{i % 10} 1:{i % 10}.5 2:{i}" for i in range(200)],
        "tiny.txt": lines[:12],
        "alike.txt": [f"1{line[1:]}" for line in lines],
        "notnumber.txt": [*lines[:5], "1 1:nan 2:3", *lines[5:]],
        "prose.txt": ["These are the data of a study.", "Ask us for more."],
        "empty.txt": [],
        "far.txt": ["1 1:1", "0 99999999999999:1"],
    }
    for name, body in files.items():
        (tmp_path / name).write_text("\n".join(body))
    whole = gzip.compress("\n".join(lines).encode())
    (tmp_path / "packed.txt.gz").write_bytes(whole)
    (tmp_path / "cut.txt.gz").write_bytes(whole[:-30])
    (tmp_path / "damaged.txt.gz").write_bytes(whole[:30] + b"\x00" * 20 + whole[50:])
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00\x01" * 20)
    return tmp_path


BROKEN = ("alike", "bytes", "cut", "damaged", "empty", "far", "notnumber", "prose")


def test_a_folder_of_odd_files_runs_what_can_be_read_and_names_the_rest(odd: Path) -> None:
    results = run_tabular([], ["us"], seeds=6, data_dir=odd, budget=3)
    assert sorted(name for name, _ in results.missing) == sorted(BROKEN)
    for name, reason in results.missing:
        assert name in reason, reason
    assert dict(results.missing)["notnumber"].startswith("notnumber.txt, line 6")
    areas = {name: [row.aubc for row in results.rows if row.dataset == name] for name in ("zero_one", "one_two")}
    assert areas["zero_one"] == areas["one_two"]
    assert {row.dataset for row in results.rows} >= {"zero_one", "one_two", "constant", "packed"}
    assert len({seed for name, seed, _ in results.skipped if name == "tiny"}) == 6


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_alone_is_an_error_that_names_it(odd: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        run_tabular([name], ["us"], seeds=1, data_dir=odd, budget=3)


def test_a_set_too_small_for_the_initial_labels_says_what_to_type(odd: Path) -> None:
    with pytest.raises(InputError, match=r"7 train rows leave nothing.*--initial"):
        run_tabular(["tiny"], ["us"], seeds=3, data_dir=odd)
    assert run_tabular(["tiny"], ["us"], seeds=3, data_dir=odd, n_initial=4).rows


def test_an_index_of_another_kind_is_named(odd: Path) -> None:
    (odd / "index.csv").write_text("file;rows\nzero_one;60\n")
    with pytest.raises(InputError, match=r"index.csv with the columns name"):
        run_tabular(["zero_one"], ["us"], seeds=1, data_dir=odd)


def test_rows_do_not_depend_on_workers(folder: Path) -> None:
    one = run_tabular(["two", "three"], ["us", "kcenter"], seeds=2, data_dir=folder, budget=5)
    two = run_tabular(["two", "three"], ["us", "kcenter"], seeds=2, data_dir=folder, budget=5, workers=2)
    assert one.to_dict() == two.to_dict()


def test_a_stopped_run_continues_even_from_a_torn_line(folder: Path, tmp_path: Path) -> None:
    whole = run_tabular(["two"], ["us", "kcenter"], seeds=3, data_dir=folder, budget=4)
    out = tmp_path / "out"
    run_tabular(["two"], ["us"], seeds=2, data_dir=folder, budget=4, out=out)
    path = out / "rows.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(first.replace('"aubc":', '"aubc":7') + "\n" + second[:-9])
    results = run_tabular(["two"], ["us", "kcenter"], seeds=3, data_dir=folder, budget=4, out=out)
    assert results.rows[0].aubc >= 7  # what is done is not done again
    assert results.to_dict()["rows"][1:] == whole.to_dict()["rows"][1:]
    assert len(path.read_text().splitlines()) == 7  # with the torn one
    assert len(list(read_rows(path))) == 6


def test_other_settings_are_other_rows(folder: Path, tmp_path: Path) -> None:
    short = run_tabular(["two"], ["us"], seeds=1, data_dir=folder, budget=3, out=tmp_path)
    long = run_tabular(["two"], ["us"], seeds=1, data_dir=folder, budget=4, out=tmp_path)
    assert len(short.rows[0].order) == 3
    assert len(long.rows[0].order) == 4


def test_skipped_seeds_are_reported_not_replaced(tmp_path: Path) -> None:
    lines = [f"{int(i < 4)} 1:{i}" for i in range(100)]  # 4 % of the rows are of class 1
    (tmp_path / "rare.txt").write_text("\n".join(lines))
    results = run_tabular(["rare"], ["random"], seeds=10, data_dir=tmp_path, budget=2)
    assert results.skipped
    assert len(results.rows) + len(results.skipped) == 10
    assert format_table(results).count("skipped: rare, seed") == len(results.skipped)


def test_a_strategy_that_returns_labeled_positions_is_refused(cell: Cell) -> None:
    tabular("bad-on-purpose", family="test", paper="none")(lambda state: state.labeled[:1])
    try:
        with pytest.raises(InputError, match="distinct unlabeled positions"):
            simulate(cell, "bad-on-purpose")
    finally:
        del TABULAR._entries["bad-on-purpose"]


def test_what_a_strategy_raises_ends_it_alone_and_is_reported(folder: Path, tmp_path: Path) -> None:
    def sometimes(state: State) -> IndexArray:
        """Fail on the second data set."""
        if state.n_classes == 3:
            raise ZeroDivisionError("on purpose")
        return state.unlabeled[:1]

    tabular("bad-on-purpose", family="test", paper="none")(sometimes)
    try:
        results = run_tabular(
            ["two", "three"], ["bad-on-purpose", "us"], seeds=1, data_dir=folder, budget=2, out=tmp_path
        )
        assert results.failed == (("three", "bad-on-purpose", 0, "ZeroDivisionError: on purpose"),)
        assert [(r.dataset, r.strategy) for r in results.rows] == [
            ("two", "bad-on-purpose"),
            ("two", "us"),
            ("three", "us"),
        ]
        assert "failed: bad-on-purpose on three, seed 0: ZeroDivisionError" in format_table(results)
        with pytest.raises(InputError, match="all 1 runs of the benchmark failed; the first: ZeroDivisionError"):
            run_tabular(["three"], ["bad-on-purpose"], seeds=1, data_dir=folder, budget=2)
    finally:
        del TABULAR._entries["bad-on-purpose"]


def test_rows_of_other_code_or_other_data_are_run_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows_after(code: str) -> int:
        monkeypatch.setattr("poolwise.bench.tabular.run.code_digest", lambda name: code)
        results = run_tabular(["two"], ["us"], seeds=1, data_dir=folder, budget=2, out=tmp_path / "out")
        assert len(results.rows) == 1
        return len((tmp_path / "out" / "rows.jsonl").read_text().splitlines())

    assert [rows_after("a"), rows_after("a"), rows_after("b")] == [1, 1, 2]
    with (folder / "two-svmstyle.txt").open("a") as file:
        file.write("+1 1:0.5 2:0.5\n")
    load_readable.cache_clear()
    _data_digest.cache_clear()
    assert rows_after("b") == 3


def test_the_digest_of_a_strategy_follows_the_modules_that_it_leans_on() -> None:
    assert len({code_digest(name) for name in ("us", "bmdr", "spal", "bso")}) == 4
    helpers = _with_helpers(["poolwise.bench.tabular.strategies.spal"])
    assert {f"poolwise.bench.tabular.{name}" for name in ("strategies.bmdr", "simplex", "evaluate")} <= helpers
    assert "poolwise.bench.tabular.strategies.quire" not in helpers


def test_damaged_lines_are_run_again(folder: Path, tmp_path: Path) -> None:
    whole = run_tabular(["two"], ["us"], seeds=3, data_dir=folder, budget=3, out=tmp_path / "out")
    path = tmp_path / "out" / "rows.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\xff\xfe{" + lines[0] + b"\n" + lines[1] + b"\n{}\n[1]\n" + lines[2][:40])
    again = run_tabular(["two"], ["us"], seeds=3, data_dir=folder, budget=3, out=tmp_path / "out")
    assert again.to_dict() == whole.to_dict()


def test_published_figures_are_found_by_column() -> None:
    figure = published("sonar", "US-C")
    assert figure is not None
    assert (figure.mean, figure.std, figure.n_seeds) == (0.7762, 0.0313, 100)
    assert published("sonar", "InfoDiv") == figure
    quire = published("banana", "QUIRE")
    assert quire is not None
    assert (quire.mean, quire.std, quire.n_seeds) == (0.8299, None, 10)
    assert published("spambase", "EER") is None
    assert published("iris", "US-C") is None


def test_kcenter_is_farthest_first_by_brute_force(tabular_dir: Path) -> None:
    cell = make_cell(load_set("sonar", tabular_dir), 0)
    chosen = list(range(20))
    for pick in simulate(cell, "kcenter", budget=12).order.tolist():
        gaps = [
            min(np.sqrt(np.sum((cell.x_train[u] - cell.x_train[c]) ** 2)) for c in chosen)
            for u in range(len(cell.x_train))
        ]
        assert pick == int(np.argmax(gaps))
        chosen.append(pick)


def test_us_takes_the_smallest_margin_and_then_the_smallest_position(cell: Cell) -> None:
    from sklearn.svm import SVC

    model = SVC(gamma="auto").fit(cell.x_train[:20], cell.y_train[:20])
    gap = np.abs(model.decision_function(cell.x_train[20:]))
    assert simulate(cell, "us", batch_size=4, budget=4).order.tolist() == (20 + np.argsort(gap)[:4]).tolist()
    assert best_first(np.zeros(5), np.arange(20, 25), 2).tolist() == [0, 1]


def test_oracles_run_beside_strategies(folder: Path) -> None:
    results = run_tabular(["two"], ["random", "bso", "oracle_area"], seeds=1, data_dir=folder, budget=4)
    area = {row.strategy: row.aubc for row in results.rows}
    assert area["oracle_area"] >= area["bso"] >= area["random"]
    assert all(row.n_labeled == (20, 21, 22, 23, 24) for row in results.rows)
    with pytest.raises(OptionError, match="bso adds one item at a time"):
        run_tabular(["two"], ["bso"], seeds=1, data_dir=folder, budget=4, batch_size=2)


def test_a_name_without_a_definition_says_so(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="defines it"):
        run_tabular(["two"], ["sps"], seeds=1, data_dir=folder)


def test_table_ends_with_ranks_over_the_sets_that_all_finished(folder: Path) -> None:
    results = run_tabular(["two", "three", "words"], ["us", "random", "quire"], seeds=2, data_dir=folder, budget=4)
    table = format_table(results)
    assert "over 2 data set(s): " in table
    assert "refused: quire" in table


def test_published_figures_stand_beside_their_own_setting_only(tabular_dir: Path) -> None:
    full = run_tabular(["appendicitis"], ["us"], seeds=1, data_dir=tabular_dir)
    part = run_tabular(["appendicitis"], ["us"], seeds=1, data_dir=tabular_dir, budget=5)
    assert "0.8454" in format_table(full)
    assert "0.8454" not in format_table(part)
