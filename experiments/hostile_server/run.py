"""Synthesises 2,000 questions with a faulty server and two kills, and checks ledger, server log and counts.

Before that, it runs synthesis against servers of which no answer is of use (`useless.py`).

    python experiments/hostile_server/run.py [--num-questions 2000] [--folder DIR]

Exits with code 0 if everything agrees, else with an error that names the first disagreement.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import server as hostile
from useless import check_modes, read, running_server, started, synthesis

MAX_CONCURRENCY = 16
MAX_RETRIES = 4
KILLED_AT = (0.4, 1.1)  # replies in the ledger per requested question: in the first round, and in a later one


def main() -> None:
    """Runs synthesis twice, once with kills and once undisturbed, and compares the two."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        useless = check_modes(folder)
        with running_server(folder / "killed.log") as port:
            killed = Run(folder / "killed", port, arguments.num_questions)
            in_flight = [killed.kill_at(int(fraction * arguments.num_questions)) for fraction in KILLED_AT]
            killed.finish()
            calls_before = len(read(folder / "killed.log"))
            killed.finish()  # a finished run must send no request
            assert len(read(folder / "killed.log")) == calls_before, "a finished run has sent requests again"
        with running_server(folder / "undisturbed.log") as port:
            undisturbed = Run(folder / "undisturbed", port, arguments.num_questions)
            undisturbed.finish()
        figures = check(killed, read(folder / "killed.log"), in_flight)
        check(undisturbed, read(folder / "undisturbed.log"), [])
        for name in Run.FILES:
            assert killed.file(name).read_bytes() == undisturbed.file(name).read_bytes(), f"the runs' {name} differ"
    seconds = {"killed_twice": round(killed.seconds, 1), "undisturbed": round(undisturbed.seconds, 1)}
    print(json.dumps(figures | {"seconds": seconds, "useless": useless}, indent=2))


def parse_arguments() -> argparse.Namespace:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-questions", type=int, default=2000)
    parser.add_argument("--folder", help="keep ledger, log and artefacts here")
    return parser.parse_args()


class Run:
    """One `medssr-synthesize` command, which can be started several times."""

    FILES = ("questions.jsonl", "rejected.jsonl")

    def __init__(self, folder: Path, port: int, num_questions: int) -> None:
        self.folder = folder
        self.num_questions = num_questions
        self.ledger = folder / "artifacts" / "ledgers" / "openai.jsonl"
        self.seconds = 0.0
        self._command = synthesis(
            *(folder, port, "generator.timeout_s=2", f"generator.max_retries={MAX_RETRIES}"),
            f"generator.max_concurrency={MAX_CONCURRENCY}",
            *("generator.prices.prompt=0.5", "generator.prices.completion=1.5"),
            f"synthesis.num_questions={num_questions}",
        )

    def kill_at(self, num_replies: int) -> set[str]:
        """Starts the command, kills it at `num_replies` ledger replies, and returns the keys of requests in flight."""
        start = time.monotonic()
        process = started(self._command)
        self._wait_for_replies(process, num_replies)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"the command ended by itself with {process.returncode}"
        self.seconds += time.monotonic() - start
        assert not list(self.folder.glob("artifacts/synthesize/*/questions.jsonl")), (
            "a partial result has the name of a complete one"
        )
        return keys_in_flight(read(self.ledger))

    def finish(self) -> None:
        """Starts the command and waits until it ends."""
        start = time.monotonic()
        process = started(self._command)
        assert process.wait() == 0, f"the command ended with {process.returncode}"
        self.seconds += time.monotonic() - start

    def file(self, name: str) -> Path:
        """Returns the path of a file of the finished artefact."""
        (path,) = self.folder.glob(f"artifacts/synthesize/*/{name}")
        return path

    def _wait_for_replies(self, process: subprocess.Popen[str], num_replies: int) -> None:
        """Waits until the ledger has `num_replies` replies or the command has ended."""
        num_read, end = 0, 0
        while num_read < num_replies and process.poll() is None:
            time.sleep(0.05)
            if self.ledger.exists():
                with self.ledger.open("rb") as stream:
                    stream.seek(end)
                    added = stream.read()
                whole = added[: added.rfind(b"\n") + 1]
                num_read += whole.count(b'{"event": "reply"')
                end += len(whole)


def keys_in_flight(ledger: list[dict[str, Any]]) -> set[str]:
    """Returns the keys whose last entry says that they were sent."""
    return {key for key, event in {line["key"]: line["event"] for line in ledger}.items() if event == "sent"}


