"""Real ranks under MPI train like one process. A rank that dies, hangs or fails ends all of them with a one-line error."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import execute, output_of
from tables import each_row

from fastrnn.commands._launch import mpi_program
from fastrnn.commands._launch.connections import Connections
from fastrnn.commands._launch.output import Output
from fastrnn.commands.launch import resumed
from fastrnn.distributed import heartbeat
from fastrnn.training import checkpoint

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("mpi4py") is None, reason='mpi4py is not installed: pip install "fastrnn[mpi]"'
    ),
    pytest.mark.timeout(180),
]

NAMES = "\n".join(["anna", "hanna", "nan", "a", "hannahannah", "ahna", "nnaa", "hah"] * 12)
OPTIONS = {"--hidden": "12", "--batch": "10", "--max-steps": "30", "--eval-every": "5", "--seed": "1"}
TRAIN = ["train", "chars", "names.txt", *(word for option in OPTIONS.items() for word in option)]
# At the end of a process, MPICH's transport (UCX) sometimes writes a line of its own.
OF_UCX = re.compile(r"\[\w+:\d+:\w+:\d+\]")
ENDED = re.compile(r"fastrnn: error: rank \d on \S+ \(process \d+\) (died|hangs): ")

# A program that trains with fit on all ranks; its argument determines what rank 1 does at step 12.
PROGRAM = """
import os, signal, sys, time
import numpy as np
import fastrnn
from fastrnn.distributed import world
from fastrnn.training import Examples

fault = sys.argv[1]
once = os.path.exists("struck")
rng = np.random.default_rng(0)
x = rng.standard_normal((60, 4)).astype(np.float32)
train = Examples(x, (x.sum(axis=1) > 0).astype(np.int64))
model = fastrnn.Sequential(fastrnn.Linear(4, 6, rng=1), fastrnn.Dropout(0.2, rng=2), fastrnn.Linear(6, 2, rng=3))
steps = [0]
forward = model.forward

def faulty(*args, **options):
    steps[0] += 1
    if world().rank == 1 and steps[0] == 12 and fault != "none" and not once:
        open("struck", "w").close()
        if fault == "kill-with-mpi":  # MPICH's process on this machine, the parent of the rank's parent, dies first
            os.kill(int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1]), signal.SIGKILL)
        if fault == "kill-parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        if fault.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault == "exit":
            sys.exit(4)
        if fault == "sleep":
            time.sleep(1000)
        if fault == "error":
            raise ValueError("no such thing")
        if fault == "nan":
            args = (args[0] * np.nan,)
    return forward(*args, **options)

model.forward = faulty
fastrnn.fit(model, train, epochs=8, batch_size=8, lr=0.01, out="run", resume=True, distributed=True)
if world().rank == 0:
    np.save("weights.npy", model.parameters()[0].data)
    print("done")
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text(NAMES)
    Path("program.py").write_text(PROGRAM)
    for name in ("PMI_SIZE", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)


def run(*words, timeout=120):
    done = subprocess.run(
        [sys.executable, "-m", "fastrnn", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=os.getcwd(),
    )
    return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if not OF_UCX.match(line)]


def model_of(folder):
    return checkpoint.load(Path(folder) / "last.safetensors").model


def validation_losses(folder):
    lines = (Path(folder) / "metrics.csv").read_text().splitlines()[1:]
    return np.array([[float(line.split(",")[i]) for i in (2, 3)] for line in lines])


@pytest.mark.parametrize("reading", ["lines", pytest.param("stream", marks=pytest.mark.slow)])
def test_ranks_train_as_one_process(reading):
    words = [*TRAIN, "--reading", reading, "--dropout", "0.2"]
    execute(*words, "--out", "alone", "--threads", "1")
    status, out, err = run("launch", "-n", "2", "--threads-per-rank", "1", *words, "--out", "ranks")
    assert (status, err) == (0, [])
    assert "ranks:    2 on 1 machine, 1 thread on rank 0" in out
    assert out.count("all steps done: 30 steps") == 1
    np.testing.assert_allclose(validation_losses("ranks"), validation_losses("alone"), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_same_ranks_give_the_same_bits():
    for folder in ("one", "two"):
        status, _, err = run("launch", "-n", "3", *TRAIN, "--dropout", "0.2", "--out", folder)
        assert (status, err) == (0, [])
    first, again = model_of("one"), model_of("two")
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.slow
def test_mpiexec_alone():
    words = [mpi_program.mpiexec(), "-n", "2", sys.executable, "-m", "fastrnn", *TRAIN, "--out", "ranks"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all steps done") == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the weights after a training of PROGRAM on two ranks in which nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "program.py").write_text(PROGRAM)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("launch", "-n", "2", sys.executable, "program.py", "none") == (0, "done\n", [])
    return np.load(folder / "weights.npy")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "stop", "sleep"])
