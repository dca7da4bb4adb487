"""accelerate and restore: an existing model keeps its parameters, hooks, files and wrappers, and uses the kernels."""

import copy
import importlib
import io
import re
import sys
from pathlib import Path

import pytest
from example_scripts import example
from tables import each_row

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import fastrnn.torch as ft  # noqa: E402 - only where torch is installed

NAMES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")


class OwnForward(nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({name: getattr(nn, name)(3, 3) for name in NAMES})
        self.own = OwnForward(3, 3)

    def forward(self, x):
        for name in ("RNN", "GRU", "LSTM"):
            x = self.layers[name](x)[0]
        x = torch.stack([self.layers["LSTMCell"](self.layers["GRUCell"](self.layers["RNNCell"](step)))[0] for step in x])
        return self.own(x)


def _train(model, steps=5):
    """Train a few steps with Adam and return the losses."""
    torch.manual_seed(1)
    x, optimizer, losses = torch.randn(6, 4, 3), torch.optim.Adam(model.parameters(), 0.05), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - 1).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def test_a_switched_model_keeps_its_parameters_hooks_and_optimiser_and_trains_alike():
    torch.manual_seed(0)
    model = Model()
    twin, before = copy.deepcopy(model), [id(p) for p in model.parameters()]
    called = []
    model.layers["GRU"].register_forward_hook(lambda module, args, output: called.append(type(module)))
    report = ft.accelerate(model)
    assert [id(p) for p in model.parameters()] == before
    assert [type(model.layers[name]) for name in NAMES] == [getattr(ft, name) for name in NAMES]
    torch.testing.assert_close(_train(model), _train(twin), rtol=1e-4, atol=1e-5)
    assert called == [ft.GRU] * 5
    lines = str(report).splitlines()
    assert lines[0].split() == ["module", "class", "runs"]
    assert lines[3].split() == ["layers.LSTM", "LSTM", "fastrnn"]
    assert "own" in lines[-1]
    assert "left alone: OwnForward is a class of its own" in lines[-1]
    ft.restore(model)
    assert [type(model.layers[name]) for name in NAMES] == [getattr(nn, name) for name in NAMES]
    assert type(model.own) is OwnForward


def test_a_context_manager_restores_what_it_has_switched_and_nothing_else():
    model = nn.Sequential(nn.LSTM(3, 3), ft.GRU(3, 3))
    with ft.accelerate(model) as report:
        assert type(model[0]) is ft.LSTM
        assert "fastrnn already" in str(report)
    assert (type(model[0]), type(model[1])) == (nn.LSTM, ft.GRU)


@each_row("accelerated_first", [False, True])
def test_parametrized_modules_are_switched_and_restored(accelerated_first):
    torch.manual_seed(0)
    module, x = nn.LSTM(3, 4), torch.randn(5, 2, 3)
    if accelerated_first:
        ft.accelerate(module)
    nn.utils.parametrizations.spectral_norm(module, "weight_hh_l0")
    module.eval()
    if not accelerated_first:
        wanted = module(x)[0]
        assert ft.accelerate(module).rows[0][2] == "fastrnn"
        torch.testing.assert_close(module(x)[0], wanted, rtol=1e-5, atol=1e-6)
    assert isinstance(module, ft.LSTM)
    wanted = module(x)[0]
    ft.restore(module)
    assert isinstance(module, nn.LSTM)
    assert not isinstance(module, ft.LSTM)
    torch.testing.assert_close(module(x)[0], wanted, rtol=1e-5, atol=1e-6)


