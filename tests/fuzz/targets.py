"""Readers of strangers' files, as functions of bytes, for the fuzzer and for the replay of what it found.

A target may raise what its docstring promises for bad input, with a message of one line. Anything else is a fault.
"""

from __future__ import annotations

import atexit
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastrnn
import fastrnn.onnx
from fastrnn import Input, Model, json_reading, layers
from fastrnn._core.drawing_limit import limited_to
from fastrnn.music.changes import changes_of
from fastrnn.music.chords import ChordError, parse_chord
from fastrnn.music.midi import MidiError, parse_midi
from fastrnn.onnx._operators import TABLE
from fastrnn.serialization import FileFormatError, load_arrays
from fastrnn.text.reading import TextError, read
from fastrnn.text.vocabulary import Vocabulary
from fastrnn.text.word_vocabulary import WordVocabulary
from fastrnn.training import CheckpointError, checkpoint

OLD = Path(__file__).resolve().parents[1] / "old"
FOUND = Path(__file__).resolve().parent / "found"
# Files of a run folder, one of which is replaced; the first byte of an input chooses it.
RUN_FILES = tuple(
    (kind, name)
    for kind, names in (
        ("chars", ("config.json", "best.safetensors", "lines.safetensors")),
        ("words", ("config.json", "best.safetensors")),
        ("jazz", ("config.json", "last.safetensors", "songs.safetensors")),
    )
    for name in names
)


MOST_VALUES = 1000  # of the inputs with which an ONNX model runs


class Target(NamedTuple):
    """A reader, the errors that it may raise, and the inputs to begin with."""

    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], Iterator[bytes]]


