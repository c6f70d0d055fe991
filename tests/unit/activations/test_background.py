"""The writing thread: in order, within its memory, its errors heard."""

import threading
import time

import pytest

from hrsa.activations.background import BackgroundWriter
from hrsa.activations.progress import Progress


def test_calls_are_made_in_order_and_all_before_the_end():
    made = []

    def slow(number):
        time.sleep(0.002)
        made.append(number)

    with BackgroundWriter() as background:
        for number in range(20):
            background.put(1, slow, number)
    assert made == list(range(20))


def test_what_waits_takes_no_more_than_it_may():
    release, accepted, made = threading.Event(), [], []

    def call(number):
        release.wait()
        made.append(number)

    def feed(background):
        for number in range(6):
            background.put(10, call, number)
            accepted.append(number)

    with BackgroundWriter(waiting_bytes=20) as background:
        feeder = threading.Thread(target=feed, args=(background,))
        feeder.start()
        time.sleep(0.1)
        assert accepted == [0, 1]
        release.set()
        feeder.join()
    assert made == list(range(6))


def test_one_call_that_is_larger_than_the_memory_is_made():
    made = []
    with BackgroundWriter(waiting_bytes=10) as background:
        background.put(1000, made.append, 1)
        background.put(1000, made.append, 2)
    assert made == [1, 2]


def test_an_error_reaches_the_next_put_or_the_end():
    def fail():
        raise ValueError("the disk")

    def put_once():
        with BackgroundWriter() as background:
            background.put(1, fail)

    def put_many():
        with BackgroundWriter() as background:
            for _ in range(1000):
                background.put(1, fail)
                time.sleep(0.001)
            raise AssertionError("no put failed")

    for puts in (put_once, put_many):
        with pytest.raises(ValueError, match="the disk"):
            puts()


def test_after_an_error_of_the_caller_nothing_more_is_written():
    made, release = [], threading.Event()

    def failing():
        with BackgroundWriter() as background:
            background.put(1, release.wait)
            background.put(1, made.append, 1)
            threading.Timer(0.05, release.set).start()
            raise KeyError("caller")

    with pytest.raises(KeyError):
        failing()
    assert made == []


def test_a_log_line_says_rate_and_time_left_of_this_run_alone():
    with Progress(1000, n_done=400, what="base") as progress:
        progress.add(200)
        assert progress.line(10.0) == "base: 600 of 1000 tokens, 20 tokens/s, 0.3 minutes left"
