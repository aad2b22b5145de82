"""One module per family of URLs: translates HTTP into calls of the notifier."""
