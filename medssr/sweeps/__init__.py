"""Resumable sweeps: each job records its state on disk."""
