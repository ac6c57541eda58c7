"""Models and question sets for the hub: their cards, results in the form of a model index, uploads, revisions.

A step writes the card of what it made without results, which are not known yet; `upload` takes a copy with the results
of the evaluations that are found, so that no file of an artefact changes after its manifest.
"""
