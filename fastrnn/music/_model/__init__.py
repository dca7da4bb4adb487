"""Songs as training data, and the grammar of what a model may play."""
