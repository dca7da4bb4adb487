"""The model that improvises: its layers by value, its inputs, that it learns, and that its solos are playable."""

from dataclasses import replace

import numpy as np
import pytest
from differences import central_differences, directional_difference, normal, parameter_differences
from example_scripts import example
from hypothesis import given, settings
from hypothesis import strategies as st
from jazz_song import song

import fastrnn
from fastrnn.losses import IGNORED, softmax_cross_entropy
from fastrnn.music._midi import songs
from fastrnn.music._model import jazz_task
from fastrnn.music._model.batching import Line, SongBatches, evaluation, lines, vocabulary_for
from fastrnn.music._model.form import BAR
from fastrnn.music._model.options import make_options
from fastrnn.music._theory.intervals import PitchLogits, Relation
from fastrnn.music.changes import parse_changes
from fastrnn.music.chords import parse_chord
from fastrnn.music.generation import Form, improvise, places_of
from fastrnn.music.jazz_model import jazz_model, last_pitches, parameter_count
from fastrnn.music.piece import Note, Part, Piece
from fastrnn.music.tokens import clock, encode
from fastrnn.music.vocabulary import PartVocabulary
from fastrnn.sampling import Choice

SMALL = PartVocabulary(58, 75)
CHANGES = parse_changes("Dm7 | G7 | Cmaj7 | %")
TINY = {"hidden": 24, "batch": 8, "seq_length": 48, "embedding": 12, "eval_every": 10, "warmup": 0, "lr": 0.01}


def features(symbols):
    return np.stack([parse_chord(symbol).features() for symbol in symbols])


