"""transformers models, made here and loaded from local folders; nothing is downloaded."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poolwise.errors import InputError, OptionError
from poolwise.models import open_backbone
from poolwise.models.torchvision_compat import ensure_torchvision
from poolwise.models.weights import require

torch = pytest.importorskip("torch")
ensure_torchvision()
pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "cat", "dog", "##s"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = Image.effect_noise((50, 40), 60).convert("RGB")


@pytest.fixture(scope="module")
def library() -> Any:
    return require("transformers", "tests")


@pytest.fixture(scope="module")
def bert(library: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = library.BertTokenizer(str(folder / "vocab.txt"))
    network = library.BertModel(library.BertConfig(vocab_size=len(WORDS), max_position_embeddings=20, **SMALL)).eval()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return network, tokenizer, folder


def test_texts_are_the_mean_over_their_own_tokens(bert: tuple[Any, Any, Path]) -> None:
    network, tokenizer, folder = bert
    opened = open_backbone(f"transformers:{folder}", content="text", device="cpu")
    texts = ["hello world", "cat dogs hello cat world", "dog"]
    got = opened.embed([opened.prepare(text) for text in texts])
    assert got.shape == (3, opened.width) == (3, 32)
    for row, text in zip(got, texts, strict=True):  # one by one there is no padding to average over
        with torch.inference_mode():
            hidden = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert np.allclose(row, hidden.mean(dim=0).numpy(), atol=1e-5)


def test_a_text_longer_than_the_model_is_cut(bert: tuple[Any, Any, Path]) -> None:
    opened = open_backbone(f"transformers:{bert[2]}", content="text", device="cpu")
    long, longer = opened.embed(["cat " * 18, "cat " * 500])
    assert np.allclose(long, longer, atol=1e-5), "18 words and 2 marks fill the 20 positions"


def test_weights_from_a_file_must_fit(bert: tuple[Any, Any, Path], tmp_path: Path) -> None:
    network, _, folder = bert
    save_file = require("safetensors.torch", "tests").save_file
    state = {key: value.clone() for key, value in network.state_dict().items()}
    state["embeddings.word_embeddings.weight"] += 1
    save_file(state, str(tmp_path / "own.safetensors"))
    own = open_backbone(f"transformers:{folder}", content="text", weights=tmp_path / "own.safetensors", device="cpu")
    plain = open_backbone(f"transformers:{folder}", content="text", device="cpu")
    assert own.digest != plain.digest
    assert not np.allclose(own.embed(["hello"]), plain.embed(["hello"]))
    save_file({"x": torch.zeros(1)}, str(tmp_path / "bad.safetensors"))
    with pytest.raises(InputError, match="is not a complete text model"):
        open_backbone(f"transformers:{folder}", content="text", weights=tmp_path / "bad.safetensors", device="cpu")


def test_images_give_the_class_token(library: Any, tmp_path: Path) -> None:
    network = library.ViTModel(library.ViTConfig(image_size=32, patch_size=8, **SMALL)).eval()
    network.save_pretrained(tmp_path)
    library.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    opened = open_backbone("transformers:", content="image", weights=tmp_path, device="cpu")
    prepared = opened.prepare(PICTURE)
    got = opened.embed([prepared, prepared])
    with torch.inference_mode():
        expected = network(pixel_values=prepared[None]).last_hidden_state[0, 0].numpy()
    assert got.shape == (2, opened.width)
    assert np.allclose(got[0], expected, atol=1e-5)


def test_a_model_without_class_token_gives_the_mean_over_places(library: Any, tmp_path: Path) -> None:
    config = library.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    network = library.SwinModel(config).eval()
    network.save_pretrained(tmp_path)
    library.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    opened = open_backbone(f"transformers:{tmp_path}", content="image", device="cpu")
    prepared = opened.prepare(PICTURE)
    with torch.inference_mode():
        expected = network(pixel_values=prepared[None]).last_hidden_state[0].mean(dim=0).numpy()
    assert np.allclose(opened.embed([prepared])[0], expected, atol=1e-5)
    assert opened.width == len(expected)


def test_an_encoder_decoder_and_a_model_without_padding_embed_texts(
    library: Any, bert: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    t5 = library.T5Config(
        vocab_size=10, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    gpt = library.GPT2Config(
        vocab_size=10, n_embd=16, n_layer=1, n_head=2, n_positions=20, bos_token_id=2, eos_token_id=3
    )
    for number, (network, pad) in enumerate([(library.T5Model(t5), True), (library.GPT2Model(gpt).half(), False)]):
        folder = tmp_path / str(number)
        network.save_pretrained(folder)
        tokenizer = library.BertTokenizer.from_pretrained(bert[2])
        if not pad:
            tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
        tokenizer.save_pretrained(folder)
        opened = open_backbone(f"transformers:{folder}", content="text", device="cpu")
        one, two = opened.embed(["hello cat"]), opened.embed(["hello cat", "a much longer text of a cat and dogs"])
        assert one.shape == (1, opened.width) == (1, 16)
        assert np.allclose(one[0], two[0], atol=1e-4), "padding changes nothing"


def test_an_image_text_model_embeds_both_into_one_space(
    library: Any, bert: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    part = {**SMALL, "num_hidden_layers": 1}
    config = library.CLIPConfig(
        text_config={**part, "vocab_size": 10, "max_position_embeddings": 20, "eos_token_id": 3},
        vision_config={**part, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    library.CLIPModel(config).save_pretrained(tmp_path)
    bert[1].save_pretrained(tmp_path)
    library.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    images = open_backbone(f"transformers:{tmp_path}", content="image", device="cpu")
    texts = open_backbone(f"transformers:{tmp_path}", content="text", device="cpu")
    assert images.embed([images.prepare(PICTURE)]).shape == texts.embed(["cat"]).shape == (1, 16)
    assert images.width == texts.width == 16
    assert images.digest != texts.digest


def test_an_incomplete_folder_is_named(bert: tuple[Any, Any, Path], tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((bert[2] / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"is not a complete text model .*Expected config.json"):
        open_backbone(f"transformers:{tmp_path}", content="text", device="cpu")
    with pytest.raises(OptionError, match="needs a model, such as transformers:facebook"):
        open_backbone("transformers", content="text")


def test_sentence_transformers_equals_its_own_library(bert: tuple[Any, Any, Path], tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    require("sentence_transformers", "tests")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    with contextlib.redirect_stderr(io.StringIO()):
        network = SentenceTransformer(modules=[Transformer(str(bert[2])), Pooling(32)], device="cpu")
        network.save(str(tmp_path))
    opened = open_backbone(f"sentence-transformers:{tmp_path}", content="text", device="cpu")
    texts = ["hello cat", "world"]
    assert opened.width == 32
    assert np.allclose(opened.embed(texts), network.encode(texts, show_progress_bar=False), atol=1e-6)
    listing = (tmp_path / "modules.json").read_text()
    (tmp_path / "modules.json").write_text(listing.replace("sentence_transformers.base", "evil_package"))
    with pytest.raises(InputError, match="asks to run 'evil_package"):
        open_backbone(f"sentence-transformers:{tmp_path}", content="text", device="cpu")
    (tmp_path / "modules.json").write_text(listing)
    (tmp_path / "1_Pooling" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="is a pickled checkpoint without"):
        open_backbone(f"sentence-transformers:{tmp_path}", content="text", device="cpu")
    (tmp_path / "modules.json").unlink()
    with pytest.raises(InputError, match=r"has no modules.json. Use transformers:"):
        open_backbone(f"sentence-transformers:{tmp_path}", content="text", device="cpu")
