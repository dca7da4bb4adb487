"""Models as JSON and in files: architecture and weights come back, or an error says why they cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
from graphs import CASES, F64, encoder_decoder
from tables import each_row
from test_graph import arrays

import fastrnn
from fastrnn import (
    GRU,
    LSTM,
    Activation,
    Embedding,
    Input,
    Lambda,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    Model,
    Sequential,
    load_model,
)
from fastrnn.serialization import FileFormatError, load_arrays, save_arrays

EVERY_CASE = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


class Scaled(fastrnn.Layer):
    """A layer of a user's own, which stores its argument."""

    pointwise = True

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor

    def forward(self, x):
        return self(x), lambda dy: dy * self.factor


def of(layer):
    x = Input(("T", "B", 3), **F64, name="x")
    return Model(x, layer(x))


@EVERY_CASE
def test_a_file_gives_the_same_model(make, tmp_path):
    case = make()
    case.model.name = "mine"
    case.model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    inputs = case.inputs()
    for mine, theirs in zip(arrays(again(*inputs)), arrays(case.model(*inputs)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert list(again.state_dict()) == list(case.model.state_dict())
    assert again.to_json() == case.model.to_json()
    assert again.name == "mine"
    assert repr(again) == repr(case.model)


@EVERY_CASE
def test_json_gives_the_same_architecture(make):
    model = make().model
    again = Model.from_json(model.to_json())
    assert {name: p.shape for name, p in again.named_parameters()} == {name: p.shape for name, p in model.named_parameters()}
    assert json.loads(again.to_json()) == json.loads(model.to_json())
    again.load_state_dict(model.state_dict())


def test_models_in_models_have_their_names_from_where_they_are():
    inner = of(Linear(3, 3, **F64))
    text = of(inner).to_json()
    assert Model.from_json(text).to_json() == text
    assert '"name"' not in text
    assert list(Model.from_json(text).layers) == ["model"]


def test_values_that_are_shared_stay_so(tmp_path):
    """A weight may be shared by two layers, and a layer by a model and an inner model."""
    x = Input(("T", "B"), dtype="int64", name="x")
    embedding, head = Embedding(7, 3, **F64), Linear(3, 7, **F64)
    head.weight = embedding.weight
    inner = Model(x, embedding(x)).named("inner")
    model = Model(x, head(embedding(x) + inner(x)))
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert len(again.parameters()) == len(model.parameters()) == 2
    ids = np.arange(6).reshape(3, 2)
    again.layers["embedding"].weight.writable()[:] += 1
    embedding.weight.writable()[:] += 1
    np.testing.assert_array_equal(again(ids), model(ids))


def test_layers_and_inputs_have_different_names(tmp_path):
    """A layer or input gets a number if an input already has its name."""
    words = Input(("T", "B"), dtype="int64", name="embedding")
    x, y, z = (Input(("T", "B", 3), **F64, name=name) for name in ("add", None, "input"))
    model = Model((words, x, y, z), Linear(3, 3, **F64)(Embedding(9, 3, **F64)(words) + x) + y + z)
    assert list(model.layers) == ["embedding_1", "add_1", "linear", "add_2", "add_3"]
    assert model.graph.input_names == ["embedding", "add", "input_1", "input"]
    model.save(tmp_path / "m")
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 9, (4, 2)), *(rng.standard_normal((4, 2, 3)) for _ in range(3))]
    np.testing.assert_array_equal(load_model(tmp_path / "m")(*values), model(*values))


def test_sequentials_are_saved_too(tmp_path):
    model = Sequential(Embedding(5, 3), LSTM(3, 4, bidirectional=True), Linear(8, 2))
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    ids = np.arange(6).reshape(3, 2) % 5
    np.testing.assert_array_equal(again(ids), model(ids))
    assert type(again) is Sequential
    other = Sequential(Embedding(5, 3), LSTM(3, 4, bidirectional=True), Linear(8, 2))
    other.load(tmp_path / "m")
    np.testing.assert_array_equal(other(ids), model(ids))


def test_weights_into_a_model_that_is_there():
    first, second = of(GRU(3, 2, **F64, rng=1)), of(GRU(3, 2, **F64, rng=2))
    second.load_state_dict(first.state_dict())
    for mine, theirs in zip(second.parameters(), first.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)


def test_users_own_layers(tmp_path):
    model = of(Sequential(Scaled(3), Linear(3, 2, **F64)))
    model.save(tmp_path / "m")
    x = np.ones((2, 1, 3))
    np.testing.assert_array_equal(load_model(tmp_path / "m", {"Scaled": Scaled})(x), model(x))
    np.testing.assert_array_equal(Model.from_json(of(Scaled(2)).to_json(), {"Scaled": Scaled})(x), 2 * x)
    with pytest.raises(ValueError, match=r"m: sequential: there is no layer of class 'Scaled' in fastrnn or among"):
        load_model(tmp_path / "m")
    with pytest.raises(TypeError, match=r"^custom must map names to classes, {'Name': Name}, got \[<class"):
        load_model(tmp_path / "m", [Scaled])
    with pytest.raises(TypeError, match=r"^custom\['Scaled'\] must be a subclass of fastrnn.Layer, got <class 'int'>"):
        Model.from_json(of(Scaled(2)).to_json(), {"Scaled": int})