class TestLayers:
    def test_relation_by_value(self):
        chord = features(["Dm7", "G7", "N.C.", "Dm7"]).astype(np.float64)
        last, before = np.array([5, 2, 0, -1]), np.array([3, 30, -1, -1])  # from C4 = 60
        y = Relation(40, 60)(chord, last, before)
        for row, root_position in ((y[0], [0, 3, 7, 10]), (y[1], [0, 4, 7, 10]), (y[2], []), (y[3], [0, 3, 7, 10])):
            assert np.flatnonzero(row[:12]).tolist() == root_position
        assert [np.flatnonzero(row[12:24]).tolist() for row in y] == [[3], [7], [], []]  # F: D's third, D: G's fifth
        assert [np.flatnonzero(row[24:49]).tolist() for row in y] == [[12 + 2], [0], [], []]
        np.testing.assert_allclose(y[:, 49], [5 / 40, 2 / 40, 0, 0])

    def test_pitch_logits_by_value_and_gradient(self):
        layer = PitchLogits.of(SMALL)
        chord = features(["Dm7", "Ab7", "N.C.", "B"]).astype(np.float64)
        last = np.array([0, 17, 4, -1])
        raw, dy = normal(4, layer.inputs), normal(4, len(SMALL), seed=2)
        V, P = len(SMALL), SMALL.pitches
        expected = raw[:, :V].copy()
        for n, (root, heard) in enumerate([(2, 0), (8, 17), (None, 4), (11, None)]):
            for p in range(P):
                if heard is not None:
                    expected[n, SMALL.first_pitch + p] += raw[n, V + P - 1 + p - heard]
                if root is not None:
                    expected[n, SMALL.first_pitch + p] += raw[n, V + 2 * P - 1 + (SMALL.low + p - root) % 12]
        np.testing.assert_allclose(layer(raw, chord, last), expected, rtol=1e-14)
        draw, dchord, dlast = layer.forward(raw, chord, last)[1](dy)
        wanted = central_differences(lambda: float((layer(raw, chord, last) * dy).sum()), raw)
        np.testing.assert_allclose(draw, wanted, rtol=1e-7, atol=1e-8)
        assert not dchord.any()
        assert dlast is None

    @pytest.mark.parametrize("embedding", [2, pytest.param(0, marks=pytest.mark.slow)])
    def test_every_weight_has_its_gradient(self, embedding):
        vocabulary = PartVocabulary(60, 63)
        model = jazz_model(vocabulary, hidden=3, layers=2, embedding=embedding, dtype="float64", rng=0)
        some = [Line.of(song(seed, bars=bars, low=60, high=63), vocabulary) for seed, bars in ((0, 2), (1, 3))]
        (batch,) = evaluation(some, vocabulary, 2)
        inputs = [array.astype(np.float64) if array.dtype == np.float32 else array for array in batch.inputs]

        def loss():
            logits = model(*inputs, lengths=batch.lengths)
            return softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED)[0]

        logits, backward = model.forward(*inputs, lengths=batch.lengths)
        backward(softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED)[1])
        parameters = dict(model.named_parameters())
        recurrent = {f"recurrent.{kind}_{way}_l{n}" for kind in ("weight", "bias") for way in ("ih", "hh") for n in (0, 1)}
        embedded = {"positions.weight"} | ({"tokens.weight"} if embedding else set())
        linear = {f"{layer}.{kind}" for layer in ("output", "gates") for kind in ("weight", "bias")}
        assert parameters.keys() == recurrent | embedded | linear
        for name, parameter in parameters.items():
            assert parameter.data.dtype == np.float64
            for seed in range(2):
                direction = normal(*parameter.data.shape, seed=seed)
                wanted = directional_difference(loss, parameter, direction)
                np.testing.assert_allclose((parameter.grad * direction).sum(), wanted, rtol=1e-6, atol=1e-9, err_msg=name)
            if parameter.data.size < 300:
                wanted = parameter_differences(loss, parameter)
                np.testing.assert_allclose(parameter.grad, wanted, rtol=1e-5, atol=1e-8, err_msg=name)

    @pytest.mark.parametrize(("model", "layers", "embedding"), [("lstm", 2, 5), ("gru", 1, 0), ("rnn", 3, 4)])
    def test_its_weights_are_counted_before_it_is_made(self, model, layers, embedding):
        options = make_options(model=model, layers=layers, hidden=7, embedding=embedding)
        for vocabulary in (SMALL, PartVocabulary(21, 108, polyphonic=True)):
            made = jazz_task.make_model(options, vocabulary)
            assert parameter_count(options, vocabulary) == sum(weights.size for _, weights in made.named_parameters())

    def test_a_model_too_large_for_the_memory_is_refused(self, monkeypatch):
        some = [song(i) for i in range(3)]
        parts, options = jazz_task.split(some, 0.3, 0), make_options(**TINY)
        weights = parameter_count(options, vocabulary_for(some, False, True))
        # Each weight needs a float32, its gradient and two moments.
        monkeypatch.setattr("fastrnn.training._run.model_size.machine_memory", lambda: 4 * 4 * weights)
        jazz_task.make_trainer(parts, options, False)
        with pytest.raises(MemoryError, match=r"LSTM 2 x 25 has [\d,]+ parameters, which take"):
            jazz_task.make_trainer(parts, replace(options, hidden=25), False)
        with pytest.raises(MemoryError, match="a batch of 8 x 1000000 tokens takes at least"):
            jazz_task.make_trainer(parts, replace(options, seq_length=10**6), False)

    def test_transposed_lines_have_the_same_relations(self):
        line = Line.of(song(), SMALL, transpose=True)
        higher = line.moved(2, SMALL)
        relation = Relation(SMALL.pitches, SMALL.low)
        steps = [each.steps(each.ids, SMALL) for each in (line, higher)]
        mine, theirs = (relation(chord, last, before) for _, chord, _, last, before, *_ in steps)
        np.testing.assert_array_equal(mine[:, :-1], theirs[:, :-1])


