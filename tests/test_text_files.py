"""Text files as users have them: encodings, columns, scripts without spaces."""

# ruff: noqa: RUF001

import codecs
import io
import sys

import pytest
from command_line import configuration, error_of, execute, output_of
from tables import each_row

from fastrnn.cli import main
from fastrnn.text import reading
from fastrnn.text._reading.columns import column_of, describe_columns
from fastrnn.text._reading.decoding import EncodingError, TextError, decode, text_encoding
from fastrnn.text._reading.scripts import is_unparted, words_in
from fastrnn.text.reading import TextFormat, guess

pytestmark = pytest.mark.usefixtures("quick_pictures")

SMALL = ["--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--max-steps", "1", "--eval-every", "1"]
RUSSIAN = (
    "Мой дядя самых честных правил, когда не в шутку занемог, он уважать себя заставил и лучше выдумать не мог. "
    "Его пример другим наука; но, боже мой, какая скука с больным сидеть и день и ночь, не отходя ни шагу прочь!\n"
)
FRENCH = (
    "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes yeux se fermaient si vite "
    "que je n'avais pas le temps de me dire : « Je m'endors. »\n"
)
GERMAN = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, sah er seinen gewölbten Bauch über der Straße.\n"
POLISH = (
    "Litwo! Ojczyzno moja! ty jesteś jak zdrowie; ile cię trzeba cenić, ten tylko się dowie, kto cię stracił. "
    "Dziś piękność twą w całej ozdobie widzę i opisuję, bo tęsknię po tobie.\n"
)
CZECH = (
    "Když se Řehoř Samsa jednoho rána probudil z nepokojných snů, zjistil, že se v posteli proměnil v jakýsi nestvůrný "
    "hmyz. Ležel na zádech tvrdých jak pancíř.\n"
)
TURKISH = (
    "Uzun ince bir yoldayım, gidiyorum gündüz gece. Bilmiyorum ne haldeyim, gidiyorum gündüz gece. Dünyaya geldiğim "
    "anda yürüdüm aynı zamanda. Işığı gören şaşırır.\n"
)
CHINESE = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。及秦灭之后，楚、汉分争，又并入于汉。\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた。\n"
KOREAN = "동해물과 백두산이 마르고 닳도록 하느님이 보우하사 우리나라 만세. 무궁화 삼천리 화려 강산 대한으로 길이 보전하세.\n"
THAI = "กาลครั้งหนึ่งนานมาแล้ว มีชายคนหนึ่งอาศัยอยู่ในหมู่บ้านเล็กๆ ริมแม่น้ำ เขามีลูกสาวสามคนที่งดงามมาก\n"

BURMESE = "မြန်မာနိုင်ငံသည် အရှေ့တောင်အာရှတွင် ရှိသော နိုင်ငံတစ်နိုင်ငံ ဖြစ်သည်။ လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် မွေးဖွားလာသည်။\n"
TIBETAN = "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཐོབ་ཐངགི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ།\n"

TABS = "with tabs between them"

# Encodings


@each_row(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (RUSSIAN, "cp866"), (RUSSIAN, "utf-16-le"), (FRENCH, "cp1252"),
        (FRENCH, "utf-16-be"), (GERMAN, "latin-1"), ("Été comme hiver, le garçon était là.\n", "cp1252"),
        (POLISH, "iso8859-2"), (POLISH, "cp1250"), (CZECH, "cp1250"), (CZECH, "iso8859-2"), (TURKISH, "cp1254"),
        (CHINESE, "gb18030"), (CHINESE, "utf-16-le"), (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"), (KOREAN, "euc_kr"), (THAI, "tis-620"), (THAI, "utf-16-le"),
    ],
)  # fmt: skip
@each_row("times", [1, 1500])
def test_the_likeliest_encoding_reads_the_text(text, encoding, times):
    data = (text * times).encode(encoding)
    with pytest.raises(EncodingError, match=r"^a\.txt is not UTF-8.*; it looks like [\w-]+$") as caught:
        decode(data, "a.txt")
    assert decode(data, "a.txt", caught.value.likeliest) == text * times


def test_text_before_the_first_foreign_byte_does_not_affect_the_guess():
    data = ("Plain English, as in a licence.\n" * 9000 + POLISH * 50).encode("iso8859-2")
    with pytest.raises(EncodingError, match="iso8859-2"):
        decode(data, "a.txt")


