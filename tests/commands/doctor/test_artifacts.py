from __future__ import annotations

import json

from support.made import flip_a_bit, make

from medssr.commands.doctor.artifacts import check_artifacts
from medssr.commands.doctor.findings import State


def test_each_damaged_artefact_is_named_with_what_makes_it_anew(tmp_path):
    own, store, other = tmp_path / "own", tmp_path / "store", tmp_path / "other"
    made = [make(folder) for folder in (own, store, other)]
    (result,) = check_artifacts(own, [store, other])
    assert result.state is State.fine
    assert result.observation.startswith("3 as they were made")

    weights = made[0].path("model/weights.bin")
    records = {file: json.loads(file.read_text()) for file in (own / ".hashes").glob("*.json")}
    (kept,) = (file for file, record in records.items() if record["file"] == str(weights))
    flip_a_bit(weights)
    status = weights.stat()  # remembered as whole: what changes under the file system shows in no time
    kept.write_text(
        json.dumps(records[kept] | {"state": [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]})
    )
    assert make(own) == made[0]
    made[1].path("manifest.json").write_text("")
    manifest = {name: value for name, value in made[2].manifest.items() if name not in ("outputs", "sha256")}
    made[2].path("manifest.json").write_text(json.dumps(manifest))

    damaged, broken, older, whole = check_artifacts(own, [store, other])
    assert damaged.state is broken.state is State.lacking
    assert str(weights) in damaged.observation
    assert f"Delete {made[0].directory} and run medssr-make again" in damaged.remedy
    assert "manifest.json: is empty" in broken.observation
    assert older.state is State.advice
    assert whole.observation.startswith("0 as they were made")