def test_a_rank_that_dies_or_hangs_ends_all_and_a_restart_gives_the_same_bits(fault, whole):
    status, out, err = run("launch", "-n", "2", "--max-restarts", "1", sys.executable, "program.py", fault)
    assert (status, out) == (0, "done\n"), err
    assert len(err) == 2
    assert ENDED.match(err[0])
    assert "rank 1" in err[0]
    assert err[1] == "fastrnn: restart 1 of 1 from the last checkpoint"
    assert np.array_equal(np.load("weights.npy"), whole)


def test_without_restarts_a_death_ends_all_within_10_seconds():
    status, out, err = run("launch", "-n", "2", sys.executable, "program.py", "kill")
    ended = time.time()
    assert (status, out, len(err)) == (1, "", 1)
    assert re.match(r"fastrnn: error: rank 1 on \S+ \(process \d+\) died: Killed \(signal 9\)$", err[0])
    assert ended - Path("struck").stat().st_mtime < 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the test finds MPICH's process in /proc")
def test_a_rank_that_dies_together_with_mpich_is_reported_with_its_cause():
    status, out, err = run("launch", "-n", "2", sys.executable, "program.py", "kill-with-mpi")
    assert (status, out, len(err)) == (1, "", 1), err
    assert re.match(r"fastrnn: error: rank 1 on \S+ \(process \d+\) died: Killed \(signal 9\)$", err[0])


@pytest.mark.slow
def test_a_rank_ends_with_its_parent_process():
    status, out, err = run("launch", "-n", "2", sys.executable, "program.py", "kill-parent", timeout=60)
    assert (status, out, len(err)) == (1, "", 1), err
    found = re.match(r"fastrnn: error: rank 1 on \S+ \(process (\d+)\) died$", err[0])
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[1]), 0)


@each_row(
    ("command", "status", "how", "of_all"),
    [
        ("exit 4", 4, "exit status 4", 4),
        ("kill -9 $$", 137, "Killed (signal 9)", 1),
        ("kill -15 0; exit 1", 143, "Terminated (signal 15)", 1),  # the signal of mpiexec to all processes of the group
        ("trap 'exit 5' TERM; kill -15 0; exit 1", 5, "exit status 5", 5),
    ],
)
def test_a_rank_s_parent_process_reports_how_it_ended(command, status, how, of_all, monkeypatch):
    assert parent_of(["sh", "-c", command], monkeypatch) == (status, how, of_all)


def test_a_rank_s_parent_process_reports_a_program_that_cannot_be_started(monkeypatch):
    assert parent_of(["./none"], monkeypatch) == (127, "./none: No such file or directory", 1)


@pytest.mark.parametrize(("rank", "other", "words"), [(0, 0, "words"), (0, 1, ""), (3, 0, "")])
def test_rank_0_alone_reads_a_file_and_only_one_that_it_inherited(rank, other, words, tmp_path, monkeypatch):
    (tmp_path / "input").write_text("words")
    with (tmp_path / "input").open() as file:
        source = mpi_program.identified(file.fileno())
        head, inode = source.rsplit(":", 1)
        given = f"{head}:{int(inode) + other}", file.fileno()
        assert parent_of(["sh", "-c", f'test "$(cat)" = "{words}" && exit 9'], monkeypatch, rank, given)[0] == 9


