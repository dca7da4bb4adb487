"""Names and words in MIDI files are decoded from any encoding, and parts are found by their names."""

import sys
import unicodedata

import pytest
import smf
from smf import midi, off, on, track
from tables import each_row

from fastrnn.music._midi import songs
from fastrnn.music._midi.roles import melody_of, part_named
from fastrnn.music.midi import MidiError, parse_midi, read_midi_with_repairs
from fastrnn.music.midi_repairs import repairs_line

SCALE = ((0, on(60)), (480, off(60)), (0, on(64)), (480, off(64)))


def named(*names, words=(), notes=SCALE):
    """Return a file with a track for each name, given as bytes, and with the words as lyrics on the first track."""
    tracks = [track((0, smf.meta(3, name)), *notes) for name in names]
    lyrics = track(*((480, smf.meta(5, word)) for word in words))
    return midi(*tracks, lyrics)


def names_of(data):
    return [part.name for part in parse_midi(data).parts]


NAMES = {
    "ascii": ["Melody", "Bass", "Lead 1 (sax)", ""],
    "utf-8": ["メロディ", "Flügel", "主旋律", "∆", "Мелодия", "Señor", "Ö"],
    "shift_jis": [
        "メロディ",
        "メロディー ピアノ ベース",
        "ピアノ",
        "ギター",
        "ドラム",
        "ボーカル",
        "歌",
        "右手",
        "主旋律",
        "ベース",
        "さくら",
    ],
    "gb18030": ["主旋律", "鼓", "钢琴", "吉他", "贝斯", "小提琴", "右手", "左手", "钢琴 贝司 主旋律"],
    "cp1252": [
        *(
            "Mélodie",
            "Flügel",
            "Flöte",
            "Für Elise",
            "Señor",
            "Café",
            "Voix aiguë",
            "© 1998 J. Smith",
            "Contrebasse à cordes",
        ),
        *("Gitarre “solo”", "Violão", "El niño", "naïve", "Übung", "Trompète", "d\N{RIGHT SINGLE QUOTATION MARK}amour", "Ö"),
    ],
}
RARER = {  # recognised only by several names together
    "big5": ["主旋律", "鋼琴", "吉他", "小提琴", "旋律", "歌詞", "伴奏", "左手"],
    "cp949": ["멜로디", "피아노", "기타", "드럼", "베이스", "보컬", "반주", "바이올린"],
    "euc_jp": ["メロディ", "ピアノ", "ベース", "ギター", "ドラム", "ボーカル"],
    "cp1251": ["Мелодия", "Скрипка", "Гитара", "Ударные", "Голос"],
}


@each_row(("encoding", "name"), [(encoding, name) for encoding in NAMES for name in NAMES[encoding]])
def test_a_name_alone_is_read_in_its_encoding(encoding, name):
    assert names_of(named(name.encode(encoding))) == [name]


@each_row(("encoding", "names"), [*NAMES.items(), *RARER.items()])
def test_all_names_and_words_of_a_file_are_judged_together(encoding, names):
    assert names_of(named(*(name.encode(encoding) for name in names))) == names
    with_chords = [*(name.encode(encoding) for name in names), *([b"Dm7", b"G7"] * 20)]
    piece = parse_midi(named(b"Sax", words=with_chords))
    assert [chord.symbol for _, chord in piece.chords] == ["Dm7", "G7"] * 20


def words(line):
    return line.split()