class TestBatches:
    def test_steps_follow_from_tokens(self):
        one = song(bars=8)
        line = Line.of(one, SMALL)
        token, chord, position, last, before, *_, target = line.steps(np.append(line.ids, SMALL.end), SMALL)
        np.testing.assert_array_equal(target[:-1], encode(one.part, SMALL, end=False))
        np.testing.assert_array_equal(token[1:], target[:-1])
        ticks = clock(line.ids, SMALL)
        np.testing.assert_array_equal(position, ticks % 48)
        np.testing.assert_array_equal(chord, [one.piece.chords[i][1].features() for i in one.piece.chord_at(ticks)])
        said = [-1, -1]
        for t, word in enumerate(target):
            assert (before[t], last[t]) == tuple(said[-2:])
            if SMALL.kinds()[word] == 1:
                said.append(word - SMALL.first_pitch)

    def test_bars_and_chords_of_steps_by_value(self):
        part = Part(notes=(Note(6, 6, 60), Note(40, 8, 62), Note(48, 12, 64)))
        chords = ((12, parse_chord("Dm7")), (48, parse_chord("G7")))
        line = Line.of(songs.Song("", Piece((part,), metres=((0, 3, 4), (36, 4, 4)), chords=chords)), SMALL)
        _, chord, position, *_ = line.steps(np.append(line.ids, SMALL.end), SMALL)
        assert position.tolist() == [0, 6, 6, 12, 4, 4, 12, 12, 12, 24]
        np.testing.assert_array_equal(chord, features(["N.C."] * 3 + ["Dm7"] * 3 + ["G7"] * 4))

    def test_no_chord_sounds_on_into_the_next_song(self):
        one = Piece((Part(notes=(Note(0, 12, 60),)),), chords=((0, parse_chord("Dm7")),), length=48)
        later = Part(notes=(Note(0, 12, 60), Note(24, 12, 62), Note(48, 12, 64)))
        # A note is a shift, a pitch and a duration; the shift to the second song still belongs to the first song.
        for chords, heard in ((((48, parse_chord("G7")),), ["N.C."] * 6 + ["G7"] * 2), ((), ["N.C."] * 8)):
            other = songs.Song("", Piece((later,), chords=chords, length=96))
            joined = Line.of(songs.Song("", one), SMALL).then(Line.of(other, SMALL), SMALL)
            _, chord, position, *_ = joined.steps(joined.ids, SMALL)
            np.testing.assert_array_equal(chord, features(["Dm7"] * 4 + heard))
            assert position.tolist() == [0, 0, 0, 12, 0, 0, 12, 24, 24, 36, 0, 0]

    @pytest.mark.parametrize("polyphonic", [False, True])
    def test_joined_songs_are_the_joined_pieces(self, polyphonic):
        vocabulary = PartVocabulary(50, 80, polyphonic)
        first, second = song(1, 3, polyphonic), song(2, 4, polyphonic)
        offset = first.piece.length
        moved = [Note(note.onset + offset, note.duration, note.pitch) for note in second.part.notes]
        chords = (*first.piece.chords, *((tick + offset, chord) for tick, chord in second.piece.chords))
        whole = Piece((Part(notes=(*first.part.notes, *moved)),), chords=chords, length=offset + second.piece.length)
        joined = Line.of(first, vocabulary).then(Line.of(second, vocabulary), vocabulary)
        expected = Line.of(songs.Song("whole", whole), vocabulary)
        np.testing.assert_array_equal(joined.ids, expected.ids)
        mine, theirs = (list(each.steps(each.ids, vocabulary)) for each in (joined, expected))
        places = [Line.of(each, vocabulary).places for each in (first, second)]
        np.testing.assert_array_equal(joined.places, np.concatenate(places))
        for inputs in (mine, theirs):
            inputs[5] = inputs[5][:, BAR:]  # the places in the forms, which are those of two songs
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_batches_follow_from_seed_and_position(self):
        made = lines([song(i) for i in range(3)], SMALL, transpose=True)
        one, two = (SongBatches(made, SMALL, 4, 40, seed=5) for _ in range(2))
        seen = [one.next() for _ in range(6)]
        for _ in range(3):
            two.next()
        again = SongBatches(made, SMALL, 4, 40, seed=5)
        again.load_state_dict(two.state_dict())
        for expected in seen[3:]:
            batch = again.next()
            np.testing.assert_array_equal(batch.targets, expected.targets)
            for mine, theirs in zip(batch.inputs, expected.inputs, strict=True):
                np.testing.assert_array_equal(mine, theirs)
        assert any((batch.targets == SMALL.end).any() for batch in seen)
        assert len({batch.targets.tobytes() for batch in seen}) == 6

    def test_split(self):
        some = [song(i, title=str(i)) for i in range(10)]
        one, same, other = (jazz_task.split(some, 0.2, seed) for seed in (1, 1, 2))
        assert one == same
        assert one != other
        assert len(one.held_out) == 2
        assert {each.title for each in (*one.train, *one.held_out)} == set(map(str, range(10)))
        alone = jazz_task.split([song(bars=8)], 0.25, 0)
        assert [part.piece.length // 48 for part in (*alone.train, *alone.held_out)] == [6, 2]
        assert [chord.symbol for _, chord in alone.held_out[0].piece.chords] == ["Cmaj7"]
        with pytest.raises(ValueError, match="song has too few bars"):
            jazz_task.split([song(bars=1)], 0.1, 0)

    def test_songs_come_back_from_json(self):
        one = song()
        again = songs.Song.from_json(one.to_json())
        assert again == one


class TestImprovising:
    model = jazz_model(SMALL, hidden=8, layers=1, embedding=4, rng=0)

    @settings(max_examples=15)
    @given(
        seed=st.integers(0, 10**6),
        temperature=st.sampled_from([0.0, 1.0, 5.0, 100.0]),
        polyphonic=st.booleans(),
        changes=st.sampled_from(["N.C.", "C", "Dm7 G7 | Cmaj7", "C | F | G7 | C"]),
        narrow=st.booleans(),
    )
    def test_whatever_is_sampled_can_be_played(self, seed, temperature, polyphonic, changes, narrow):
        """A model that knows nothing samples playable music at any temperature."""
        vocabulary = PartVocabulary(58, 75, polyphonic)
        model = jazz_model(vocabulary, hidden=8, layers=1, embedding=4, rng=seed)
        form = Form.of(parse_changes(changes).choruses(2))
        low, high = (60, 64) if narrow else (0, 127)
        solo = improvise(model, vocabulary, form, choice=Choice(temperature), seed=seed, low=low, high=high)
        assert not solo.ended
        for note in solo.part.notes:
            assert note.end <= form.length
            assert max(58, low) <= note.pitch <= min(75, high)
        encode(solo.part, vocabulary)  # raises if notes overlap that must not

    def test_step_by_step_equals_the_whole_sequence_in_training(self):
        """Sampling uses the same logits as the whole sequence in training, so greedy tokens are the likeliest ones."""
        form = Form.of(CHANGES)
        primer = song(3).part
        cut = Part(notes=tuple(note for note in primer.notes if note.end <= 96))
        solo = improvise(self.model, SMALL, form, choice=Choice(greedy=True), primer=cut)
        assert solo.primed == len(cut.notes)
        assert solo.part.notes[: solo.primed] == cut.notes
        ids = encode(solo.part, SMALL, end=False)
        line = Line.of(songs.Song("", Piece((solo.part,), chords=form.chords, length=form.length)), SMALL)
        *inputs, targets = (array[:, None] for array in line.steps(ids, SMALL))
        logits = self.model(*inputs)[:, 0]
        kinds = SMALL.kinds()
        for t in range(len(encode(cut, SMALL, end=False)), len(ids) - 1):  # the last duration may have been cut
            same_kind = np.flatnonzero(kinds == kinds[ids[t]])
            assert ids[t] == same_kind[logits[t, same_kind].argmax()]
        np.testing.assert_array_equal(last_pitches(ids, SMALL)[0], inputs[3][:, 0])
        np.testing.assert_array_equal(targets[:, 0], ids)

    def test_the_seed_decides(self):
        one, same, other = (improvise(self.model, SMALL, Form.of(CHANGES), seed=seed) for seed in (1, 1, 2))
        assert one == same
        assert one != other

    def test_bad_requests(self):
        form = Form.of(CHANGES)
        with pytest.raises(ValueError, match=r"low and high must leave a pitch of 58\.\.75, got 90\.\.99"):
            improvise(self.model, SMALL, form, low=90, high=99)
        with pytest.raises(ValueError, match="primer must be shorter than the form, of 4 bars, got one of 8"):
            improvise(self.model, SMALL, form, primer=Part(notes=(Note(0, 384, 60),)))
        with pytest.raises(ValueError, match=r"pitches in 58\.\.75, got 20"):
            improvise(self.model, SMALL, form, primer=Part(notes=(Note(0, 6, 20),)))

    def test_places_are_those_of_the_songs(self):
        known = lines([song(i) for i in range(3)], SMALL)
        places = places_of(known, SMALL)
        kinds = SMALL.kinds()
        assert places[:, kinds == 1].all()
        assert not places[[1, 2, 3, 4, 5, 7, 8, 9, 10, 11]][:, (kinds == 0) | (kinds == 2)].any()  # all notes are on eighths
        solo = improvise(self.model, SMALL, Form.of(CHANGES), seed=0, places=places)
        assert len(solo.part.notes) > 10
        assert all(note.onset % 6 == 0 and note.duration % 6 == 0 for note in solo.part.notes)

    @pytest.mark.parametrize(
        ("metres", "onsets", "known"),
        [
            # A pickup of an eighth, then quarters, which end in the middle of their beats.
            (((0, 1, 8), (6, 4, 4)), (0, 6, 18, 30, 42, 54), {0: {"shift 0"}, 6: {"shift 0", "shift 6"}}),
            # An eighth of rest at the end of each bar.
            (((0, 7, 8),), (0, 12, 24, 42, 54, 66), {0: {"shift 0"}, 6: {"shift 6", "shift 12"}}),
        ],
    )
    def test_places_in_a_beat_are_counted_from_the_bar_line(self, metres, onsets, known):
        melody = Part(notes=tuple(Note(onset, 6, 60 + i) for i, onset in enumerate(onsets)))
        places = places_of(lines([songs.Song("", Piece((melody,), metres))], SMALL), SMALL)
        shifts = [{SMALL.names()[i] for i in np.flatnonzero(row) if SMALL.names()[i].startswith("shift")} for row in places]
        assert {place: names for place, names in enumerate(shifts) if names} == known


class TestTraining:
    def _trainer(self, out=None, max_steps=40, **given):
        parts = jazz_task.split([song(i, title=str(i)) for i in range(10)], 0.2, 0)
        options = make_options(**{**TINY, "max_steps": max_steps, **given})
        return jazz_task.make_trainer(parts, options, False, out)

    def test_it_learns(self):
        trainer, _, data = self._trainer(max_steps=60, lr=0.02, dropout=0.0, layers=1)
        assert trainer.run().best_val_loss < data.baselines["bigram"]

    def test_vocabulary_has_room_for_all_keys(self):
        some = [song(i) for i in range(3)]
        vocabulary = vocabulary_for(some, False, True)
        assert all(len(line.moves) == 12 for line in lines(some, vocabulary, transpose=True))
        assert vocabulary_for(some, True, False).polyphonic


class TestCourse:
    """examples/jazz_course.py: one cell, unrolled for training and fed back for sampling."""

    course = example("jazz_course")

    def test_the_slices_are_the_whole_sequence(self):
        course = self.course.Course(seed=1)
        x = normal(self.course.T_X, 2, self.course.VALUES).astype(np.float32)
        lstm = fastrnn.LSTM(self.course.VALUES, self.course.UNITS)
        lstm.load_state_dict({f"{name}_l0": array for name, array in course.cell.state_dict().items()})
        np.testing.assert_allclose(course.training_model()(x), course.densor(lstm(x)[0]), rtol=1e-4, atol=1e-5)

    def test_it_goes_into_a_file(self, tmp_path):
        course = self.course.Course(seed=1)
        model, x = course.training_model(), normal(self.course.T_X, 2, self.course.VALUES).astype(np.float32)
        model.save(tmp_path / "course.safetensors")
        np.testing.assert_array_equal(fastrnn.load_model(tmp_path / "course.safetensors")(x), model(x))

    def test_outputs_are_fed_back(self):
        course = self.course.Course(seed=1)
        one_hot = np.eye(self.course.VALUES, dtype=np.float32)
        x, state = one_hot[[3]], (np.zeros((1, 64), np.float32),) * 2
        outputs = course.inference_model(6)(x, *state)
        for y in outputs:
            state = course.cell(x, state)
            x = one_hot[course.densor(state[0]).argmax(-1)]
            np.testing.assert_array_equal(y, x)

    @pytest.mark.slow
    def test_it_learns_and_plays(self, capsys):
        known, X = self.course.data()
        assert X.shape[1:] == (30, 78)
        assert (X.sum(-1) == 1).all()
        course = self.course.Course()
        model = course.training_model()
        first, last = (self.course.train(model, X[:40], epochs) for epochs in (1, 8))
        assert last < first - 0.5
        part = self.course.improvise(course, known)
        assert len(part.notes) == 50
        assert all(one.end <= other.onset for one, other in zip(part.notes, part.notes[1:], strict=False))