def parent_of(program, monkeypatch, rank=3, source=None):
    """Run the parent process of a rank; return its exit status and what it tells the launcher."""
    connections = Connections(())
    monkeypatch.setenv(heartbeat.ADDRESS, connections.address)
    monkeypatch.setenv("PMI_RANK", str(rank))
    identity, descriptor = source or (mpi_program.identified(0), 0)
    words = [*mpi_program.PARENT, identity, *program]
    process = subprocess.Popen(words, start_new_session=True, pass_fds=[descriptor])
    while rank not in connections.exits:
        connections.listen(10)
    (end,) = connections.never_connected()
    connections.close()
    assert (end.process.number, end.process.host) == (rank, socket.gethostname())
    return process.wait(), end.how, end.status


@pytest.mark.slow
def test_a_rank_that_starts_late_is_waited_for():
    Path("late.py").write_text(
        "import os, time\nfrom fastrnn.distributed import world\n"
        "if os.environ['PMI_RANK'] == '0':\n    time.sleep(8)\nworld().barrier()\n"
    )
    assert run("launch", "-n", "2", sys.executable, "late.py") == (0, "", [])


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 4])
def test_a_rank_that_ends_before_it_connects_ends_all(status):
    Path("early.py").write_text(
        "import os\nif os.environ['PMI_RANK'] == '1':\n"
        f"    os._exit({status})\nfrom fastrnn.distributed import world\nworld()\n"
    )
    done, _, err = run("launch", "-n", "2", sys.executable, "early.py", timeout=60)
    assert (done, len(err)) == (status or 1, 1), err
    when = " before it joined the others" if status == 0 else "( before it joined the others)?"  # maybe before rank 0 joined
    assert re.match(rf"fastrnn: error: rank 1 on \S+ \(process \d+\) died{when}: exit status {status}$", err[0])


@pytest.mark.slow
def test_a_rank_that_leaves_the_others_ends_all():
    status, _, err = run("launch", "-n", "2", sys.executable, "program.py", "exit")
    assert (status, len(err)) == (1, 1), err
    assert re.match(r"fastrnn: error: rank 1 on \S+ \(process \d+\) has ended, but the others wait for it$", err[0])


def test_a_rank_hides_the_launcher_from_its_child_processes(monkeypatch):
    monkeypatch.setenv(heartbeat.ADDRESS, "here 1 token")
    monkeypatch.setattr(heartbeat, "_heartbeat", None)
    monkeypatch.setattr(heartbeat, "Heartbeat", lambda address, rank: (address, rank))
    assert heartbeat.start(2)
    assert (heartbeat._heartbeat, os.environ.get(heartbeat.ADDRESS)) == (("here 1 token", 2), None)


@pytest.mark.slow
def test_a_child_process_does_not_take_the_place_of_its_rank():
    Path("parent.py").write_text(
        "import subprocess, sys, time\nfrom fastrnn.distributed import world\nworld()\n"
        "child = 'from fastrnn.distributed import world; world(); raise SystemExit(4)'\n"
        "print(subprocess.run([sys.executable, '-c', child]).returncode, flush=True)\ntime.sleep(1)\nprint('end')\n"
    )
    assert run("launch", "-n", "1", sys.executable, "parent.py", timeout=60) == (0, "4\nend\n", [])


@pytest.mark.slow
def test_a_program_that_ends_with_an_error_is_named_and_restarted():
    program = "echo start $PMI_RANK >> starts; [ $PMI_RANK = 0 ] || exit 3; sleep 60"
    status, out, err = run("launch", "-n", "2", "--max-restarts", "1", "sh", "-c", program, timeout=40)
    died = r"fastrnn: error: rank 1 on \S+ \(process \d+\) died: exit status 3"
    assert (status, out, len(err)) == (3, "", 3), err
    assert re.match(rf"{died}\n{re.escape('fastrnn: restart 1 of 1 from the last checkpoint')}\n{died}$", "\n".join(err))
    assert sorted(Path("starts").read_text().splitlines()) == ["start 0", "start 0", "start 1", "start 1"]


@pytest.mark.slow
def test_a_rank_that_leaves_the_others_in_an_own_loop_ends_all():
    Path("loop.py").write_text(
        "import sys\nimport numpy as np\nimport fastrnn\nfrom fastrnn.distributed import average_gradients, world\n"
        "layer, x = fastrnn.Linear(2, 2, rng=0), np.ones((1, 2), np.float32)\n"
        "for step in range(4):\n    layer.forward(x)[1](x)\n"
        "    if step == 2 and world().rank == 1:\n        sys.exit(0)\n"
        "    average_gradients(layer.parameters(), weight=1)\n"
    )
    status, _, err = run("launch", "-n", "2", sys.executable, "loop.py", timeout=30)
    assert (status, len(err)) == (1, 1), err
    assert re.match(r"fastrnn: error: rank 1 on \S+ \(process \d+\) has ended, but the others wait for it$", err[0])


