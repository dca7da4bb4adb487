"""Text files into token ids."""
