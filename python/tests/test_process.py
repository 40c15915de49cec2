"""What depends on processes and threads: import time, the interpreter's lock, crashes, forks."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import vermilion
from vermilion import errors


def run(code, *args, **more):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=60, **more
    )


def test_import_is_fast_and_loads_no_numpy():
    code = """if True:
        import sys, time
        begun = time.process_time()
        import vermilion
        print(time.process_time() - begun)
        assert "numpy" not in sys.modules and "asyncio" not in sys.modules
    """
    run(code)  # Writes the compiled modules.
    times = [run(code) for _ in range(5)]
    assert all(one.returncode == 0 for one in times), times[0].stderr
    assert min(float(one.stdout) for one in times) < 0.05


def test_other_threads_run_while_the_engine_works(tmp_path):
    block = np.random.default_rng(1).standard_normal((20_000, 256), dtype=np.float32)
    with vermilion.PersistentClient(tmp_path) as client:
        collection = client.create_collection("records", embedding_function=None)
        ticks, stop = [], threading.Event()

        def tick():
            while not stop.is_set():
                ticks.append(time.perf_counter())
                time.sleep(0.001)

        thread = threading.Thread(target=tick)
        thread.start()
        try:
            collection.add(ids=[str(row) for row in range(len(block))], embeddings=block)
            begun, rounds = time.perf_counter(), 0
            while rounds < 3 or time.perf_counter() - begun < 0.3:
                collection.query(query_embeddings=block[:256], recall="exact")
                rounds += 1
            ended = time.perf_counter()
        finally:
            stop.set()
            thread.join()
        during = [one for one in ticks if begun < one < ended]
        # With the lock held there would be a tick or two for each round.
        assert len(during) > 10 * rounds


def test_a_long_search_ends_soon_after_a_signal():
    code = """if True:
        import signal, time
        import numpy as np, vermilion
        block = np.random.default_rng(1).standard_normal((10_000, 256), dtype=np.float32)
        client = vermilion.EphemeralClient()
        collection = client.create_collection("records", embedding_function=None)
        collection.add(ids=[str(row) for row in range(len(block))], embeddings=block)
        queries = np.concatenate([block] * 3)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        begun = time.perf_counter()
        try:
            collection.query(query_embeddings=queries, recall="exact", include=[])
        except KeyboardInterrupt:
            print(time.perf_counter() - begun)
        assert collection.query(query_embeddings=block[:1], n_results=1)["ids"] == [["0"]]
        client.close()
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert 0.2 < float(done.stdout) < 3, done


def test_many_threads_write_and_read_one_collection(client, collection):
    def work(number):
        for batch in range(5):
            ids = [f"{number}-{batch}-{row}" for row in range(10)]
            collection.add(ids=ids, embeddings=np.full((10, 4), number, np.float32))
            assert set(collection.get(ids=ids)["ids"]) == set(ids)
            collection.query(query_embeddings=[number] * 4)

    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert collection.count() == 400


WRITER = """if True:
    import sys, numpy as np, vermilion
    client = vermilion.PersistentClient(sys.argv[1])
    collection = client.get_or_create_collection("records", embedding_function=None)
    for batch in range(100_000):
        ids = [f"{batch}-{row}" for row in range(20)]
        collection.add(ids=ids, embeddings=np.full((20, 8), batch, np.float32), documents=ids)
        print(batch, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill_and_no_batch_is_cut(tmp_path):
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        acknowledged = -1
        while acknowledged < 30:
            line = process.stdout.readline()
            assert line, "the writer ended by itself"
            acknowledged = int(line)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait(timeout=20)
        acknowledged = max([acknowledged, *map(int, rest)])
        with vermilion.PersistentClient(tmp_path) as client:
            collection = client.get_collection("records")
            found = collection.get(include=["embeddings"])
            batches = {}
            for one, vector in zip(found["ids"], found["embeddings"]):
                number = int(one.split("-")[0])
                batches[number] = batches.get(number, 0) + 1
                assert (vector == number).all()
            assert set(range(acknowledged + 1)) <= set(batches)
            assert set(batches.values()) == {20}
            client.delete_collection("records")


def test_records_are_there_after_a_restart(tmp_path):
    with vermilion.PersistentClient(tmp_path) as client:
        client.create_collection("records", embedding_function=None).add(ids="a", embeddings=[1, 2])
    with vermilion.PersistentClient(tmp_path) as client:
        assert client.get_collection("records").get()["ids"] == ["a"]
    code = """if True:
        import sys, vermilion
        print(vermilion.PersistentClient(sys.argv[1]).get_collection("records").count())
    """
    assert run(code, tmp_path).stdout == "1\n"


def test_clients_of_one_folder_share_its_database(tmp_path):
    first = vermilion.PersistentClient(tmp_path)
    second = vermilion.PersistentClient(str(tmp_path) + "/.")
    first.create_collection("records", embedding_function=None)
    first.close()
    assert second.count_collections() == 1
    second.close()


def test_a_closed_folder_is_free_for_others_whoever_still_holds_a_collection(tmp_path):
    client = vermilion.PersistentClient(tmp_path)
    collection = client.create_collection("records", embedding_function=None)
    client.close()
    other = run("import sys, vermilion; vermilion.PersistentClient(sys.argv[1])", tmp_path)
    assert other.returncode == 0, other.stderr
    with pytest.raises(errors.ChromaError, match="was closed"):
        collection.count()


def test_two_processes_on_one_folder_are_told(tmp_path):
    with vermilion.PersistentClient(tmp_path):
        other = run("import sys, vermilion; vermilion.PersistentClient(sys.argv[1])", tmp_path)
    assert other.returncode == 1
    assert "ConflictError" in other.stderr and "vermilion serve" in other.stderr
    assert str(os.getpid()) in other.stderr
    again = run("import sys, vermilion; vermilion.PersistentClient(sys.argv[1])", tmp_path)
    assert again.returncode == 0, again.stderr


def in_the_fork(client, path, answers):
    try:
        client.heartbeat()
        answers.put("answered")
    except errors.ChromaError as error:
        answers.put(str(error))
    try:
        vermilion.PersistentClient(path)
        answers.put("opened")
    except errors.ConflictError as error:
        answers.put(str(error))
    del client
    other = vermilion.EphemeralClient()
    answers.put(other.create_collection("records", embedding_function=None).count())
    other.close()


@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_process_is_told_and_can_open_its_own(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with vermilion.PersistentClient(tmp_path) as client:
        child = context.Process(target=in_the_fork, args=(client, tmp_path, answers))
        child.start()
        assert "before the process was forked" in answers.get(timeout=30)
        assert "one process at a time" in answers.get(timeout=30)
        assert answers.get(timeout=30) == 0
        child.join(timeout=30)
        assert child.exitcode == 0
        # The child took nothing along.
        assert client.heartbeat()


def test_data_of_chroma_is_not_touched(tmp_path):
    (tmp_path / "chroma.sqlite3").write_bytes(b"theirs")
    with pytest.raises(errors.ChromaError, match="vermilion import-chroma"):
        vermilion.PersistentClient(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["chroma.sqlite3"]
