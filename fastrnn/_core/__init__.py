"""What everything else stands on: parameters, caches, validation, memory."""