def check(run: Run, log: list[dict[str, Any]], in_flight: list[set[str]]) -> dict[str, Any]:
    """Checks that server log, ledger, files and manifest agree, and returns the figures."""
    ledger = read(run.ledger)
    replies = [line for line in ledger if line["event"] == "reply"]
    answered = [line for line in replies if line["error"] is None]
    was_in_flight = set().union(*in_flight)

    # 1. No call was sent again after a complete answer to it had arrived.
    assert len({line["key"] for line in answered}) == len(answered), "an answered call was recorded twice"
    done: set[str] = set()
    for line in ledger:
        assert line["key"] not in done, f"{line['key']} was sent again after it was answered"
        if line["event"] == "reply" and line["error"] is None:
            done.add(line["key"])

    # 2. Every attempt has a reply, or was in flight at a kill.
    sent = Counter(line["key"] for line in ledger if line["event"] == "sent")
    explained = Counter()
    for line in replies:
        explained[line["key"]] += line["num_attempts"]
    unexplained = sent - explained
    assert set(unexplained) <= was_in_flight, "attempts without a reply that were not in flight at a kill"
    assert not explained - sent, "replies to attempts that the ledger does not record"

    # 3. The server saw each call as often as the ledger says it was sent; a kill may come between record and sending.
    call_of_key = {line["key"]: f"{line['prompt_sha256']}-{line['seed']}" for line in replies}
    assert len(set(call_of_key.values())) == len(call_of_key)
    seen = Counter(line["call"] for line in log if line["event"] == "request")
    for key, call in call_of_key.items():
        num_kills = sum(key in keys for keys in in_flight)
        assert 0 <= sent[key] - seen[call] <= num_kills, f"{sent[key]} sent, {seen[call]} received"
    assert set(seen) == set(call_of_key.values()), "the server saw a call that is not in the ledger"

    # 4. The outcomes in the ledger are the answers of the server.
    answer_by_call = {line["call"]: line["response"] for line in log if line["response"] in hostile.ANSWERS}
    expected = {"content_filter": "refusal", "refusal": "refusal", "truncated": "truncated", "empty": "empty_response"}
    expected |= {"broken_body": "malformed_response"}
    outcomes_of_server = Counter(expected.get(answer, "answer") for answer in answer_by_call.values())
    outcomes = Counter(line["outcome"] for line in answered)
    assert outcomes == outcomes_of_server, f"{outcomes} in the ledger, {outcomes_of_server} from the server"

    # 5. Files, manifest and ledger agree, and counts add up.
    counts = json.loads(run.file("manifest.json").read_text())["counts"]
    questions, rejected = (read(run.file(name)) for name in Run.FILES)
    reasons = Counter(line["reason"] for line in rejected)
    assert len(questions) == counts["num_questions"]
    assert counts["num_questions"] + counts["num_unfilled"] == run.num_questions
    assert reasons == Counter(counts["rejected"])
    assert sum(reasons.values()) == counts["num_rejected"]
    for reason in ("refusal", "truncated", "empty_response", "malformed_response"):
        assert reasons[reason] == outcomes[reason], f"{reason}: {reasons[reason]} rejected, {outcomes[reason]} replies"
    used = counts["usage"]
    assert used["left_out"] == ["response_format", "temperature"], "the manifest does not say what was left out"
    assert used["num_answers"] == len(answered), "an answer was paid for and not used"
    assert used["tokens"] == sum(line["prompt_tokens"] + line["completion_tokens"] for line in answered)
    assert abs(used["dollars"] - sum(line["dollars"] for line in answered)) < 1e-4
    drafts = len(questions) + sum(reasons[name] for name in ("near_duplicate", "all_or_none_of_the_above"))
    assert len(questions) == len({question["stem"] for question in questions})
    assert drafts <= outcomes["answer"]

    # 6. No file contains the key.
    for file in [*run.folder.rglob("*.json*"), *run.folder.rglob("*.log"), *run.folder.rglob("*.yaml")]:
        assert b"hostile-secret" not in file.read_bytes(), f"{file} contains the key"
    return {
        "num_questions": len(questions),
        "rejected": dict(reasons.most_common()),
        "num_unfilled": counts["num_unfilled"],
        "achieved_rare_share": counts["achieved_rare_share"],
        "requests_at_server": sum(seen.values()),
        "faults_of_server": dict(Counter(line["response"] for line in log if line["event"] == "request").most_common()),
        "attempts_in_ledger": sent.total(),
        "answers_in_ledger": len(answered),
        "calls_in_flight_at_each_kill": [len(keys) for keys in in_flight],
        "attempts_lost_to_kills": unexplained.total(),
        "usage": used,
    }


if __name__ == "__main__":
    main()