@cache
def folder() -> Path:
    """Return a folder that lasts as long as this process, in memory where the system has one."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="fastrnn-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _file(name: str, data: bytes) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _midi(data: bytes) -> object:
    return parse_midi(data)


def _midi_seeds() -> Iterator[bytes]:
    from mutated_midi import DAMAGES, short_file

    for seed in range(24):
        rng = random.Random(seed)
        data = bytearray(short_file(rng))
        DAMAGES[seed % len(DAMAGES)](data, rng)
        yield bytes(data)


def _chords(data: bytes) -> object:
    text = _text(data)
    with suppress(ChordError):
        parse_chord(text)
    return changes_of(text, "Eb" if len(data) % 2 else None)


def _chord_seeds() -> Iterator[bytes]:
    texts = ("Dm7 | G7 | Cmaj7 | %", "|: F7 / Bb13#11 :|x4 C7alt", "blues", "Bbmaj7/D Ebm7b5 A7(b9,#11)", "N.C. | C6/9sus4")
    yield from (text.encode() for text in texts)


def _model(data: bytes) -> object:
    with limited_to(()):  # a description alone may ask for a model of any size
        return Model.from_json(_text(data))


def _model_seeds() -> Iterator[bytes]:
    from test_old_files import classifier, tagger

    yield from (model.to_json().encode() for model in (classifier(), tagger(), _many_layers()))


def _many_layers() -> Model:
    """Return a model of every kind of small layer."""
    x, ids = Input(("T", "B", 4), name="x"), Input(("T", "B"), dtype="int64", name="ids")
    embedded = layers.Embedding(5, 4)(layers.TokenDropout(0.1, 0)(ids))
    both = layers.Concat()(layers.LayerNorm(4)(x), layers.OneHot(3)(ids), embedded)
    y, _ = layers.LSTM(11, 3, 2, bidirectional=True, merge="sum", peephole=True)(layers.VariationalDropout(0.2)(both))
    pooled = layers.Multiply()(layers.Last()(y), layers.MeanPool()(y), layers.MaxPool()(y))
    again, _ = layers.RNN(3, 2, nonlinearity="relu")(layers.RepeatVector(4)(pooled))
    cell = layers.GRUCell(3, 2)(layers.Add()(y[0], pooled))
    flat = layers.Reshape((1,))(layers.Linear(3, 1, bias=False)(layers.Dropout(0.5)(layers.Activation("softplus")(pooled))))
    return Model((x, ids), (layers.Average()(again[..., :1], again[..., 1:]), layers.Stack()(cell, cell), flat))


def _safetensors(data: bytes) -> object:
    path = _file("file.safetensors", data)
    with suppress(FileFormatError):
        load_arrays(path)
    with suppress(CheckpointError):
        checkpoint.load(path)
    return fastrnn.load_model(path)


def _safetensors_seeds() -> Iterator[bytes]:
    yield from ((OLD / name).read_bytes() for name in ("lstm.safetensors", "model.safetensors", "fit/last.safetensors"))


@cache
def _run_without(kind: str, name: str) -> Path:
    """Return a run folder of which only the file ``name`` is ever replaced."""
    return Path(shutil.copytree(OLD / kind, folder() / f"{kind}-{name}"))


def _run_folder(data: bytes) -> object:
    kind, name = RUN_FILES[data[0] % len(RUN_FILES)] if data else RUN_FILES[0]
    here = _run_without(kind, name)
    (here / name).write_bytes(data[1:])
    run = fastrnn.load_run(here)
    return run.songs if kind == "jazz" else run.sample(1, length=5, seed=1)


def _run_seeds() -> Iterator[bytes]:
    yield from (bytes([i]) + (OLD / kind / name).read_bytes() for i, (kind, name) in enumerate(RUN_FILES))


def _vocabulary(data: bytes) -> object:
    value = json_reading.parse(data)
    known = (WordVocabulary if len(data) % 2 else Vocabulary).from_json(value)
    return known.decoder()(known.encode("".join(known.tokens)))


def _vocabulary_seeds() -> Iterator[bytes]:
    for kind in ("chars", "words"):
        vocabulary = json.loads((OLD / kind / "config.json").read_text())["vocabulary"]
        yield from (json.dumps(vocabulary, indent=indent).encode() for indent in (None, 1))


def _onnx(data: bytes) -> object:
    with suppress(ValueError):
        fastrnn.onnx.from_onnx(data)
    model = fastrnn.onnx.load(data)
    shapes = {name: [n if isinstance(n, int) else 2 for n in axes or ()] for name, (_, axes) in model.inputs.items()}
    if sum(map(prod, shapes.values())) > MOST_VALUES:
        return model
    return model.run({name: np.zeros(shapes[name], dtype) for name, (dtype, _) in model.inputs.items()})


def _onnx_seeds() -> Iterator[bytes]:
    """Yield a model of layers, and the smallest of ONNX's own tests of each operator."""
    from onnx_models import node_cases

    ids = Input(("T", "B"), dtype="int64", name="ids")
    y, _ = layers.GRU(4, 3, bidirectional=True)(layers.Embedding(5, 4)(ids))
    fastrnn.onnx.save(Model(ids, layers.LayerNorm(2)(layers.Linear(6, 2)(y))), path := folder() / "model.onnx")
    yield path.read_bytes()
    smallest: dict[str, bytes] = {}
    for case in node_cases(pooling=True):
        if case.model is not None and all(node.op_type in TABLE for node in case.model.graph.node):
            op, data = case.model.graph.node[-1].op_type, case.model.SerializeToString()
            smallest[op] = min(data, smallest.get(op, data), key=len)
    yield from smallest.values()


def _text_file(data: bytes) -> object:
    return read([str(_file("text.txt", data))])


def _text_seeds() -> Iterator[bytes]:
    yield from ("Ein Satz. Noch einer!\n".encode(code) for code in ("utf-8", "utf-16", "utf-32", "utf-8-sig"))
    yield "Пример текста на русском языке\n".encode("cp1251")
    yield b"a\tb\r\nc\td\r\n"


TARGETS = {
    "midi": Target(_midi, (MidiError,), _midi_seeds),
    "chords": Target(_chords, (ChordError,), _chord_seeds),
    "model": Target(_model, (ValueError, TypeError), _model_seeds),
    "safetensors": Target(_safetensors, (FileFormatError, ValueError, TypeError), _safetensors_seeds),
    "run": Target(_run_folder, (ValueError, MemoryError), _run_seeds),
    "vocabulary": Target(_vocabulary, (ValueError, TypeError), _vocabulary_seeds),
    "text": Target(_text_file, (TextError,), _text_seeds),
    "onnx": Target(_onnx, (ValueError, TypeError, MemoryError), _onnx_seeds),
}


def run(name: str, data: bytes) -> None:
    """Run a target. Raises what the target must not raise, and AssertionError for a message of several lines."""
    target = TARGETS[name]
    try:
        target.read(data)
        return
    except ChordError:  # its message shows the place on a second line
        return
    except target.errors as error:
        message = str(error)
    if not message or "\n" in message:
        raise AssertionError(f"expected a message of one line, got {message!r}")