HALF_WIDTH = (
    *words("ﾒﾛﾃﾞｨ ﾋﾟｱﾉ ﾄﾞﾗﾑ ﾍﾞｰｽ ｷﾞﾀｰ1 ﾎﾞｰｶﾙ ﾌﾙｰﾄ ﾄﾗﾝﾍﾟｯﾄ ｻｯｸｽ ﾎﾙﾝ ﾎﾙﾝ2 ﾌﾚﾝﾁﾎﾙﾝ ﾊｰﾌﾟ ｵﾙｶﾞﾝ ｽﾄﾘﾝｸﾞｽ ﾘｽﾞﾑ ﾊﾞｲｵﾘﾝ ﾁｪﾛ ｸﾗﾘﾈｯﾄ"),
    *words("ﾏﾘﾝﾊﾞ ﾃﾅｰ ｱﾙﾄ ｿﾌﾟﾗﾉ ﾊﾓﾆｶ ﾋﾞｵﾗ ｵｰﾎﾞｴ ﾌｧｺﾞｯﾄ ﾁｭｰﾊﾞ ｼﾝｾ ｺｰﾄﾞ ﾊﾟｰｶｯｼｮﾝ ｱｺｰﾃﾞｨｵﾝ ﾋﾟｯｺﾛ ｳｸﾚﾚ ｵｶﾘﾅ ﾃｨﾝﾊﾟﾆ ｼﾝﾊﾞﾙ ｽﾈｱ"),
    *words("ﾄﾗｲｱﾝｸﾞﾙ ｲﾝﾄﾛ ﾄﾗｯｸ1 ﾕｰﾌｫﾆｳﾑ ﾊﾟｰﾄ1 ｳﾀ ｿﾛ ｺｰﾗｽ ﾒﾛﾃﾞｨｰ ﾃﾞｨｽﾄｰｼｮﾝ ｴﾚｷ･ｷﾞﾀｰ Eﾍﾞｰｽ ﾋﾟｱﾉ(右手) ﾊﾞｽﾄﾞﾗﾑ ﾊｰﾓﾆｰ ﾌｧﾝｸ ﾀﾑﾀﾑ"),
)


@each_row("name", HALF_WIDTH)
def test_half_width_katakana_alone(name):
    assert names_of(named(name.encode("shift_jis"))) == [name]


def test_half_width_katakana_together():
    for count in (2, 3):
        for start in range(len(HALF_WIDTH) - count + 1):
            names = list(HALF_WIDTH[start : start + count])
            assert names_of(named(*(name.encode("shift_jis") for name in names))) == names


SHORT = {  # few bytes, some of which mean symbols or unassigned characters in another encoding
    "shift_jis": words("笛 琴 歌 鼓 弦 声 鈴 鐘 右 左 竹 横笛 尺八 太鼓 三味線 木琴 鉄琴 低音 伴奏 独奏"),
    "cp1252": [
        *words("Señora Piñata Corazón Œuvre Straße Ångström Bølge Særlig L'été À É"),
        *("Gitarre \x93solo\x94", "J\x92ai", "Piano \x96 links", "Fagott \x91alt\x92", "Tr\xe8s lent\x85"),
    ],
    "gb18030": words("合唱 和弦 弦乐 人声 笛子 古筝 音乐 独奏 前奏 架子鼓 手风琴 中提琴 号 琴 歌"),
    "cp949": ["멜로디", "바이올린", "베이스"],
    "cp1251": ["МЕЛОДИЯ", "БАС"],
}


@each_row(("encoding", "name"), [(encoding, name) for encoding in SHORT for name in SHORT[encoding]])
def test_a_short_name_alone(encoding, name):
    data = name.encode("latin-1" if "\x80" <= max(name) <= "\xff" else encoding)
    name = data.decode(encoding)
    assert names_of(named(data)) == [name]


def test_characters_that_are_not_assigned_are_never_shown():
    assert names_of(named("Señor Niño".encode("cp1252"))) == ["Señor Niño"]
    found = names_of(named("Señor Niño".encode("cp1252"), "Señora".encode("cp1252")))
    assert found == ["Señor Niño", "Señora"]
    for high in range(0x80, 0x100, 3):
        for low in (0x40, 0x6F, 0x7E, 0x85, 0xA1, 0xB6, 0xFC):
            (name,) = names_of(named(bytes([0x53, high, low, 0x6F])))
            assert not [each for each in name if unicodedata.category(each) in ("Co", "Cn")], (high, low, name)


def test_half_width_katakana_are_recognised_by_the_other_names():
    names = ["ﾒﾛﾃﾞｨ", "ピアノ", "ドラム"]
    assert names_of(named(*(name.encode("shift_jis") for name in names))) == names


