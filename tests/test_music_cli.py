"""``fastrnn train jazz``, ``improvise`` and ``sample`` of a jazz run, from end to end; mistakes of users."""

import functools
import json
import re
import shutil
import wave
from dataclasses import replace

import numpy as np
import pytest
import smf
from command_line import II_V_I, JAZZ, configuration, error_of, execute, output_of
from tables import each_row

from fastrnn.cli import main
from fastrnn.music._midi.songs import Song
from fastrnn.music._model.jazz_task import Split
from fastrnn.music.midi import read_midi
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece
from fastrnn.music.run_folder import load_config, load_player, load_songs, save_songs
from fastrnn.serialization import load_arrays, save_arrays
from fastrnn.training import checkpoint
from fastrnn.training._run.folder import RunError

pytestmark = pytest.mark.usefixtures("quick_pictures")

_train = functools.partial(execute, "train", "jazz")


def _scale(*, polyphonic=False, start=60, program=66):
    steps = [0, 2, 4, 5, 7, 9, 11, 12] * 4
    notes = [Note(6 * i, 6, start + step) for i, step in enumerate(steps)]
    if polyphonic:
        notes += [Note(48 * i, 24, start - 12 + step) for i in range(4) for step in (0, 4)]
    return Piece((Part("lead", program, notes=tuple(notes)),))


@pytest.fixture
def files(tmp_path):
    """Write a folder with four valid MIDI files."""
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(4):
        write_midi(folder / f"{i}.mid", _scale(start=60 + i))
    return folder


# train


def test_a_run_folder_is_complete_and_says_what_it_is(tmp_path, capsys):
    _train(*JAZZ, "--max-steps", 2, "--out", tmp_path / "run")
    output = capsys.readouterr().out
    assert re.search(r"music: +corpus:jazz: the melody, one note at a time; \d+ tokens in the vocabulary", output)
    assert re.search(
        r"split: +\d+ songs \([\d,]+ tokens\) to train on, in 12 keys each, \d+ \([\d,]+ tokens\) held out", output
    )
    assert re.search(r"to beat: +unigram \d\.\d{3}, bigram \d\.\d{3} nats per token, held out", output)
    assert "model:    LSTM 1 x 8" in output
    assert "improvise with: fastrnn improvise" in output
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json", "songs.safetensors", "best.safetensors", "last.safetensors", "metrics.csv", "loss.png", "samples.txt"
    }  # fmt: skip
    config = configuration(tmp_path / "run")
    assert config["format"] == "fastrnn-jazz"
    assert config["data"]["sources"] == ["corpus:jazz"]
    assert config["baselines"].keys() == {"unigram", "bigram"}


