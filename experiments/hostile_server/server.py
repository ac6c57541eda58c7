"""Runs a chat-completions server that fails in the ways real servers do, and logs every request.

    python server.py LOG [SECONDS [MODE]]

The server listens on a free local port, prints it, and ends after SECONDS or when its standard input is closed. Its
answer to a call depends only on the call; the faults before the answer depend on how often it has seen the call. With
a MODE, it responds to all calls in the way of `modes.py` that has this name.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import modes

# Faults of a request in percent; the remaining requests are answered.
FAULTS = {
    "status_429_with_retry_after": 2,
    "status_429": 3,
    "status_500": 3,
    "status_503": 1,
    "drop_before_answer": 3,
    "drop_within_answer": 2,
    "error_with_200": 1,
    "hang": 0.5,  # for longer than the client's timeout
}
# Parameters that the server does not take; the first under its old name only, as newer models do.
REFUSED = ("max_tokens", "response_format", "temperature")
# After this many faults a call is answered, except for the few calls that always fail.
MOST_FAULTS_PER_CALL = 4
ANSWERS = {
    "question": 78,
    "duplicate": 4,
    "all_of_the_above": 2,
    "broken_question": 6,  # the repair succeeds in two of three cases
    "refusal": 3,
    "content_filter": 1,
    "truncated": 3,
    "empty": 1,
    "broken_body": 1.5,
    "always_500": 0.5,
}
HANG_S = 4.0
FINDINGS = (
    "fever fatigue pallor weakness stiffness tremor ataxia rash jaundice cough dyspnea syncope edema vertigo seizure "
    "headache nausea vomiting diarrhea anorexia pruritus alopecia arthralgia myalgia neuropathy hematuria proteinuria "
    "oliguria polyuria hypotension hypertension bradycardia tachycardia murmur cyanosis clubbing splenomegaly "
    "hepatomegaly lymphadenopathy ascites steatorrhea melena epistaxis purpura petechiae ecchymosis photophobia "
    "diplopia ptosis nystagmus dysarthria dysphagia hoarseness goiter exophthalmos galactorrhea amenorrhea hirsutism "
    "kyphosis scoliosis macrocephaly hypotonia spasticity chorea dystonia cataract glaucoma retinitis deafness "
    "tinnitus anosmia eczema urticaria blisters ulcers nodules plaques telangiectasia angiokeratoma acidosis alkalosis "
    "hypoglycemia hyperkalemia hyponatremia hypercalcemia anemia neutropenia thrombocytopenia eosinophilia"
)


class HostileServer(ThreadingHTTPServer):
    """Listens, counts the requests of each call, and writes the log."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, log: str, mode: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = mode
        if mode is not None:
            modes.prepare(mode)
        self.lock = threading.Lock()
        self.num_seen: Counter[str] = Counter()
        self.log = Path(log).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores the error: the client was killed during a request."""

    def note(self, **record: object) -> None:
        """Adds a record to the log."""
        with self.lock:
            self.log.write(json.dumps(record | {"time": time.time()}) + "\n")


class Handler(BaseHTTPRequestHandler):
    """Answers a request, or fails on purpose."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HostileServer

    def do_POST(self) -> None:
        """Decides on a response, sends it, and logs the request before and after."""
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = hashlib.sha256(json.dumps(call["messages"]).encode()).hexdigest()
        name = f"{prompt}-{call['seed']}"
        if self.server.mode is not None:
            self.server.note(call=name, event="request", response=self.server.mode, path=self.path)
            modes.respond(self, self.server.mode)
            return
        refused = next((parameter for parameter in REFUSED if parameter in call), None)
        if refused is not None:
            self.server.note(call=name, event="request", response=f"refused_{refused}")
            self.send(400, json.dumps({"error": {"message": f"Unsupported parameter: {refused}"}}).encode())
            return
        with self.server.lock:
            number = self.server.num_seen[name]
            self.server.num_seen[name] += 1
        answer = pick(ANSWERS, name)
        fault = pick(FAULTS | {"none": 100 - sum(FAULTS.values())}, f"{name} {number}")
        if answer == "always_500":
            fault = "status_500"
        elif number >= MOST_FAULTS_PER_CALL:
            fault = "none"
        response = answer if fault == "none" else fault
        self.server.note(call=name, event="request", response=response)
        time.sleep(random.Random(f"{name} {number} latency").expovariate(1 / 0.06))
        if fault == "none":
            self.send(200, body_of(answer, call, name))
        else:
            self.fail(fault)
        self.server.note(call=name, event="responded", response=response)

    def fail(self, fault: str) -> None:
        """Produces the named fault."""
        if fault.startswith("status"):
            headers = {"Retry-After": "1"} if fault.endswith("retry_after") else {}
            self.send(int(fault.split("_")[1]), b'{"error": {"message": "not now"}}', headers)
            return
        if fault == "error_with_200":
            self.send(200, b'{"error": "the server behind is overloaded"}')
            return
        if fault == "hang":
            time.sleep(HANG_S)
        if fault == "drop_within_answer":
            self.send(200, b'{"choices": [{"mess', {"Content-Length": "2000"})
        self.close_connection = True

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Sends a response; ignores a client that is gone."""
        try:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the client was killed or has timed out

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: requests are in the log."""


