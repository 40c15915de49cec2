"""A retraining through everything that may go wrong: a receiver that fails, servers and workers that are killed."""

import hashlib
import hmac
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import Server

SECRET = "a secret of sixteen bytes or more"


def ask(server, method, path, body=None):
    """The status and the JSON that a route of curation answers."""
    status, text = server.ask(method, path if path.startswith("/") else f"/curation/v1/{path}", body)
    return status, json.loads(text)


class Webhook:
    """A receiver: what it was told, and what it does before it answers."""

    def __init__(self, answers):
        self.answers = answers
        self.told = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.told.append((dict(self.headers), body))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                status = answer() if callable(answer) else answer
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/retrain"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self):
        return [json.loads(body) for _, body in self.told]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def verify(headers, body, secret, now=None):
    """Whether a message came from whoever knows the secret, not long ago."""
    headers = {name.lower(): value for name, value in headers.items()}
    timestamp = headers["x-vermilion-timestamp"]
    signed = timestamp.encode() + b"." + body
    expected = "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    fresh = abs((now or time.time()) - int(timestamp)) < 300
    return fresh and hmac.compare_digest(expected, headers["x-vermilion-signature"])


def wait_for(look, seconds=20):
    """What `look` finds, waited for."""
    until = time.time() + seconds
    while time.time() < until:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("it did not come in time")


def fill(server):
    for context in ("training", "production"):
        body = {"space": "digits", "context": context, "ids": [f"{context}-{n}" for n in range(20)]}
        body["embeddings"] = [[1.0, n / 40, 0.1] if n % 2 else [n / 40, 1.0, 0.1] for n in range(20)]
        body["input_uris"] = [f"file:///{context}/{n}" for n in range(20)]
        body["label_classes" if context == "training" else "inference_classes"] = ["a" if n % 2 else "b" for n in range(20)]
        assert ask(server, "POST", "log", body)[0] == 201


def retrainings(server, **which):
    query = "&".join(f"{name}={value}" for name, value in which.items())
    status, told = ask(server, "GET", f"spaces/digits/retrainings?{query}")
    assert status == 200
    return told["retrainings"]


def kill(server):
    server.process.kill()
    server.process.wait()


@pytest.fixture
def webhook():
    receiver = Webhook([])
    yield receiver
    receiver.close()


