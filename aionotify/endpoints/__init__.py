"""One module for each family of URLs: a wire format translated into calls of the notifier."""