@pytest.mark.slow
def test_an_error_of_one_rank_is_shown_once():
    status, _, err = run("launch", "-n", "2", sys.executable, "program.py", "error")
    assert status == 1
    assert err[-1] == "ValueError: no such thing"
    assert sum(line.startswith("Traceback") for line in err) == 1


def test_an_error_of_one_rank_ends_a_rank_that_does_not_wait():
    Path("busy.py").write_text(
        "import time\nfrom fastrnn.distributed import world\nranks = world()\nranks.barrier()\n"
        "if ranks.rank == 0:\n    raise ValueError('no such thing')\n"
        "time.sleep(25)\nopen('late', 'w').close()\n"
    )
    status, _, err = run("launch", "-n", "2", sys.executable, "busy.py", timeout=60)
    assert (status, err[-1]) == (1, "ValueError: no such thing")
    assert not Path("late").exists()


@pytest.mark.slow
def test_nan_on_one_rank_ends_all_with_its_name():
    status, _, err = run("launch", "-n", "2", sys.executable, "program.py", "nan")
    assert status == 1
    assert re.search(r"NonFiniteGradient: rank 1 on \S+: the gradient of .* is not finite at step 12", err[-1])
    assert sum(line.startswith("Traceback") for line in err) == 1


LIKE_MPICH = "=====\n=   BAD TERMINATION\n\ninternal_rate: 3\nAbort(1) said the user\n[proxy:0] mine\n"


def test_the_ranks_output_passes_unchanged():
    text, raw = LIKE_MPICH.encode(), b"\xff\xfe, no end of a line"
    Path("text").write_bytes(text)
    Path("raw").write_bytes(text + raw + b"\n\n" + raw)
    words = [sys.executable, "-m", "fastrnn", "launch", "-n", "1", "sh", "-c", "cat raw; cat text >&2; kill -9 $$"]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.stdout == Path("raw").read_bytes()
    assert done.stderr.startswith(text)
    assert re.fullmatch(
        rb"fastrnn: error: rank 0 on \S+ \(process \d+\) died: Killed \(signal 9\)\n", done.stderr[len(text) :]
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["echo word", "head -c 1000000 /dev/zero"])
def test_output_that_is_lost_is_an_error_and_no_rank_waits(command):
    words = [sys.executable, "-m", "fastrnn", "launch", "-n", "2", "sh", "-c", f"{command}; touch $PMI_RANK"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"fastrnn: error: standard output: No space left on device\n")
    assert [Path(rank).exists() for rank in "01"] == [True, True]


@each_row(
    ("kept", "causes"),
    [
        ([], []),
        (["[proxy:0@vm] f (a.c:1): Too many open files", "[mpiexec@vm] g (b.c:2): failed"], [0]),
        (["[mpiexec@vm] f (a.c:1): failed", "bash: hydra_pmi_proxy: not found", "[mpiexec@vm] g (b.c:2): failed"], [1]),
    ],
)
def test_the_cause_of_a_failure_of_mpiexec(kept, causes):
    output = Output()
    output.kept = kept
    assert output.causes() == [kept[i] for i in causes]


