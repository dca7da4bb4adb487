"""Parts that the training commands share."""