def test_files_copies_and_state_dicts_of_a_switched_model():
    model = Model()
    ft.accelerate(model)
    x = torch.randn(6, 4, 3)
    wanted = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    plain = Model()
    plain.load_state_dict(model.state_dict())
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False), plain):
        torch.testing.assert_close(other(x), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(nn.DataParallel(model)(x), wanted, rtol=1e-5, atol=1e-6)


def test_parts_that_torch_keeps_running_are_in_the_report():
    report = ft.accelerate(nn.Sequential(nn.LSTM(3, 3, dtype=torch.float16), nn.GRU(3, 3, device="meta")))
    assert [outcome for _, _, outcome in report.rows] == [
        "PyTorch while its parameters are float16",
        "PyTorch while its parameters are on meta",
    ]
    assert str(ft.accelerate(nn.Linear(2, 2))) == "no recurrent modules"
    assert ft.accelerate(nn.LSTM(3, 3)).rows == [("(the model)", "LSTM", "fastrnn")]


def test_a_replaced_forward_goes_on_running_and_the_report_says_so():
    model, x = nn.Sequential(nn.LSTM(3, 3)), torch.randn(4, 2, 3)
    wanted = 2 * model(x)[0]
    inner = model[0].forward
    model[0].forward = lambda x: 2 * inner(x)[0]
    assert ft.accelerate(model).rows == [("0", "LSTM", "left alone: its forward was replaced")]
    torch.testing.assert_close(model(x), wanted, rtol=0, atol=0)


def test_errors():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got int"):
        ft.accelerate(3)
    model = nn.Sequential(ft.LSTM(3, 3), ft.LSTM(3, 3, peephole=True))
    with pytest.raises(ValueError, match=r"module 1 must have an equivalent in torch\.nn, got LSTM"):
        ft.restore(model)
    assert type(model[0]) is ft.LSTM


@each_row(
    ("script", "arguments"),
    [
        ("torch_packed", ["--steps", "5", "--batch-size", "8"]),
        ("torch_language_model", ["--steps", "5", "--hidden-size", "24", "--batch-size", "8", "--length", "12"]),
    ],
)
def test_the_examples_have_the_same_losses_either_way(capsys, script, arguments):
    example(script).main(arguments)
    said = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", said)]
    assert len(losses) == 10
    assert losses[:5] == pytest.approx(losses[5:], abs=2e-3)
    assert " fastrnn\n" in said


def test_the_script_that_trains_other_packages_says_how_to_install_them(capsys, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    script = importlib.import_module("bench.torch_packages")
    for name in ("sb3_contrib", "gluonts", "neuralforecast"):
        monkeypatch.setitem(sys.modules, name, None)
    script.main([])
    assert capsys.readouterr().out.splitlines() == [
        "sb3-contrib is not installed: pip install torch==2.13.0 sb3-contrib==2.9.2",
        "gluonts is not installed: pip install torch==2.13.0 gluonts==0.17.0 lightning==2.6.6",
        "neuralforecast is not installed: pip install torch==2.13.0 neuralforecast==3.3.0",
    ]
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    assert "torch==2.13.0 sb3-contrib==2.9.2 gluonts==0.17.0" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        script.main(["darts"])
    assert "PACKAGE must be one of sb3, gluonts, neuralforecast, got darts" in capsys.readouterr().err


DDP = """
import os, sys
import torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn
import fastrnn.torch as ft

def train(rank, store, accelerated, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.LSTM(3, 4, 2, bidirectional=True)
    if accelerated:
        ft.accelerate(model)
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.manual_seed(5 + rank)
    for _ in range(3):
        optimizer.zero_grad()
        wrapped(torch.randn(5, 2, 3))[0].pow(2).sum().backward()
        optimizer.step()
    if rank == 0:
        torch.save(model.state_dict(), path)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # PyTorch's threads may still run, and ending the interpreter would then abort the process now and then

if __name__ == "__main__":
    folder = sys.argv[1]
    for accelerated in (False, True):
        mp.spawn(train, (f"{folder}/store{accelerated}", accelerated, f"{folder}/{accelerated}.pt"), nprocs=2)
"""


@pytest.mark.slow
def test_two_processes_of_ddp_train_alike(tmp_path):
    import subprocess

    program = tmp_path / "train.py"
    program.write_text(DDP)
    subprocess.run([sys.executable, program, tmp_path], check=True, timeout=300)
    plain, accelerated = (torch.load(tmp_path / f"{name}.pt") for name in (False, True))
    for name, value in plain.items():
        torch.testing.assert_close(accelerated[name], value, rtol=1e-4, atol=1e-5)
