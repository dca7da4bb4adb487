"""``python -m fastrnn.music.corpus FOLDER``: write the embedded choruses, or those of a text, as MIDI files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..console import say
from ..music import corpus
from ..music.midi import MidiError
from ..text.reading import TextError, read_file
from .arguments import folder
from .errors import explain
from .guard import guarded
from .outputs import add_overwrite_option, existing


def command() -> int:
    """Run the command under the guard of all commands and return the exit status."""
    return guarded(main)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files. Exits with status 2 and one line if a file cannot be read or written."""
    parser = argparse.ArgumentParser(prog="python -m fastrnn.music.corpus", description="Write choruses as MIDI files.")
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="where to write, one file per chorus; it is created")
    parser.add_argument("--text", type=Path, metavar="FILE", help="your own choruses (default: the embedded ones)")
    add_overwrite_option(parser)
    arguments = parser.parse_args(argv)
    try:
        found = corpus.read(read_file(arguments.text)) if arguments.text else corpus.tunes()
        if not found:
            raise corpus.CorpusError("there is no chorus in it")
        paths = corpus.write_files(arguments.folder, found, overwrite=arguments.overwrite)
    except corpus.CorpusError as error:
        parser.exit(2, f"{parser.prog}: error: {arguments.text}: {error}\n")
    except FileExistsError as error:
        parser.exit(2, f"{parser.prog}: error: {explain(existing(error.filename))}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: error: {explain(error)}\n")
    except (MidiError, TextError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    say(f"wrote {len(paths)} MIDI files to {arguments.folder}")


if __name__ == "__main__":
    raise SystemExit(command())