def test_a_name_that_is_cut_in_a_character_spoils_no_other():
    whole = [f"メロディ {k}".encode("shift_jis") for k in range(20)]
    assert names_of(named("ギター".encode("shift_jis")[:-1], *whole))[1:] == [f"メロディ {k}" for k in range(20)]
    utf8 = [f"メロディ {k}".encode() for k in range(20)]
    assert names_of(named("ギター".encode()[:-1], *utf8))[:2] == ["ギタ\N{REPLACEMENT CHARACTER}", "メロディ 0"]


def test_utf_8_beside_latin():
    assert names_of(named("Flöte".encode(), "Klavier für Übung".encode("cp1252"))) == ["Flöte", "Klavier für Übung"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_names_that_are_filled_up_with_nulls(encoding):
    assert names_of(named("Flöte".encode(encoding) + b"\0 " + b"\0" * 12)) == ["Flöte"]


def test_a_name_has_80_characters_whatever_its_bytes():
    assert names_of(named(("メロディ" * 30).encode("shift_jis"))) == ["メロディ" * 20]


PARTS = ("ピアノ", "メロディ", "Flügel")


def test_parts_are_found_by_their_characters():
    piece = parse_midi(named(*(name.encode("shift_jis") for name in PARTS[:2])))
    for asked in ("メロディ", "ﾒﾛﾃﾞｨ", " メロディ ", unicodedata.normalize("NFD", "メロディ")):
        assert part_named(piece, asked).name == "メロディ"
        assert melody_of(piece, asked).name == "メロディ"
    assert melody_of(piece).name == "メロディ"  # also without the option
    with pytest.raises(ValueError, match="--melody must be one of the parts 0 'ピアノ', 1 'メロディ', got 'ギター'"):
        part_named(piece, "ギター", "--melody")
    latin = parse_midi(named("FLÜGEL".encode("cp1252"), b"Sax 1"))
    assert part_named(latin, unicodedata.normalize("NFD", "flügel")).name == "FLÜGEL"
    assert part_named(latin, "\uff33\uff41\uff58\u3000\uff11").name == "Sax 1"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("メロディ", "shift_jis"),
        ("ﾒﾛﾃﾞｨ", "shift_jis"),
        ("主旋律", "gb18030"),
        ("Mélodie", "cp1252"),
        ("Мелодия", "cp1251"),
        ("メロディ", "utf-8"),
    ],
)
def test_the_option_melody_finds_the_track(tmp_path, name, encoding):
    high = ((0, on(80)), (480, off(80)), (0, on(84)), (480, off(84)))
    data = midi(track((0, smf.meta(3, b"Lead")), *high), track((0, smf.meta(3, name.encode(encoding))), *SCALE))
    (tmp_path / "it.mid").write_bytes(data)
    (song,) = songs.read([tmp_path / "it.mid"], melody=name.upper()).songs
    assert [note.pitch for note in song.part.notes] == [60, 64]
    (song,) = songs.read([tmp_path / "it.mid"], melody=unicodedata.normalize("NFKC", name)).songs
    assert [note.pitch for note in song.part.notes] == [60, 64]
    with pytest.raises(MidiError, match=f"--melody must be one of the parts 0 'Lead', 1 '{name}', got 'Tuba'"):
        songs.read([tmp_path / "it.mid"], melody="Tuba")


def test_where_chardet_is_missing_texts_are_latin_and_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "chardet", None)
    (tmp_path / "it.mid").write_bytes(named("Flöte".encode("cp1252"), "Übung".encode("cp1252"), b"Sax"))
    piece, repairs = read_midi_with_repairs(tmp_path / "it.mid")
    assert [part.name for part in piece.parts] == ["Flöte", "Übung", "Sax"]
    assert repairs_line(repairs) == "repaired: 2 texts read as Windows-1252 because chardet is not installed"
    (tmp_path / "it.mid").write_bytes(named("Flöte".encode()))
    assert not read_midi_with_repairs(tmp_path / "it.mid")[1]
