"""The files that ``fastrnn improvise`` writes: MIDI, sound and piano rolls, and paths that it refuses."""

import os
import sys

import pytest
from command_line import error_of, execute, output_of
from part_files import part_file

from fastrnn.music.piece import Note


@pytest.mark.parametrize(
    ("changes", "key", "title"),
    [
        pytest.param("Dm7 | G7 | Cmaj7 | Cmaj7", None, "Dm7 | G7 | C∆7 | C∆7", marks=pytest.mark.slow),
        ("Dm7 | G7 | Cmaj7 | Cmaj7", "Eb", "Fm7 | B♭7 | E♭∆7 | %"),
        ("|: F#m7b5 / B7b9/D# :|x2", None, "|: F♯ø7 / B7♭9/D♯ :|x2"),
        ("Blues", None, "blues"),
        ("blues", "F# minor", "blues in F♯ minor"),
        pytest.param("rhythm-changes", "Bb major", "rhythm-changes in B♭ major", marks=pytest.mark.slow),
        pytest.param("BLUES", "Dm", "blues in Dm", marks=pytest.mark.slow),
        ("C | F | " * 10, "Eb", "Solo in E♭"),
        pytest.param("C | F | " * 10, None, "Solo", marks=pytest.mark.slow),
    ],
)
def test_the_title_of_a_roll_is_what_is_played(changes, key, title, jazz_run, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("fastrnn.music._output.roll.draw_roll", lambda *_, title, **__: titles.append(title))
    command = ["improvise", jazz_run, "--changes", changes, "--choruses", 1, "--out", tmp_path / "x.mid"]
    execute(*command, "--roll", tmp_path / "x.png", *(["--key", key] if key else []))
    assert titles == [title]


def test_a_long_solo_has_a_page_a_chorus(jazz_run, tmp_path, capsys, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    command = ["improvise", jazz_run, "--changes", "blues", "--key", "Bb", "--choruses", 3, "--seed", 1]
    command += ["--out", tmp_path / "x.mid", "--roll", tmp_path / "x.png"]
    (tmp_path / "x-3.png").write_text("mine")
    assert error_of(capsys, *command) == f"{tmp_path}/x-3.png: the file exists already; --overwrite replaces it"
    assert [path.name for path in tmp_path.iterdir()] == ["x-3.png"]
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, file, **_: file.write(b"\x89PNG"))
    said = output_of(capsys, *command, "--overwrite").err
    assert f"wrote {tmp_path}/x.png and 2 more pages, to {tmp_path}/x-3.png\n" in said
    assert {path.name for path in tmp_path.iterdir()} == {"x.mid", "x.png", "x-2.png", "x-3.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.glob("*.png"))


def test_sound_that_is_too_long_is_refused_before_anything_is_written(jazz_run, tmp_path, capsys):
    command = ["improvise", jazz_run, "--changes", "blues", "--choruses", 26, "--tempo", 60, "--out", tmp_path / "x.mid"]
    assert error_of(capsys, *command, "--wav", tmp_path / "x.wav") == (
        "--wav is for 20 minutes at most, and this would be 20.9"
    )
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_a_sound_font_is_refused_before_anything_is_written(jazz_run, tmp_path, capsys):
    command = [
        "improvise",
        jazz_run,
        "--changes",
        "C",
        "--out",
        tmp_path / "x.mid",
        "--wav",
        tmp_path / "x.wav",
        "--sound-font",
    ]
    assert error_of(capsys, *command, tmp_path / "gone.sf2") == f"{tmp_path}/gone.sf2: No such file or directory"
    (tmp_path / "text.sf2").write_text("no sound font")
    assert error_of(capsys, *command, tmp_path / "text.sf2") == (
        f"{tmp_path}/text.sf2 is not a sound font: it does not begin as an SF2 file does"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["text.sf2"]


@pytest.fixture
def fault(jazz_run, tmp_path, capsys):
    """Return a function that returns the error of ``fastrnn improvise`` with output options, which are given by name."""

    def error(**given):
        options = {"out": tmp_path / "x.mid", **given}
        arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        return error_of(capsys, "improvise", jazz_run, "--changes", "C", *arguments)

    return error


def test_no_output_overwrites_a_file_that_is_needed(fault, jazz_run, tmp_path, capsys):
    lick = part_file(tmp_path, Note(0, 6, 60), Note(6, 6, 62))
    (tmp_path / "link.mid").symlink_to(lick)
    (tmp_path / "run").symlink_to(jazz_run)
    before = {path: path.read_bytes() for path in (lick, *jazz_run.iterdir())}
    for out in (lick, tmp_path / "link.mid", tmp_path / ".." / tmp_path.name / "lick.mid"):
        assert fault(primer=lick, out=out) == f"--out {out} is the file of --primer, which it would overwrite"
    for name in ("songs.safetensors", "best.safetensors"):
        assert fault(out=jazz_run / name) == f"--out {jazz_run / name} is a file of the run, which it would overwrite"
    curve = tmp_path / "run" / "loss.png"
    assert fault(roll=curve) == f"--roll {curve} is a file of the run, which it would overwrite"
    same, font = tmp_path / "x.mid", tmp_path / "x.wav"
    assert fault(wav=same) == f"--wav {same} is the file of --out, which it would overwrite"
    assert fault(wav=font, roll=font) == f"--roll {font} is the file of --wav, which it would overwrite"
    assert fault(wav=font, sound_font=font) == f"--wav {font} is the file of --sound-font, which it would overwrite"
    assert {path: path.read_bytes() for path in before} == before
    assert not same.exists()
    out = jazz_run / "solo.mid"  # inside the run folder, but not a file of the run
    output_of(capsys, "improvise", jazz_run, "--changes", "C", "--seed", 0, "--out", out)
    assert out.exists()
    out.unlink()


def test_outputs_have_the_suffix_of_their_format(fault, jazz_run, tmp_path, capsys):
    for option, name, expected in (
        ("out", "solo.wav", ".mid or .midi"), ("wav", "sound", ".wav"), ("roll", "roll.txt", ".png")
    ):  # fmt: skip
        assert fault(**{option: tmp_path / name}) == f"--{option} must end in {expected}, got {tmp_path / name}"
    assert not list(tmp_path.iterdir())
    output_of(capsys, "improvise", jazz_run, "--changes", "C", "--seed", 0, "--out", tmp_path / "SOLO.MIDI")


def test_an_output_that_cannot_be_written_is_refused_before_any_is_written(fault, tmp_path, monkeypatch):
    (tmp_path / "folder.mid").mkdir()
    os.mkfifo(tmp_path / "pipe.mid")
    os.mkfifo(tmp_path / "pipe.sf2")
    assert fault(out="") == "--out . is a folder: expected a file to write"
    for option in ("out", "wav", "roll"):
        folder = tmp_path / "folder.mid"
        assert fault(**{option: folder}) == f"--{option} {folder} is a folder: expected a file to write"
    assert fault(out=tmp_path / "pipe.mid") == f"--out {tmp_path}/pipe.mid is not a regular file"
    sound = fault(wav=tmp_path / "x.wav", sound_font=tmp_path / "pipe.sf2")
    assert sound == f"{tmp_path}/pipe.sf2 is not a sound font: it is not a regular file"
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda folder, mode: not mode & os.W_OK)
        assert fault() == f"--out {tmp_path}/x.mid: the folder {tmp_path} cannot be written to"
    for module, given, what in (
        ("matplotlib.figure", {"roll": tmp_path / "x.png"}, "x.png: a piano roll needs matplotlib"),
        (
            "fluidsynth",
            {"wav": tmp_path / "x.wav", "sound_font": tmp_path / "x.sf2"},
            "x.sf2: a sound font needs pretty_midi",
        ),
        ("mido", {}, "MIDI files need mido"),
    ):
        (tmp_path / "x.sf2").write_bytes(b"RIFF....sfbk")
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert what in fault(**given)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.mid", "pipe.mid", "pipe.sf2", "x.sf2"}
