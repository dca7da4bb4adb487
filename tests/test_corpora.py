"""The embedded corpora have the properties that their description promises."""

import pytest

from fastrnn import corpora


def test_dinosaurs_is_a_sorted_list_of_distinct_names():
    text = corpora.load("dinosaurs")
    names = text.splitlines()
    assert len(names) >= 1000
    assert names == sorted(set(names))
    assert all(name.isascii() and name.isalpha() and name == name.capitalize() for name in names)
    assert text.endswith("\n")
    assert {"Aardonyx", "Stegosaurus", "Tyrannosaurus", "Velociraptor", "Zuul"} <= set(names)
    assert {name[0] for name in names} == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_every_corpus_has_a_description_and_text():
    for name in corpora.names():
        assert corpora.DESCRIPTIONS[name]
        assert corpora.load(name)


def test_unknown_corpus():
    with pytest.raises(ValueError, match="name must be one of 'dinosaurs', got 'birds'"):
        corpora.load("birds")
