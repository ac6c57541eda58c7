"""Sweeps that go on: jobs that know how far they are, whoever starts them and however often."""
