"""The method from Python: what `medssr.compose`, `medssr.train` and the like are."""