@pytest.mark.slow
def test_a_slow_reader_gets_all_output():
    words = [sys.executable, "-m", "fastrnn", "launch", "-n", "1", "head", "-c", "500000", "/dev/zero"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    time.sleep(4)  # the rank ends meanwhile, and some of its output is in pipes
    assert (process.communicate(timeout=60)[0], process.returncode) == (bytes(500000), 0)


def test_rank_0_reads_standard_input_and_the_others_find_it_empty():
    words = [sys.executable, "-m", "fastrnn", "launch", "-n", "3", "sh", "-c", "echo $PMI_RANK $(wc -c)"]
    text = bytes(3_000_000)  # more than mpiexec itself would forward to a slow reader
    done = subprocess.run(words, input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(done.stdout.split(b"\n")) == [b"", b"0 3000000", b"1 0", b"2 0"]


def test_rank_0_reads_a_file_from_where_the_shell_left_it_and_a_restart_reads_it_again():
    again = "read line; echo got $line; test -e again && exit; touch again; exit 3"
    launch = f"{sys.executable} -m fastrnn launch -n 1 --max-restarts 1 sh -c '{again}'"
    Path("lines").write_text("one\ntwo\n")
    done = subprocess.run(
        ["sh", "-c", f"(read line; {launch}; read line; echo rest $line) < lines"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "got two\ngot two\nrest\n"


def started(out, output=subprocess.PIPE, ranks=2, restarts=0):
    """Start a long training on these ranks; return the process when the first evaluation is written."""
    launch = [sys.executable, "-m", "fastrnn", "launch", "-n", str(ranks), "--max-restarts", str(restarts)]
    words = [*launch, *TRAIN, "--max-steps", "100000", "--out", str(out)]
    process = subprocess.Popen(words, stdout=output, stderr=output, text=True)
    deadline = time.time() + 60
    while not (Path(out) / "metrics.csv").exists() and time.time() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_ctrl_c_saves_once_and_ends_all(ranks):
    process = started("run", ranks=ranks)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == ["fastrnn: saving; Ctrl-C again ends at once"]
    step = int(re.search(r"interrupted at step (\d+); go on with", out)[1])
    assert checkpoint.load("run/last.safetensors").state["trainer"]["step"] == step


@pytest.mark.slow
def test_ctrl_c_before_all_ranks_have_started_ends_at_once():
    Path("late.py").write_text(
        "import os, time\nfrom pathlib import Path\nfrom fastrnn.distributed import world\n"
        "if os.environ['PMI_RANK'] == '1':\n    time.sleep(60)\nPath('pid').write_text(str(os.getpid()))\nworld()\n"
    )
    words = [sys.executable, "-m", "fastrnn", "launch", "-n", "2", sys.executable, "late.py"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not Path("pid").exists():
        time.sleep(0.05)
    time.sleep(1)  # rank 0 connects to the launcher, and waits for rank 1
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == (None, "")
    assert process.returncode == 130
    assert not Path("/proc", Path("pid").read_text()).exists()


def ranks_in(folder):
    """Return the processes of the ranks that train into this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, settings = ((path / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if str(folder).encode() in words and b"launch" not in words and b"PMI_RANK=" in settings:
            found.append(int(path.name))
    return found


@pytest.mark.slow
def test_a_single_rank_is_restarted_from_its_checkpoint(tmp_path):
    process = started(tmp_path / "run", ranks=1, restarts=1)
    (rank,) = ranks_in(tmp_path / "run")
    os.kill(rank, signal.SIGKILL)
    for begin in ("going on from step ", "step "):  # reads on until they come
        assert any(line.lstrip().startswith(begin) for line in process.stdout)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1].splitlines()
    assert re.match(rf"fastrnn: error: rank 0 on \S+ \(process {rank}\) died: Killed \(signal 9\)$", err[0])
    assert err[1:] == ["fastrnn: restart 1 of 1 from the last checkpoint", "fastrnn: saving; Ctrl-C again ends at once"]
    assert process.returncode == 130


@pytest.mark.slow
def test_no_rank_outlives_the_launcher(tmp_path):
    out = tmp_path / "run"
    process = started(out, subprocess.DEVNULL)
    assert len(ranks_in(out)) == 2
    process.kill()
    process.wait()
    deadline = time.time() + 10
    while ranks_in(out) and time.time() < deadline:
        time.sleep(0.1)
    assert ranks_in(out) == []


@each_row(
    ("words", "message"),
    [
        (["-n", "2", "train", "chars", "--hidden", "0"], "argument --hidden: must be an integer of at least 1"),
        (["-n", "2"], "COMMAND is missing"),
        (["-n", "2", "--hosts", "a,,b", *TRAIN], "argument --hosts: must be names separated by commas, got 'a,,b'"),
        (
            ["-n", "2", "--hosts", "no-such-host.invalid", *TRAIN],
            "the machine no-such-host.invalid cannot be reached by ssh",
        ),
        (["-n", "2", "--hosts", "", *TRAIN], "argument --hosts: must be names separated by commas, got ''"),
        (["-n", "2", "no-such-program", "train.py"], "there is no program no-such-program to run on the ranks"),
        (["-n", "0", *TRAIN], "argument -n/--ranks: must be an integer of at least 1"),
        (["-n", "4000", *TRAIN], "argument -n/--ranks: at most"),
    ],
)
def test_bad_input_is_one_line_before_any_rank_starts(words, message, capsys, monkeypatch):
    monkeypatch.setattr("fastrnn.commands.launch.supervise", lambda *_: pytest.fail("ranks were started"))
    *connecting, error = output_of(capsys, "launch", *words, status=2).err.splitlines()
    assert message in error
    assert all(line.startswith("fastrnn: connecting to") for line in connecting)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-n", "3", *TRAIN, "--batch", "2"], "batch must be at least the number of ranks, 3, got 2"),
        (["-n", "2", "train", "chars", "missing.txt"], "missing.txt"),
        (["-n", "1", "--max-restarts", "1", "train", "chars", "missing.txt"], "missing.txt"),
        (["-n", "2", "train", "chars", "--resume"], "--resume needs --out RUN"),
        (["-n", "2", "train", "chars", "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["-n", "2", "train", "chars", "--threads", "100000"], "argument --threads: n must be at most 256"),
    ],
)
def test_bad_input_is_one_line_from_one_rank(words, message):
    status, _, err = run("launch", *words)
    assert (status, len(err)) == (2, 1), err
    assert message in err[0]


@pytest.mark.slow
def test_an_invalid_environment_is_one_line(monkeypatch):
    monkeypatch.setenv("FASTRNN_ISA", "none")
    status, _, err = run("launch", "-n", "2", *TRAIN)
    assert (status, len(err)) == (2, 1), err
    assert err[0].startswith("fastrnn: error: FASTRNN_ISA must be one of ")


@pytest.mark.slow
def test_another_text_on_a_rank():
    Path("other.py").write_text(
        "import os, sys\nfrom fastrnn.cli import main\n"
        "if os.environ['PMI_RANK'] == '1':\n    open('other.txt', 'w').write(open('names.txt').read() + '\\nhanna')\n"
        "name = 'other.txt' if os.environ['PMI_RANK'] == '1' else 'names.txt'\n"
        "sys.exit(main([name if word == 'names.txt' else word for word in sys.argv[1:]]))\n"
    )
    status, _, err = run("launch", "-n", "2", sys.executable, "other.py", *TRAIN, "--out", "run")
    assert (status, len(err)) == (2, 1), err
    assert re.match(r"fastrnn: error: rank 1 on \S+ has another sha256 of the data: \w+, rank 0 has \w+", err[0])


@pytest.mark.slow
def test_a_full_disk_ends_all_with_rank_0s_message():
    Path("full.py").write_text(
        "import errno, sys\nfrom fastrnn.cli import main\nfrom fastrnn.training import checkpoint\n"
        "save, calls = checkpoint.save, []\n"
        "def full(path, *rest):\n    calls.append(path)\n"
        "    if len(calls) > 4:\n        raise OSError(errno.ENOSPC, 'No space left on device', str(path))\n"
        "    save(path, *rest)\n"
        "checkpoint.save = full\nsys.exit(main())\n"
    )
    status, _, err = run("launch", "-n", "2", sys.executable, "full.py", *TRAIN, "--out", "run")
    assert (status, len(err)) == (1, 1), err
    assert re.match(r"fastrnn: error: run/\w+\.safetensors: No space left on device", err[0])


def test_the_command_that_goes_on(tmp_path):
    words = ["train", "chars", "a.txt", "--overwrite", "--out", "x", "--hidden", "8"]
    assert resumed(words, None) == words
    assert resumed(words, "nowhere") == words
    (tmp_path / "config.json").touch()
    went_on = resumed(words, str(tmp_path))
    assert went_on == ["train", "chars", "--resume", "--out", str(tmp_path), "a.txt", "--hidden", "8"]
    assert resumed(["train", "chars", "--over"], str(tmp_path)) == ["train", "chars", "--resume", "--out", str(tmp_path)]
    assert resumed(["python", "train.py"], str(tmp_path)) == ["python", "train.py"]
