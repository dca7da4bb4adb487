"""Errors of distributed training: ranks that differ, an error of one rank, and bad arguments."""

import sys

import numpy as np
import pytest
from distributed_runs import chars, classified, sequences
from thread_ranks import on_ranks
from training_task import StreamTask

import fastrnn
from fastrnn import optim
from fastrnn.distributed import RankError, agreement
from fastrnn.distributed.world import MpiError
from fastrnn.training import Examples, LoopConfig, Trainer, schedules


class TestErrors:
    def test_more_ranks_than_sequences(self):
        few = "the training data must have at least as many {} as there are ranks, 3, got {}: use fewer ranks or more data"
        for reading, options, message in (
            ("lines", {"batch": 2}, "batch must be at least the number of ranks, 3, got 2"),
            ("lines", {"text": "anna\nhanna\nahna"}, few.format("items", 2)),
            ("stream", {"seq_length": 1400}, few.format(r"parts of 1400 tokens \(seq_length\)", 2)),
        ):
            with pytest.raises(ValueError, match=message):
                on_ranks(3, lambda communicator, r=reading, o=options: chars(communicator, reading=r, **o))

    def test_other_data_on_a_rank(self):
        def run(communicator):
            train = sequences(20 + communicator.rank)
            fastrnn.fit(classified(), train, distributed=communicator)

        with pytest.raises(fastrnn.distributed.RanksDiffer, match="rank 1 on thread1 has another training data"):
            on_ranks(2, run)

    def test_another_model_on_a_rank(self):
        def run(communicator):
            model = fastrnn.Linear(3, 2 + communicator.rank)
            fastrnn.fit(model, Examples(np.ones((4, 3), np.float32), np.zeros(4, int)), distributed=communicator)

        expected = r"rank 1 on thread1 has another model, weight: \['float32', 3, 3\], rank 0 has \['float32', 2, 3\]$"
        with pytest.raises(fastrnn.distributed.RanksDiffer, match=expected):
            on_ranks(2, run)

    def test_weights_that_differ_are_found_at_the_next_evaluation(self):
        def run(communicator):
            trainer, model = chars(communicator, eval_every=5)
            learn = trainer.task._learn

            def drifting(batch, state):
                if communicator.rank == 1 and trainer.state.step == 3:
                    model.output.weight.writable()[0, 0] += 1e-6
                return learn(batch, state)

            trainer.task._learn = drifting
            trainer.run()

        with pytest.raises(agreement.RanksDiffer, match="rank 1 on thread1 has another checksum of the weights at step 5"):
            on_ranks(2, run)

    def test_a_gradient_that_is_not_finite_names_its_rank(self):
        def run(communicator):
            trainer, model = chars(communicator)
            learn = trainer.task._learn

            def poisoned(batch, state):
                result = learn(batch, state)
                if communicator.rank == 1 and trainer.state.step == 3:
                    model.output.weight.gradient()[0, 0] = np.nan
                return result

            trainer.task._learn = poisoned
            trainer.run()

        with pytest.raises(optim.NonFiniteGradient, match=r"rank 1 on thread1: the gradient of output\.weight .* step 4"):
            on_ranks(2, run)

    def test_a_rank_that_does_not_see_the_run_folder(self, tmp_path):
        def run(communicator):
            trainer, _ = chars(communicator, tmp_path / str(communicator.rank))
            trainer.run()

        with pytest.raises(RankError, match=r"rank 1 on thread1 cannot see .*last\.safetensors: all ranks need the same"):
            on_ranks(2, run)

    def test_another_version_on_a_rank(self, monkeypatch):
        versions = iter(["0.1.0", "0.2.0"])

        def run(communicator):
            settings = {"version of fastrnn": next(versions)}
            agreement.require_same(communicator, settings)

        with pytest.raises(
            agreement.RanksDiffer, match=r"rank 1 on thread1 has another version of fastrnn: 0\.[12]\.0, rank 0"
        ):
            on_ranks(2, run)

    @pytest.mark.parametrize("failing", [0, 1, 2])
    def test_the_error_of_one_rank_reaches_all(self, failing):
        def run(communicator):
            wanted = {failing: ["key"]}.get(communicator.rank, [])
            with pytest.raises(KeyError if wanted else RankError) as raised, agreement.together(communicator):
                _ = [{}[key] for key in wanted]
            return str(raised.value), agreement.is_common(raised.value)

        for rank, (text, common) in enumerate(on_ranks(3, run)):
            assert text == ("'key'" if rank == failing else f"rank {failing} on thread{failing}: 'key'")
            assert common

    def test_an_error_of_all_ranks_stays_their_own(self):
        def run(communicator):
            with pytest.raises(ValueError, match="same") as raised, agreement.together(communicator):
                raise ValueError("same")
            return agreement.is_common(raised.value)

        assert on_ranks(2, run) == [True, True]

    def test_no_mpi(self, monkeypatch):
        monkeypatch.setattr(sys.modules[MpiError.__module__], "_world", None)
        monkeypatch.setenv("PMI_SIZE", "2")
        monkeypatch.setitem(sys.modules, "mpi4py", None)
        with pytest.raises(MpiError, match=r'several processes need MPI: pip install "fastrnn\[mpi\]"'):
            fastrnn.distributed.world()

    def test_a_task_that_cannot_be_divided(self):
        def run(communicator):
            task = StreamTask()
            config = LoopConfig(max_steps=1, eval_every=1)
            made = optim.Adam(task.named_parameters(), lr=0.1)
            Trainer(task, made, schedules.constant(), config, communicator=communicator)

        with pytest.raises(TypeError, match=r"task must have divide\(communicator\)"):
            on_ranks(2, run)

    def test_objects_that_are_not_communicators(self):
        with pytest.raises(TypeError, match="distributed must be a bool or a Communicator, got"):
            fastrnn.fit(classified(), sequences(), distributed=3)
