"""Conversion of text files into token ids."""