def pick(weights: dict[str, float], name: str) -> str:
    """Returns a key of the weights, drawn with these weights and seeded by `name`."""
    return random.Random(name).choices(list(weights), list(weights.values()))[0]


def body_of(answer: str, call: dict, name: str) -> bytes:
    """Returns the body of an answer; token counts are computed from lengths, so that the run can check its sums."""
    if answer == "broken_body":
        return b'{"choices": [{"message": {"content": "half an ans'
    is_repair = len(call["messages"]) > 1
    good = question(call["messages"][0]["content"], "" if answer == "duplicate" else name)
    content, finish, refusal = json.dumps(good), "stop", None
    if answer == "broken_question" and (not is_repair or random.Random(name).random() < 1 / 3):
        content = content[:-20]
    elif answer == "truncated":
        content, finish = content[:40], "length"
    elif answer == "empty":
        content = ""
    elif answer == "content_filter":
        content, finish = "", "content_filter"
    elif answer == "refusal":
        content, refusal = None, "I cannot help with that."
    elif answer == "all_of_the_above":
        content = json.dumps(good | {"options": good["options"] | {"D": "all of the above"}})
    message = {"role": "assistant", "content": content, "refusal": refusal} | placed(content, name)
    usage = {"prompt_tokens": len(json.dumps(call["messages"])) // 4, "completion_tokens": len(content or "") // 4 + 1}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}).encode()


def placed(content: str | None, name: str) -> dict:
    """Returns the fields of a message that hold the answer: as a text, as parts, or where reasoning stands."""
    form = pick({"text": 70, "parts": 15, "after_reasoning": 10, "as_reasoning": 5}, f"{name} form")
    if not content or form == "text":
        return {}
    if form == "parts":
        halves = (content[: len(content) // 2], content[len(content) // 2 :])
        return {"content": [{"type": "text", "text": half} for half in halves]}
    if form == "after_reasoning":
        return {"reasoning_content": "The question should be about findings."}
    return {"content": None, "reasoning_content": content}


def question(prompt: str, name: str) -> dict:
    """Returns a question with random findings about the prompt's disease; without a name it is always the same one."""
    rng = random.Random(name)
    match = re.search(r"about a rare disease, (.+?)\. It must test", prompt)
    subject = "" if match is None or not name else f" in a patient with {match[1]}"
    findings = ", ".join(rng.sample(FINDINGS.split(), 14))
    stem = (
        f"A {rng.randint(1, 99)}-year-old patient presents with {findings}. Which finding is explained last{subject}?"
    )
    return {"question": stem, "options": dict(zip("ABCD", rng.sample(FINDINGS.split(), 4), strict=True))}


def main() -> None:
    """Listens until the time is up or standard input is closed."""
    log, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    server = HostileServer(log, sys.argv[3] if len(sys.argv) > 3 else None)
    end = threading.Timer(seconds, os._exit, [0])
    end.daemon = True
    end.start()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
