"""Label Studio tasks: what an annotator needs, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.exporters.label_studio import label_studio, labeling_setup
from poolwise.exporters.read_labels import read_labels
from poolwise.store.pool import PoolStore
from poolwise.types import NOT_OF_INTEREST, Annotation, Item, PoolState, Selection


def ask(store: PoolStore, *indices: int) -> None:
    def choose(state: PoolState, seed: int) -> Selection:
        return Selection(np.array(indices), None, "margin", {}, seed, 0.0)

    store.ask(choose)


@pytest.fixture
def photos(tmp_path: Path) -> PoolStore:
    folder = tmp_path / "my photos"
    folder.mkdir()
    names = ["a.jpg", "b & c.jpg", "d.jpg"]
    return PoolStore.create(
        tmp_path / "birds.pool",
        [Item(0, name, uri=name) for name in names],
        classes=['great "tit"', "<robin>"],
        source={"kind": "image_folder", "folder": str(folder)},
    )


def read(path: Path) -> list[dict]:
    return [task["data"] for task in json.loads(path.read_text(encoding="utf-8"))]


def test_asked_pictures_become_tasks_in_order_of_choice(tmp_path: Path, photos: PoolStore) -> None:
    ask(photos, 2, 1)
    data = read(label_studio(photos, tmp_path / "tasks.json", document_root=str(tmp_path)))
    assert [d["item_id"] for d in data] == ["d.jpg", "b & c.jpg"]
    assert [d["image"] for d in data] == [
        "/data/local-files/?d=my%20photos/d.jpg",
        "/data/local-files/?d=my%20photos/b%20%26%20c.jpg",
    ]
    assert [d["rank"] for d in data] == [0, 1] and data[0]["strategy"] == "margin"


def test_answered_items_are_not_exported_and_unlabeled_ones_on_request(tmp_path: Path, photos: PoolStore) -> None:
    ask(photos, 2, 1)
    photos.annotate([Annotation(2, "<robin>")])
    assert [d["item_id"] for d in read(label_studio(photos, tmp_path / "t.json"))] == ["b & c.jpg"]
    everything = read(label_studio(photos, tmp_path / "t.json", which="unlabeled"))
    assert [d["item_id"] for d in everything] == ["b & c.jpg", "a.jpg"]


def test_nothing_asked_says_what_to_type(tmp_path: Path, photos: PoolStore) -> None:
    with pytest.raises(InputError, match="no asked item to export; ask for a batch with `poolwise query"):
        label_studio(photos, tmp_path / "tasks.json")
    assert not (tmp_path / "tasks.json").exists()


def test_a_picture_outside_the_served_folder_is_refused(tmp_path: Path, photos: PoolStore) -> None:
    ask(photos, 0)
    with pytest.raises(InputError, match="not below document_root"):
        label_studio(photos, tmp_path / "tasks.json", document_root=str(tmp_path / "birds.pool"))


def test_texts_stand_inline_and_web_addresses_as_they_are(tmp_path: Path) -> None:
    items = [Item(0, "t", text="<script>é\n"), Item(1, "u", uri="https://example.org/a.png?x=1")]
    store = PoolStore.create(tmp_path / "p.pool", items, source={"kind": "table_text"})
    ask(store, 0, 1)
    data = read(label_studio(store, tmp_path / "tasks.json"))
    assert data[0]["text"] == "<script>é\n" and data[1]["image"] == "https://example.org/a.png?x=1"


def test_a_picture_in_a_table_is_put_into_the_task(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), dtype=np.uint8))
    store = PoolStore.create(
        tmp_path / "p.pool", [Item(0, "0", uri="#0")], source={"kind": "image_rows", "file": str(tmp_path / "x.npy")}
    )
    ask(store, 0)
    assert read(label_studio(store, tmp_path / "tasks.json"))[0]["image"].startswith("data:image/png;base64,iVBOR")


def test_an_item_without_content_is_refused(tmp_path: Path) -> None:
    store = PoolStore.create(tmp_path / "p.pool", [Item(0, "row 0")], source={"kind": "arrays"})
    ask(store, 0)
    with pytest.raises(InputError, match="'row 0' has neither picture nor text"):
        label_studio(store, tmp_path / "tasks.json")


def test_the_labeling_setup_is_xml_with_every_class(tmp_path: Path, photos: PoolStore) -> None:
    ask(photos, 0)
    label_studio(photos, tmp_path / "tasks.json")
    view = ElementTree.parse(tmp_path / "tasks.xml").getroot()
    values = [choice.get("alias") or choice.get("value") for choice in view.iter("Choice")]
    assert values == ['great "tit"', "<robin>", NOT_OF_INTEREST]
    assert ElementTree.fromstring(labeling_setup([], "text")).find("Text").get("value") == "$text"


def test_tasks_annotated_in_label_studio_come_back_as_labels(tmp_path: Path, photos: PoolStore) -> None:
    ask(photos, 1, 0)
    tasks = json.loads(label_studio(photos, tmp_path / "tasks.json").read_text(encoding="utf-8"))
    for task, answer in zip(tasks, ["<robin>", NOT_OF_INTEREST], strict=True):
        result = {"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": [answer]}}
        task["annotations"] = [{"result": [result], "was_cancelled": False, "lead_time": 1.5}]
    (tmp_path / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    rows = read_labels(tmp_path / "export.json")
    assert [(row.item_id, row.label) for row in rows] == [("b & c.jpg", "<robin>"), ("a.jpg", NOT_OF_INTEREST)]


def test_a_picture_that_cannot_be_opened_names_its_item(tmp_path: Path) -> None:
    store = PoolStore.create(
        tmp_path / "p.pool", [Item(0, "7", uri="#7")], source={"kind": "image_rows", "file": str(tmp_path / "none.npy")}
    )
    ask(store, 0)
    with pytest.raises(InputError, match="item '7' cannot be opened"):
        label_studio(store, tmp_path / "tasks.json")