@pytest.mark.parametrize("factor", [np.ones(3), np.nan, np.float32(2), {1, 2}], ids=["array", "NaN", "scalar", "set"])
def test_arguments_that_are_not_saved(factor, tmp_path):
    model = of(Scaled(1.0))
    model.layers["scaled"].factor = factor
    with pytest.raises(TypeError, match="Scaled cannot be described: its argument factor must fit into JSON, got"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_functions_are_not_saved(tmp_path):
    model = of(Sequential(Lambda(lambda x: x, lambda dy, x: dy), Linear(3, 2, **F64)))
    with pytest.raises(TypeError, match="Lambda cannot be described"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    model.save(tmp_path / "m", architecture=False)
    assert set(load_arrays(tmp_path / "m")[0]) == set(model.state_dict())
    with pytest.raises(FileFormatError, match="m has no architecture, only arrays: build the model and call its load"):
        load_model(tmp_path / "m")
    model.load(tmp_path / "m")


@each_row(
    ("change", "message"),
    [
        (lambda d: d["config"].pop("inputs"), "not a model's description: KeyError 'inputs'"),
        (lambda d: d["config"].update(version=2), "of version 1, got 2"),
        (lambda d: d["config"]["calls"][0].update(takes=["nothing"]), "nothing gives the value 'nothing'"),
        (lambda d: d["config"]["calls"][0].update(gives=["gru"]), "gru gives 2 values, not 1"),
        (lambda d: d["config"]["calls"][0].update(layer="lstm"), "KeyError 'lstm'"),
        (lambda d: d["config"]["layers"]["gru"].update({"class": "Gru"}), "no layer of class 'Gru'"),
        (lambda d: d["config"]["layers"]["gru"]["config"].update(input_size=4), "GRU does not take float64 .T, B, 3."),
        (lambda d: d["config"]["layers"]["gru"]["config"].update(inputs=4), "^gru: .*unexpected keyword argument 'inputs'"),
        (lambda d: d["config"]["layers"]["gru"]["config"].update(merge="max"), "^gru: merge must be one of .* got 'max'"),
        (lambda d: d.update({"class": "GRU", "config": {"input_size": 1, "hidden_size": 1}}), "describe a Model, got a GRU"),
        (lambda d: d["config"].update(shared=[["gru.weight_ih_l0", "gru.weight_hh_l0"]]), "cannot be one"),
        (lambda d: d["config"].update(shared=[["gru.weight_ih_l0", "gru.W"]]), "there is no parameter"),
    ],
)
def test_texts_that_are_not_models(change, message):
    x = Input(("T", "B", 3), **F64, name="x")
    description = json.loads(Model(x, GRU(3, 2, **F64)(x)[0]).to_json())
    change(description)
    with pytest.raises((TypeError, ValueError), match=message):
        Model.from_json(json.dumps(description))


def test_files_that_are_not_models(tmp_path):
    with pytest.raises(ValueError, match="text must be JSON of a layer"):
        Model.from_json("{")
    for text in (None, {}, b"{}"):
        with pytest.raises(TypeError, match=rf"text must be a string, JSON of a layer, got {text}"):
            Model.from_json(text)
    with pytest.raises(TypeError, match="must hold 'class' and 'config'"):
        Model.from_json("[]")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")
    model = of(Linear(3, 2, **F64))
    save_arrays(tmp_path / "m", {"linear.weight": np.zeros((2, 3))}, {"fastrnn.layer": model.to_json()})
    with pytest.raises(ValueError, match=r"m: the state does not fit Model: missing: linear.bias"):
        load_model(tmp_path / "m")


def printed(model, capsys):
    model.summary()
    return capsys.readouterr().out


def test_a_summary_has_shapes_parameters_and_connections(capsys):
    text = printed(encoder_decoder().model, capsys)
    lines = [line.split() for line in text.splitlines()]
    assert ["embedding", "(Embedding)", "[S,", "B,", "3]", "18", "source"] in lines
    assert ["embedding#2", "(Embedding)", "[T,", "B,", "3]", "shared", "target"] in lines
    assert ["decoder", "(LSTM)", "[T,", "B,", "4]", "144", "embedding#2"] in lines
    assert ["[1,", "B,", "4]", "encoder[1][1]"] in lines
    assert ["linear", "(Linear)", "[T,", "B,", "6]", "30", "decoder[0]"] in lines
    assert "Outputs: linear, decoder[1][0], decoder[1][1]" in text
    assert "Parameters in all: 336 (2.7 KB)" in text  # 18 + 2 * 144 + 30, of 8 bytes


def test_a_summary_counts_what_is_shared_once(capsys):
    x = Input(("T", "B", 3), name="x")
    linear = Linear(3, 3)
    assert "in all: 12 (48 bytes)" in printed(Model(x, linear(linear(x))), capsys)
    assert "Model: mine" in printed(Model(x, linear(x)).named("mine"), capsys)


def test_a_summary_shows_layers_shared_with_an_inner_model(capsys):
    x = Input(("T", "B", 3), name="x")
    first, second = Linear(3, 3).named("first"), Linear(3, 3, bias=False).named("second")
    inner = Model(x, second(first(x))).named("inner")
    rows = printed(Model(x, second(inner(first(x)))), capsys).splitlines()
    counts = {row.split()[0]: row.split("]")[1].split("  ")[-2].strip() for row in rows if "(" in row and "]" in row}
    assert counts == {"x": "0", "first": "12", "inner": "9 + shared", "second": "shared"}
    assert rows[-1] == "Parameters in all: 21 (84 bytes)"


def test_the_page_on_models_shows_what_is_printed(capsys):
    page = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    code = next(block for block in page.split("```python\n") if "translate.summary()" in block).partition("translate.plot")[
        0
    ]
    exec(code, {"Input": Input, "Embedding": Embedding, "Linear": Linear, "Model": Model})
    assert capsys.readouterr().out in page


def test_pictures_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    for name, start in (("m.svg", b"<?xml"), ("m.png", b"\x89PNG")):
        CASES["encoder_decoder"]().model.plot(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


@EVERY_CASE
def test_boxes_of_pictures(make):
    """Every box and no other is in the picture, and no two overlap."""
    pytest.importorskip("matplotlib")
    from fastrnn.graph.layout import Layout
    from fastrnn.graph.picture import HEIGHT, ROW, _boxes

    graph = make().model.graph
    boxes = _boxes(graph)
    assert len(boxes) == len(graph.flat_inputs) + len(graph.nodes) + len(graph.flat_outputs)
    edges = [(source, name) for name, box in boxes.items() for source in box.sources]
    layout = Layout({name: box.width for name, box in boxes.items()}, edges)
    assert HEIGHT < ROW
    for a in boxes:
        for b in boxes:
            (x, row), (other, other_row) = layout.center[a], layout.center[b]
            assert a == b or row != other_row or abs(x - other) >= (boxes[a].width + boxes[b].width) / 2
    for source, target in edges:
        assert layout.center[source][1] < layout.center[target][1]


def test_a_picture_needs_a_known_ending(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .png, .svg, .pdf, got"):
        of(Activation("tanh")).plot(tmp_path / "m.jpeg")


class TestSequentialSummary:
    def test_by_value(self, capsys):
        shared = Linear(4, 4)
        fastrnn.Sequential(Embedding(7, 3), GRU(3, 4, bidirectional=True, merge="sum"), shared, shared, Last()).summary()
        assert capsys.readouterr().out == (
            "Model: sequential\n"
            "-----------------------------------------------------\n"
            "Layer (type)   Output shape  Parameters  Connected to\n"
            "-----------------------------------------------------\n"
            "input (Input)  [T, B]                 0  -\n"
            "0 (Embedding)  [T, B, 3]             21  input\n"
            "1 (GRU)        [T, B, 4]            216  0\n"
            "2 (Linear)     [T, B, 4]             20  1\n"
            "3 (Linear)     [T, B, 4]         shared  2\n"
            "4 (Last)       [B, 4]                 0  3\n"
            "-----------------------------------------------------\n"
            "Outputs: 4\n"
            "Parameters in all: 257 (1.0 KB)\n"
        )

    @pytest.mark.parametrize(
        ("layers", "shown"),
        [
            (lambda: [GRU(3, 4, batch_first=True), Last()], ["[B, T, 3]", "[B, T, 4]", "[B, 4]"]),
            (lambda: [Linear(3, 4)], ["[B, 3]", "[B, 4]"]),
            (lambda: [fastrnn.Dropout(0.5), fastrnn.Sequential(LayerNorm(3), MaxPool())], ["[T, B, 3]", "[B, 3]"]),
            (lambda: [fastrnn.RepeatVector(5), GRU(3, 4)], ["[B, 3]", "[5, B, 3]", "[5, B, 4]"]),
        ],
    )
    def test_shapes(self, layers, shown, capsys):
        fastrnn.Sequential(*layers()).summary()
        text = capsys.readouterr().out
        assert [shape for shape in shown if shape not in text] == []

    def test_of_a_shape_that_is_given(self, capsys):
        model = fastrnn.Sequential(Activation("tanh"))
        with pytest.raises(ValueError, match=r"shape must be given, such as \('T', 'B', 64\)"):
            model.summary()
        model.summary(("T", "B", 2), "float64")
        assert "[T, B, 2]" in capsys.readouterr().out
        with pytest.raises(ValueError, match=r"layer 0, GRU, does not take float32 \[T, B, 5\]"):
            fastrnn.Sequential(GRU(3, 4)).summary(("T", "B", 5))