def test_exactly_one_retraining_succeeds_through_failures_and_kills(tmp_path, webhook):
    server = Server(tmp_path)
    fill(server)

    def die_before_the_answer():
        kill(server)

    # Fails twice, is told a third time, and the server dies before it hears that.
    webhook.answers[:] = [500, 500, die_before_the_answer, 200]
    policy = {"any": [{"type": "amount", "labels": 3}, {"type": "time", "cron": "0 0 1 1 *"}]}
    trigger = {"name": "labels", "policy": policy, "webhook": {"url": webhook.url, "secret": SECRET}}
    status, made = ask(server, "POST", "spaces/digits/triggers", trigger)
    assert status == 201
    ids = [f"production-{n}" for n in range(3)]
    assert ask(server, "POST", "spaces/digits/labels", {"ids": ids, "label_classes": ["a", "b", "a"]})[0] == 200
    wait_for(lambda: server.process.poll() is not None)
    assert len(webhook.told) == 3
    server.start()
    run = wait_for(lambda: retrainings(server, state="delivered"))[0]

    # One duplicate, under the same id, with a signature that is its own and right.
    assert len(webhook.told) == 4
    events = webhook.events()
    assert {event["event_id"] for event in events} == {run["event_id"]}
    assert all(event == events[0] for event in events)
    for headers, body in webhook.told:
        assert verify(headers, body, SECRET)
        assert not verify(headers, body + b" ", SECRET)
        assert not verify(headers, body, "another secret of some bytes")
        assert not verify(headers, body, SECRET, time.time() + 3600)
    assert events[0]["trigger"] == made["id"]
    assert events[0]["reason"]["policy"]["of"][0]["decided"] == 3
    links = events[0]["links"]

    # A worker takes it and dies; its lease runs out, nobody is told again, and the next one takes it.
    status, first = ask(server, "POST", links["claim"], {"lease_seconds": 2, "worker": "first"})
    assert status == 200
    assert ask(server, "POST", links["claim"], {})[1]["error"] == "wrong_state"
    claimed_at = time.time()
    kill(server)
    server.start()
    assert ask(server, "GET", links["retraining"])[1]["state"] == "running"
    wait_for(lambda: retrainings(server, state="pending"))
    assert time.time() - claimed_at < 6
    status, second = ask(server, "POST", "spaces/digits/retrainings/claim", {"worker": "second"})
    assert status == 200
    assert second["retraining"]["id"] == run["id"]
    assert second["event"] == events[0]
    status, refusal = ask(server, "POST", links["complete"], {"lease": first["lease"], "metrics": {"accuracy": 0.1}})
    assert (status, refusal["error"], refusal["state"]) == (409, "lease_lost", "running")

    # It reads what it trains on, completes, hears nothing, and says so again to the server that comes back.
    training = links["training_set"]
    url = f"http://{server.host}:{server.port}{training['path']}"
    request = urllib.request.Request(url, json.dumps(training["body"]).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert len(json.loads(answer.read())["ids"]) == 20
    overrides = ask(server, "GET", links["label_overrides"])[1]
    assert [one["id"] for one in overrides["overrides"]] == ids
    assert ask(server, "POST", links["heartbeat"], {"lease": second["lease"], "progress": 0.5})[0] == 200
    done = {
        "lease": second["lease"],
        "embedding_set": {"model": "digits", "version": "8"},
        "metrics": {"accuracy": 0.94},
        "metrics_before": {"accuracy": 0.9},
        "consumed_ids": ids,
    }
    status, ended = ask(server, "POST", links["complete"], done)
    assert (status, ended["state"]) == (200, "succeeded")
    kill(server)
    server.start()
    assert ask(server, "POST", links["complete"], done) == (200, ended)
    assert ended["before_after"]["metrics"]["accuracy"]["change"] == pytest.approx(0.04)
    assert ask(server, "GET", f"spaces/{ended['result']['space']}")[1]["embedding_set"]["version"] == "8"

    time.sleep(2)
    assert [one["state"] for one in retrainings(server)] == ["succeeded"]
    assert len(webhook.told) == 4
    assert server.stop() == 0


def test_a_trigger_fires_at_its_time_and_one_that_nobody_takes_expires(tmp_path, webhook):
    server = Server(tmp_path)
    fill(server)
    webhook.answers[:] = [500] * 100
    policy = {"type": "time", "cron": "*/2 * * * * *", "time_zone": "Asia/Kathmandu"}
    trigger = {"policy": policy, "min_interval_seconds": 3600, "expires_after_seconds": 10}
    trigger["webhook"] = {"url": webhook.url}
    assert ask(server, "POST", "spaces/digits/triggers", trigger)[0] == 201
    wait_for(lambda: retrainings(server))
    expired = wait_for(lambda: retrainings(server, state="expired"))[0]
    assert expired["delivery"]["state"] == "given_up"
    assert expired["delivery"]["attempts"] >= 3
    told = len(webhook.told)
    kill(server)
    server.start()
    time.sleep(3)
    # The least interval holds through the restart, and nobody is told of what has ended.
    assert [one["state"] for one in retrainings(server)] == ["expired"]
    assert len(webhook.told) == told
    assert server.stop() == 0


def test_kills_at_any_moment_lose_no_retraining_and_make_none_twice(tmp_path, webhook):
    server = Server(tmp_path)
    fill(server)
    trigger = {"policy": {"type": "amount", "labels": 1}, "webhook": {"url": webhook.url, "secret": SECRET}}
    assert ask(server, "POST", "spaces/digits/triggers", trigger)[0] == 201
    for turn in range(5):
        ids = [f"production-{turn}"]
        assert ask(server, "POST", "spaces/digits/labels", {"ids": ids, "label_classes": ["a"]})[0] == 200
        time.sleep(0.11 * turn)
        kill(server)
        server.start()
        open_ones = wait_for(lambda: retrainings(server, state="delivered"))
        assert len(open_ones) == 1
        own = f"retrainings/{open_ones[0]['id']}"
        lease = ask(server, "POST", f"{own}/claim", {})[1]["lease"]
        status, ended = ask(server, "POST", f"{own}/complete", {"lease": lease, "consumed_ids": ids})
        assert (status, ended["state"]) == (200, "succeeded")
    found = retrainings(server)
    assert [one["number"] for one in found] == [5, 4, 3, 2, 1]
    counts = [sum(event["event_id"] == one["event_id"] for event in webhook.events()) for one in found]
    assert all(1 <= count <= 2 for count in counts), counts
    assert server.stop() == 0