def test_a_folder_with_bad_files(tmp_path, files, capsys):
    (files / "empty.mid").write_bytes(b"")
    (files / "no.mid").write_bytes(b"not music at all")
    (files / "cut.mid").write_bytes(smf.SCALE[:-8])
    (files / "silent.mid").write_bytes(smf.midi(smf.track()))
    _train(files, *JAZZ, "--max-steps", 2, "--out", tmp_path / "run")
    captured = capsys.readouterr()
    skipped = [line for line in captured.err.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == 4
    assert captured.err.splitlines()[-1] == "8 MIDI files: 4 skipped"
    assert "3 songs" in captured.out


def test_a_file_without_the_part_that_is_named_is_skipped(tmp_path, files, capsys):
    write_midi(files / "other.mid", Piece((Part("tuba", 58, notes=(Note(0, 6, 40), Note(6, 6, 43))),)))
    _train(files, "--melody", "lead", *JAZZ, "--max-steps", 2, "--out", tmp_path / "run")
    expected = f"skipped: {files}/other.mid: --melody must be one of the parts 0 'tuba', got 'lead'"
    assert expected in capsys.readouterr().err


def test_a_file_that_comes_twice_is_learned_from_once(tmp_path, files, capsys):
    shutil.copy(files / "1.mid", files / "other.mid")
    _train(files / "0.mid", files, files / "2.mid", *JAZZ, "--max-steps", 2, "--out", tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    assert f"skipped: {files}/other.mid is the same music as {files}/1.mid" in said
    assert said[-1] == "5 MIDI files: 1 skipped"
    songs = load_player(tmp_path / "run").songs
    assert sorted(song.title for song in (*songs.train, *songs.held_out)) == ["0", "1", "2", "3"]


def test_a_single_file_holds_out_its_end(tmp_path, files, capsys):
    _train(files / "0.mid", *JAZZ, "--max-steps", 2, "--val-fraction", "0.25", "--out", tmp_path / "run")
    songs = load_player(tmp_path / "run").songs
    assert [song.piece.length for song in (*songs.train, *songs.held_out)] == [144, 48]


def test_pianos_are_learned_with_all_that_they_play(tmp_path, capsys):
    for i in range(3):
        write_midi(tmp_path / f"{i}.mid", _scale(polyphonic=True, start=60 + i, program=0))
    _train(tmp_path, *JAZZ, "--max-steps", 2, "--out", tmp_path / "run")
    assert "all that is played" in capsys.readouterr().out
    _train(tmp_path, *JAZZ, "--max-steps", 2, "--voices", "line", "--melody", "0", "--out", tmp_path / "line")
    assert "one note at a time" in capsys.readouterr().out
    execute("improvise", tmp_path / "run", "--changes", II_V_I, "--seed", "1", "--out", tmp_path / "p.mid")
    parts = read_midi(tmp_path / "p.mid").parts  # no comping and no bass with a piano
    assert {part.name for part in parts} <= {"right hand", "left hand"}
    velocities = {note.velocity for part in parts for note in part.notes}
    assert len(velocities) > 1


def test_chords_are_inferred_from_the_part_that_is_named(tmp_path, capsys):
    """Two parts play chords, one of them in another key. Without a name, chords are inferred from both."""

    def block(name, *pitches):
        return Part(name, 0, notes=tuple(Note(24 * i, 24, pitch) for i in range(8) for pitch in pitches))

    for i in range(3):
        lead = _scale(start=60 + i).parts[0]
        write_midi(tmp_path / f"{i}.mid", Piece((lead, block("comp", 60, 64, 67), block("pad", 54, 58, 61))))
    options = [tmp_path, *JAZZ, "--max-steps", 2, "--melody", "lead"]

    def symbols(*named):
        _train(*options, *named, "--out", tmp_path / "run", "--overwrite")
        return {chord.symbol for song in load_player(tmp_path / "run").songs.train for _, chord in song.piece.chords}

    assert symbols("--chords", "comp") == {"C"}
    assert symbols("--chords", "2") == {"Gb"}
    assert error_of(capsys, "train", "jazz", *options, "--chords", "comp", "--changes", "C").endswith("exclude each other")


def test_chords_can_be_given(tmp_path, files):
    _train(files, *JAZZ, "--max-steps", 2, "--changes", "Cmaj7 | Am7", "--out", tmp_path / "run")
    song = load_player(tmp_path / "run").songs.train[0]
    assert [(tick, chord.symbol) for tick, chord in song.piece.chords] == [
        (0, "Cmaj7"), (48, "Am7"), (96, "Cmaj7"), (144, "Am7")
    ]  # fmt: skip
    _train(files, *JAZZ, "--max-steps", 2, "--changes", "ii-V-I", "--out", tmp_path / "named")
    song = load_player(tmp_path / "named").songs.train[0]
    assert [(tick, chord.symbol) for tick, chord in song.piece.chords] == [(0, "Dm7"), (48, "G7"), (96, "Cmaj7")]


# improvise and sample


def test_improvise_writes_what_can_be_played_heard_and_seen(jazz_run, tmp_path, capsys):
    out, sound, roll = (tmp_path / name for name in ("solo.mid", "solo.wav", "solo.png"))
    command = ["improvise", jazz_run, "--changes", II_V_I, "--choruses", 2, "--tempo", 160, "--swing", 0.6, "--key", "Eb"]
    command += ["--seed", 3, "--out", out, "--wav", sound, "--roll", roll, "--drums"]
    output = output_of(capsys, *command).out
    piece = read_midi(out, drums=True)
    assert [part.name for part in piece.parts] == ["solo", "comping", "bass", "drums"]
    assert piece.tempos[0][1] == pytest.approx(160, rel=1e-4)
    assert [chord.symbol for _, chord in piece.chords] == ["Fm7", "Bb7", "Ebmaj7"] * 2
    assert piece.length == 9 * 48  # with a closing bar
    with wave.open(str(sound)) as file:
        assert file.getnframes() / file.getframerate() > 8 * 4 * 60 / 160
    assert roll.read_bytes()[:4] == b"\x89PNG"
    for words in ("chord tones on strong beats", "scale tones", "pitch range", "rests", "longest copied run", "trained on"):
        assert words in output


def test_the_seed_decides_and_comping_can_be_left_out(jazz_run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        command = ["improvise", jazz_run, "--changes", II_V_I, "--seed", seed, "--no-comping", "--no-bass"]
        execute(*command, "--out", tmp_path / f"{name}.mid")
    one, same, other = (read_midi(tmp_path / f"{name}.mid", fewest=0) for name in "abc")
    assert one == same
    assert one != other
    assert len(one.parts) == 1


def test_no_note_leaves_the_instrument(jazz_run, tmp_path):
    command = [
        "improvise",
        str(jazz_run),
        "--changes",
        "blues",
        "--instrument",
        "trumpet",
        "--temperature",
        "3",
        "--seed",
        "1",
    ]
    execute(*command, "--no-comping", "--no-bass", "--out", tmp_path / "solo.mid")
    (part,) = read_midi(tmp_path / "solo.mid").parts
    assert part.program == 56
    assert all(52 <= note.pitch <= 82 for note in part.notes)


@pytest.mark.parametrize("swing", [0.5, 0.62])  # a swung phrase comes back to the grid
def test_a_primer_is_continued(jazz_run, tmp_path, capsys, swing):
    lick = Piece((Part("lick", 66, notes=tuple(Note(6 * i, 6, 60 + i) for i in range(8))),))
    write_midi(tmp_path / "lick.mid", lick, swing=swing)
    command = ["improvise", jazz_run, "--changes", II_V_I, "--primer", tmp_path / "lick.mid", "--seed", 2, "--swing", 0.5]
    assert "the first 8 notes are the primer's" in output_of(capsys, *command, "--out", tmp_path / "solo.mid").err
    solo = read_midi(tmp_path / "solo.mid").parts[0]
    assert [(note.onset, note.pitch) for note in solo.notes[:8]] == [(6 * i, 60 + i) for i in range(8)]
    assert len(solo.notes) > 8


def test_sample_plays_over_the_chords_of_a_song(jazz_run, tmp_path, capsys):
    captured = output_of(capsys, "sample", jazz_run, "--seed", "0", "--out", tmp_path / "solo.mid")
    title = re.search(r"over the chords of '(.*)'", captured.err)[1]
    songs = load_player(jazz_run).songs.train
    assert title in {song.title for song in songs}
    assert read_midi(tmp_path / "solo.mid", fewest=0).chords


# mistakes of users


def test_bad_input_to_training(tmp_path, files, capsys):
    def error(*arguments, status=2):
        return error_of(capsys, "train", "jazz", *arguments, "--out", tmp_path / "run", status=status)

    (tmp_path / "text.mid").write_bytes(b"hello")
    (tmp_path / "one.mid").write_bytes(smf.midi(smf.track((0, smf.on(60)), (480, smf.off(60)))))
    (tmp_path / "none").mkdir()
    assert error(tmp_path / "text.mid") == f"{tmp_path}/text.mid is not a MIDI file: it does not begin with MThd"
    assert error(tmp_path / "one.mid") == f"{tmp_path}/one.mid has only one note"
    assert error(tmp_path / "none") == f"{tmp_path}/none is a folder without .mid or .midi files"
    assert error(tmp_path / "gone.mid") == f"{tmp_path}/gone.mid: No such file or directory"
    for option in ("--melody", "--chords"):
        for part, shown in (("tuba", "'tuba'"), ("7", "7")):
            fault = f"{files}/0.mid: {option} must be one of the parts 0 'lead', got {shown}"
            assert error(files / "0.mid", option, part) == fault
    write_midi(tmp_path / "short.mid", Piece((Part(notes=(Note(0, 6, 60), Note(6, 6, 62))),)))
    too_few = "short has too few bars (1) to hold out its end and train on the rest"
    assert error(tmp_path / "short.mid") == f"{tmp_path}/short.mid: {too_few}"
    assert error("--voices", "line").startswith("--melody, --chords, --changes and --voices are for files")
    assert error(files, "--voices", "all", "--melody", "lead") == "--melody is for a line: --voices all takes all parts"
    assert error("--max-steps", "0").startswith("argument --max-steps: must be an integer of at least 1")
    assert "not enough memory: LSTM 2 x 2000000 has" in error("--hidden", 2000000, status=1)
    fault, line, place = error(files, "--changes", "Dm7 | H7").splitlines()
    assert "root from A to G" in fault
    assert line[place.index("^")] == "H"
    assert not (tmp_path / "run").exists()


# Numeric options, each with the VALUES that it accepts.
VALUES = ("0", "-1", "nan", "1000000000", "1e9")
TAKEN = {
    "batch": "", "clip-norm": "0 1000000000 1e9", "clip-value": "0 1000000000 1e9", "dropout": "0", "embedding": "0",
    "eval-every": "1000000000", "hidden": "", "layers": "", "lr": "1000000000 1e9", "max-seconds": "1000000000 1e9",
    "max-steps": "1000000000", "patience": "1000000000", "seed": "0 1000000000", "seq-length": "", "threads": "",
    "val-fraction": "", "warmup": "0 1000000000", "weight-decay": "0 1000000000 1e9",
}  # fmt: skip


QUICK = ("batch", "dropout", "lr", "seed")  # one of each kind


@pytest.mark.parametrize(
    "option", [pytest.param(option, marks=() if option in QUICK else pytest.mark.slow) for option in TAKEN]
)
def test_any_number_is_taken_or_refused_in_one_line(tmp_path, files, capsys, monkeypatch, option):
    monkeypatch.setattr("fastrnn.training.LossCurve.draw", lambda self: None)
    limits = ["--max-steps", 1, "--max-seconds", 0.2]
    taken = []
    for value in VALUES:
        out = tmp_path / value
        status = main(list(map(str, ["train", "jazz", files, *JAZZ, *limits, f"--{option}={value}", "--out", out])))
        error = capsys.readouterr().err
        if status == 0:
            taken.append(value)
            assert not error
            continue
        assert error.startswith("fastrnn: error: ")
        assert len(error.splitlines()) == 1
        assert f"argument --{option}" in error if status == 2 else "not enough memory" in error
        assert not out.exists()
    assert taken == TAKEN[option].split()


def test_bad_resumes(jazz_run, tmp_path, files, capsys):
    assert error_of(capsys, "train", "jazz", "--resume") == "--resume needs --out RUN, the folder of the run to go on with"
    assert "is not a run folder" in error_of(capsys, "train", "jazz", "--resume", "--out", tmp_path)
    assert "--hidden cannot change" in error_of(capsys, "train", "jazz", "--resume", "--out", jazz_run, "--hidden", 9)
    assert "the songs are not those" in error_of(capsys, "train", "jazz", files, "--resume", "--out", jazz_run)
    assert "holds a run already" in error_of(capsys, "train", "jazz", "--out", jazz_run)
    assert "not the configuration of a character model" in error_of(capsys, "train", "chars", "--resume", "--out", jazz_run)
    assert "not the configuration of a character model" in error_of(capsys, "score", jazz_run, "la la la")


def test_bad_requests_for_music(jazz_run, tmp_path, capsys):
    out = ["--out", tmp_path / "x.mid"]

    def error(*arguments, changes=II_V_I):
        return error_of(capsys, "improvise", jazz_run, "--changes", changes, *arguments)

    assert error() == "--out FILE.mid is missing: the MIDI file to write"
    assert error("--out", tmp_path / "no" / "x.mid") == f"{tmp_path}/no: no such folder"
    assert "a bar of 4/4 cannot hold 9 chords" in error(*out, changes="C D E F G A B C D")
    assert "is not a key" in error(*out, "--key", "H")
    assert error(*out, "--swing", 0.74) == "argument --swing: must be a number at least 0.5 and at most 0.72, got '0.74'"
    assert error(*out, "--tempo", 9999).startswith("argument --tempo")
    assert error(*out, "--sound-font", "x.sf2") == "--sound-font is for --wav"
    assert error(*out, "--primer", tmp_path / "gone.mid") == f"{tmp_path}/gone.mid: No such file or directory"
    write_midi(tmp_path / "low.mid", Piece((Part(notes=(Note(0, 6, 20), Note(6, 6, 21))),)))
    assert "has the pitch 20, and this model's are" in error(*out, "--primer", tmp_path / "low.mid")
    write_midi(tmp_path / "long.mid", Piece((Part(notes=(Note(0, 480, 60), Note(480, 6, 61))),)))
    long = tmp_path / "long.mid"
    assert error(*out, "--primer", long) == f"{long}: --primer has 11 bars and the form 8: nothing is left to improvise"
    instead = "for a jazz run, fastrnn improvise --primer begins with given notes"
    assert error_of(capsys, "sample", jazz_run, "--prefix", "la", *out) == f"--prefix is for text: {instead}"
    instead = "a jazz run plays one piece, and another one with another --seed"
    assert error_of(capsys, "sample", jazz_run, "--number", 3) == f"--number is for text: {instead}"
    assert error_of(capsys, "sample", jazz_run, "--sentences") == "--sentences is for text"
    assert not (tmp_path / "x.mid").exists()


def test_damaged_run_folders(jazz_run, tmp_path, capsys):
    def error(name, content):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(jazz_run, folder)
        (folder / name).write_bytes(content)
        return error_of(capsys, "improvise", folder, "--changes", "C", "--out", tmp_path / "x.mid")

    config = configuration(jazz_run)
    assert "config.json is damaged" in error("config.json", b"{")
    assert "config.json is damaged: it lacks 'options'" in error(
        "config.json", json.dumps({name: config[name] for name in config if name != "options"}).encode()
    )
    assert "is not the configuration of a jazz model" in error("config.json", b'{"format": "fastrnn-chars", "version": 1}')
    whole = (jazz_run / "songs.safetensors").read_bytes()
    assert f"{tmp_path}/copy/songs.safetensors is truncated or damaged" in error("songs.safetensors", whole[:-1])
    assert f"{tmp_path}/copy/songs.safetensors is not a safetensors file" in error("songs.safetensors", b'{"train": []}')
    other = (jazz_run / "best.safetensors").read_bytes()
    assert f"{tmp_path}/copy/songs.safetensors is damaged: it does not hold songs" in error("songs.safetensors", other)
    assert "best.safetensors" in error("best.safetensors", b"nothing")
    deep = f"{tmp_path}/copy/config.json is damaged: it is nested more than 200 deep"
    assert error("config.json", b"[" * 100_000) == deep
    assert load_config(jazz_run).options.hidden == 8


def test_a_run_folder_without_songs(jazz_run, tmp_path, capsys):
    shutil.copytree(jazz_run, tmp_path / "copy")
    (tmp_path / "copy" / "songs.safetensors").unlink()
    fault = error_of(capsys, "sample", tmp_path / "copy", "--out", tmp_path / "x.mid")
    assert fault == f"{tmp_path}/copy lacks songs.safetensors, the songs of the run"


def _old_songs(jazz_run):
    """Return the songs in the format of pieces.json, which older versions wrote."""
    songs = load_songs(jazz_run)
    content = {name: [song.to_json() for song in getattr(songs, name)] for name in ("train", "held_out")}
    return json.loads(json.dumps(content))


def test_runs_of_older_versions_are_played_and_resumed(jazz_run, tmp_path):
    shutil.copytree(jazz_run, tmp_path / "old")
    (tmp_path / "old" / "songs.safetensors").unlink()
    (tmp_path / "old" / "pieces.json").write_text(json.dumps(_old_songs(jazz_run)))
    assert load_songs(tmp_path / "old") == load_songs(jazz_run)
    shutil.copytree(jazz_run, tmp_path / "new")
    for name in ("old", "new"):
        _train("--resume", "--max-steps", 6, "--out", tmp_path / name)
    old, new = (checkpoint.load(tmp_path / name / "last.safetensors").model for name in ("old", "new"))
    assert all(np.array_equal(old[name], new[name]) for name in new)
    _train(*JAZZ, "--max-steps", 2, "--out", tmp_path / "old", "--overwrite")
    assert not (tmp_path / "old" / "pieces.json").exists()


@each_row(
    ("name", "value", "fault"),
    [
        ("onset", 10**9, "a song has an invalid note, or one that lasts beyond its end at "),
        ("onset", -1, "a song has an invalid note, or one that lasts beyond its end at "),
        ("duration", 0, "a song has an invalid note, or one that lasts beyond its end at "),
        ("pitch", 128, "a song has an invalid note, or one that lasts beyond its end at "),
        ("chord", 99, "a song has a chord without a symbol"),
        ("chord_tick", -1, "a tick must be at least 0, got -1"),
        ("metre_tick", 10**9, "a song lasts 20,000 quarters at most, got the tick 1000000000"),
        ("numerator", 400, "a metre of 400/4 cannot be written as MIDI"),
        ("denominator", 3, "a metre of 4/3 cannot be written as MIDI"),
        ("bpm", 1e-320, "a tempo of 9.99989e-321 quarters a minute cannot be written as MIDI"),
        ("bpm", np.nan, "a tempo must lie in (0, inf], got nan"),
        ("counts", -1, "it lacks the sizes of its songs"),
        ("title", None, "the title of a song must be a string, got None"),
        ("part", 1, "a song must have the name of a part, and a list of symbols"),
        ("program", 128, "program must be at most 127, got 128"),
        ("length", 10**12, "a song lasts 20,000 quarters at most, got the tick 1000000000000"),
        ("length", 1, "a song has an invalid note, or one that lasts beyond its end at 1"),
        ("symbols", ["H7"] * 99, "expected a chord"),
        ("swing", 0.9, "swing must lie in [0.5, 0.72], got 0.9"),
        ("is_drum", "no", "is_drum must be True or False, got 'no'"),
    ],
)
def test_damaged_songs(jazz_run, tmp_path, name, value, fault):
    path = tmp_path / "songs.safetensors"
    arrays, texts = load_arrays(jazz_run / "songs.safetensors")
    content = json.loads(texts["content"])
    if name in arrays:
        arrays[name].flat[0] = value
    else:
        content["songs"][0][name] = value
    save_arrays(path, arrays, {"content": json.dumps(content)})
    with pytest.raises(RunError) as caught:
        load_songs(tmp_path)
    assert str(caught.value).startswith(f"{path} is damaged: {fault}")


@each_row(
    ("name", "value", "fault"),
    [
        ("metres", [[0, 4, 3]], "a metre of 4/3 cannot be written as MIDI"),
        ("metres", [[0, 400, 4]], "a metre of 400/4 cannot be written as MIDI"),
        ("metres", [[]], "not enough values to unpack (expected at least 1, got 0)"),
        ("metres", [[10**30, 4, 4]], f"a song lasts 20,000 quarters at most, got the tick {10**30}"),
        ("tempos", [[0, 1e-320]], "a tempo of 9.99989e-321 quarters a minute cannot be written as MIDI"),
        ("tempos", [[0, 10**400]], "int too large to convert to float"),
        ("chords", [["x", "C"]], "a tick must be an integer, got 'x'"),
        ("chords", [[-1, "C"]], "a tick must be at least 0, got -1"),
        ("notes", [], "a song has no notes"),
        ("notes", [[10**12, 1, 60]], "a song lasts 20,000 quarters at most, got the tick 1000000000001"),
        ("length", 10**12, "a song lasts 20,000 quarters at most, got the tick 1000000000000"),
        ("title", None, "the title of a song must be a string, got None"),
    ],
)
def test_damaged_songs_of_older_runs(jazz_run, tmp_path, name, value, fault):
    songs = _old_songs(jazz_run)
    songs["train"][0][name] = value
    (tmp_path / "pieces.json").write_text(json.dumps(songs))
    with pytest.raises(RunError) as caught:
        load_songs(tmp_path)
    assert str(caught.value) == f"{tmp_path}/pieces.json is damaged: {fault}"


def test_songs_of_another_model(jazz_run, tmp_path, capsys):
    shutil.copytree(jazz_run, tmp_path / "copy")
    songs = load_songs(jazz_run)
    low = Song("low", Piece((Part("melody", notes=(Note(0, 6, 20),)),)))
    save_songs(tmp_path / "copy" / "songs.safetensors", replace(songs, held_out=(low,)))
    fault = error_of(capsys, "sample", tmp_path / "copy", "--out", tmp_path / "x.mid")
    assert fault == f"{tmp_path}/copy/songs.safetensors is damaged: part must have pitches in 48..88, got 20 at tick 0"


def test_a_song_may_last_as_long_as_a_file(tmp_path):
    longest = Song("long", Piece((Part("melody", notes=(Note(0, 6, 60), Note(240_000, 1, 62))),)))
    save_songs(tmp_path / "songs.safetensors", Split((longest,), (longest,)))
    assert load_songs(tmp_path).train == (longest,)


def test_a_folder_may_be_a_string(jazz_run):
    player = load_player(str(jazz_run))
    assert (player.config, player.songs) == (load_config(jazz_run), load_songs(jazz_run))
    assert (load_config(str(jazz_run)), load_songs(str(jazz_run))) == (player.config, player.songs)