@each_row("name", ["utf-8-sig", "utf-16", "utf-32"])
@each_row("given", [None, "utf-8", "utf-16-be", "cp1252"])
def test_a_byte_order_mark_says_what_a_text_is(name, given):
    assert decode("Straße 東京".encode(name), "a.txt", given) == "Straße 東京"
    assert decode(codecs.BOM_UTF16_BE + "Straße".encode("utf-16-be"), "a.txt", given) == "Straße"


def test_a_damaged_text_is_no_other_encoding():
    data = "naïve café déjà vu, garçon\n".encode() * 3 + b"caf\xe9\n"
    with pytest.raises(
        EncodingError, match=r"byte 0xe9 at offset 99 .*; all else is UTF-8, so it is damaged in 1 place"
    ) as caught:
        decode(data, "a.txt")
    assert caught.value.likeliest is None
    with pytest.raises(EncodingError, match="does not look like text in another encoding"):
        decode(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x01\x00\x08\x06", "a.png")


@each_row("text", [FRENCH, RUSSIAN, JAPANESE])
@each_row("encoding", ["ascii", "cp1251", "iso8859-1", "koi8-r", "gb18030", "cp949", "utf-16", "utf-32-be"])
def test_a_text_in_utf_8_is_not_read_in_another_encoding(text, encoding):
    with pytest.raises(EncodingError, match=r"a.txt is not .*; it looks like utf-8$") as error:
        decode(text.encode() * 5, "a.txt", encoding)
    assert error.value.likeliest == "utf-8"


def test_few_bytes_may_be_in_two_encodings():
    assert "模".encode("gbk").decode("utf-8") == "ģ"
    assert decode(("模" * 9).encode("gbk"), "a.txt", "gbk") == "模" * 9


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_of_single_bytes_is_not_utf_16(name):
    with pytest.raises(EncodingError, match="its spaces and line breaks have one byte each; it looks like utf-8"):
        decode(b"plain ASCII text\n" * 9, "a.txt", name)
    with pytest.raises(EncodingError, match="its spaces and line breaks have one byte each; it looks like cp1252"):
        decode(FRENCH.encode("cp1252") * 9, "a.txt", name)
    for text in ("plain ASCII text\n", FRENCH, RUSSIAN, JAPANESE, JAPANESE.replace("\n", "")):
        assert decode(text.encode(name), "a.txt", name) == text
        assert decode(text.encode("utf-16-le"), "a.txt", "utf-16-le") == text


def test_without_charset_normalizer_the_option_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    with pytest.raises(EncodingError, match=r"a.txt is not UTF-8: byte 0xe9 .*; --encoding NAME reads another"):
        decode(FRENCH.encode("cp1252"), "a.txt")


def test_names_of_encodings():
    assert [text_encoding(name) for name in ("UTF8", "latin-1", "windows-1251")] == ["utf-8", "iso8859-1", "cp1251"]
    for name in ("cp1252x", "zlib", "rot13", "", "a\0b", "undefined", 5):
        with pytest.raises(ValueError, match="encoding must be the name of a text encoding, such as cp1252, got"):
            text_encoding(name)


@pytest.mark.parametrize("kind", ["chars", "words"])
def test_the_error_says_what_to_type(tmp_path, capsys, kind):
    path = tmp_path / "my text.txt"
    path.write_bytes((RUSSIAN * 20).encode("koi8-r"))
    out = tmp_path / "run"
    error = error_of(capsys, "train", kind, path, *SMALL, "--encoding", "ascii", "--out", out)
    command = f"fastrnn train {kind} '{path}' {' '.join(SMALL)} --out {out} --encoding koi8-r"
    assert error.endswith(f"; it looks like koi8-r, so type: {command}")
    assert not out.exists()
    execute("train", kind, path, *SMALL, "--encoding", "KOI8-R", "--out", out)
    config = configuration(out)
    assert config["options"]["encoding"] == "koi8-r"
    assert ("дядя" in config["vocabulary"]["words"]) if kind == "words" else ("д" in config["vocabulary"]["tokens"])
    # A resumed run reads it in the same way, also after the file has been converted.
    execute("train", kind, "--resume", "--max-steps", "2", "--out", out)
    path.write_text(RUSSIAN * 20)
    capsys.readouterr()
    error = error_of(capsys, "train", kind, "--resume", "--max-steps", "3", "--out", out)
    command = f"fastrnn train {kind} --resume --max-steps 3 --out {out} --encoding utf-8"
    assert error.endswith(f"it looks like utf-8, so type: {command}")
    execute("train", kind, "--resume", "--max-steps", "3", "--encoding", "utf-8", "--out", out)


def test_bad_encodings_on_the_command_line(tmp_path, capsys):
    error = error_of(capsys, "train", "chars", "--encoding", "klingon")
    assert "argument --encoding: must be the name of a text encoding, such as cp1252, got 'klingon'" in error
    assert "--encoding is for files, and corpus:dinosaurs comes with fastrnn" in error_of(
        capsys, "train", "chars", "--encoding", "cp1252", "--out", tmp_path / "run"
    )


# Columns


def test_columns_are_detected_and_named():
    rows = ["So there is no way for me to plug it in.\t0", "Good case, Excellent value.\t1", "Great for the jawbone.\t1"]
    assert (
        describe_columns("\n".join(rows * 9))
        == "2, with tabs between them: text, a number (0, 1); --column 1 takes the text alone"
    )
    spam = "ham\tGo until jurong point\nspam\tFree entry in a contest\nham\tOk lar, joking\n" * 3
    assert describe_columns(spam) == f"2, {TABS}: a label (ham, spam), text; --column 2 takes the text alone"
    three = "".join(f"{i}\tThe sentence of number {i}\t0.{i}\n" for i in range(30))
    assert describe_columns(three) == f"3, {TABS}: a number, text, a number; --column 2 takes the text alone"
    assert describe_columns("id\ttext\n" + spam) is not None
    for text in ("", "one line\ttab", "No tabs\nat all\n", "\tindented\n\tcode\n", "a b\nc\td\ne f\ng h\n"):
        assert describe_columns(text) is None


def test_a_column_is_taken():
    assert column_of("a b\t0\n\nc\t1\n", 1, "f") == "a b\n\nc\n"
    assert TextFormat(column=2, lower=True).text(b"1\tA B\r\n0\tC\r\n", "f") == "a b\nc\n"
    with pytest.raises(TextError, match=r"f: line 3 must have --column 2, got 1 column \(separated by tabs\)"):
        column_of("a\tb\n\nc\n", 2, "f")


def test_labelled_lines_are_recognised_and_their_text_is_trained_on(tmp_path, capsys):
    path = tmp_path / "reviews.txt"
    path.write_text("".join(f"The {food} was very {how} indeed.\t{label}\n" for food in ("fish", "soup", "tea")
                            for how, label in (("good", 1), ("bad", 0), ("cold", 0))) * 4)  # fmt: skip
    execute("train", "words", path, *SMALL, "--out", tmp_path / "all")
    told = "columns:  2, with tabs between them: text, a number (0, 1); --column 1 takes the text alone\n"
    assert told in capsys.readouterr().out
    output = output_of(capsys, "train", "words", path, *SMALL, "--column", "1", "--out", tmp_path / "run").out
    assert "columns:" not in output
    assert "reading:  lines (guessed: each line is a row of columns; --reading changes it)" in output
    words = [configuration(tmp_path / name)["vocabulary"]["words"] for name in ("all", "run")]
    assert set(words[0]) - set(words[1]) == {"0", "1"}
    scores = output_of(capsys, "score", tmp_path / "run", "--file", path, "--column", "1").out
    assert scores.splitlines()[1].endswith("  the fish was very good indeed .")
    assert "--column is for --file" in error_of(capsys, "score", tmp_path / "run", "a", "--column", 1)


# Lower case


def test_characters_are_lower_cased(tmp_path, capsys):
    path = tmp_path / "names.txt"
    path.write_text("İzmir\nANKARA\nKöln\nBONN\nÉvry\nLYON\n" * 5)
    execute("train", "chars", path, *SMALL, "--lower", "--out", tmp_path / "run")
    vocabulary = configuration(tmp_path / "run")["vocabulary"]
    assert vocabulary["tokens"] == ["\n", *sorted(set("i̇zmirankarakölnbonnévrylyon"))]
    printed = [output_of(capsys, "score", tmp_path / "run", text).out for text in ("İzmir", "i̇zmir")]
    assert printed[0] == printed[1]
    names = output_of(capsys, "sample", tmp_path / "run", "--prefix", "KÖ", "--number", "2").out
    assert all(line.startswith("KÖ") for line in names.splitlines())


# Scripts without spaces


@each_row(
    ("text", "expected"),
    [
        (CHINESE.replace("，", "，\n").replace("。", "。\n"), "stream"),
        (JAPANESE.replace("。", "。\n"), "stream"),
        (THAI * 3, "stream"),
        (KOREAN * 3, "stream"),
        ("话说天下大势分久必合合久必分周末\n七国分争并入于秦及秦灭之后楚汉分\n", "stream"),
        ("我不知道你在说什么\n别担心\n我们明天早上再来找你吧\n好的\n", "stream"),
        ("静夜思\n李白\n床前明月光\n疑是地上霜\n举头望明月\n低头思故乡\n", "stream"),
        ("古池や蛙飛び込む水の音\n閑さや岩にしみ入る蝉の声\n", "stream"),
        ("Linux是一个自由的操作系统内核\nPython语言\n它支持多种平台和处理器架构\n", "stream"),
        ("张伟\n王芳\n欧阳娜娜\n司马相如\n诸葛亮\n", "lines"),
        ("北京市\n内蒙古自治区\n新疆维吾尔自治区\n黑龙江省\n香港特别行政区\n", "lines"),
        ("威廉·莎士比亚\n列夫·托尔斯泰\n加西亚·马尔克斯\n", "lines"),
        ("山田太郎\n佐藤 花子\n高橋さくら\nアレクサンドル・デュマ\n", "lines"),
        ("สมชาย ใจดี\nประยุทธ์ จันทร์โอชา\nพระนครศรีอยุธยา\nกรุงเทพมหานคร\n", "lines"),
        ("김철수\n이영희\n남궁 민수\n", "lines"),
        ("C++程序设计\nJava编程\n机器学习\nLinux内核\n", "lines"),
    ],
)
def test_words_are_not_counted_by_spaces_if_the_script_has_none(text, expected):
    assert guess(text)[0] == expected


@each_row(
    ("line", "words"),
    [("San José", 2), ("诸葛亮", 1), ("新疆维吾尔自治区", 3), ("Linux内核", 2), ("レオナルド・ダ・ヴィンチ", 1), ("ใจดี", 1)],
)
def test_words_by_length(line, words):
    assert words_in(line) == words


def test_the_guess_of_a_long_text_is_that_of_its_beginning(monkeypatch):
    monkeypatch.setattr(reading, "LOOKED_AT", 20)
    assert guess("Bonn\nParis\nNew York\n" + "a long line of text\n" * 9) == (
        "lines",
        "100% of its first 3 lines have at most 3 words",
    )


def test_words_that_nothing_parts_are_refused(tmp_path, capsys):
    path = tmp_path / "text.txt"
    for text in (CHINESE, JAPANESE, THAI, BURMESE, TIBETAN, "王小明\n李华\n欧阳修\n", "สมชาย\nวิชัย\nมานี\n", "အောင်\nမမ\n"):
        path.write_text(text * 9)
        assert "this text has no spaces between its words" in (error := error_of(capsys, "train", "words", path))
        assert "fastrnn train chars" in error
    parted = "မြန်မာ နိုင်ငံ သည် အာရှ တွင် ရှိ သော နိုင်ငံ ဖြစ် သည် ။ လူ တိုင်း သည် လွတ်လပ် သော ဂုဏ် ဖြင့် မွေး ဖွား သည် ။\n"
    by_line = "话说\n天下\n大势\n，\n分久必合\n。\n" * 9
    assert not any(map(is_unparted, (parted, by_line, "王 小明\n李 华\n", "Tokyo 東京\nKyoto 京都\n", "Anna\nOlga\n")))
    assert not any(map(is_unparted, (KOREAN, FRENCH, "话说 天下 大势 ， 分久必合 ， 合久 必 分 。 周末 七 国 分争", "")))


# Standard input


def test_standard_input_has_an_encoding_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "text.txt").write_text(FRENCH * 9)
    run = tmp_path / "run"
    output_of(capsys, "train", "chars", tmp_path / "text.txt", *SMALL, "--out", run)

    def score(data, *options):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))
        return main(["score", str(run), "--file", "-", *options])

    assert score("couché".encode("cp1252"), "--encoding", "cp1252") == 0
    printed = capsys.readouterr().out
    assert output_of(capsys, "score", run, "couché").out == printed
    assert score(FRENCH.encode("cp1252")) == 2
    assert f"type: fastrnn score {run} --file - --encoding cp1252" in capsys.readouterr().err
