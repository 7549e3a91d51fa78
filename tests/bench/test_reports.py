from bench import compare, profiler
from bench.stats import Timing


def test_a_comparison_pairs_the_numbers_of_two_results_by_path() -> None:
    old = {"label": "a", "throughput": [{"conversations": 8, "messages_per_s": 100.0}], "blocking": None}
    new = {"label": "b", "throughput": [{"conversations": 8, "messages_per_s": 150.0}], "blocking": {"own": 1.0}}
    _, *rows = compare.table(old, new).splitlines()
    assert [row.split() for row in rows] == [
        ["throughput.8.conversations", "8", "8", "+0%"],
        ["throughput.8.messages_per_s", "100", "150", "+50%"],
    ]


def test_the_streamed_level_is_told_apart_from_the_blocking_one() -> None:
    levels = [{"conversations": 64, "streaming": streaming, "messages_per_s": 1.0} for streaming in (False, True)]
    paths = dict(compare.numbers({"throughput": levels}))
    assert {"throughput.64.messages_per_s", "throughput.64.streaming.messages_per_s"} <= paths.keys()


def test_a_profile_is_summed_up_by_what_ran_and_by_what_was_on_the_stack() -> None:
    text = profiler.summary("main;serve;read (io.py:1) 30\nmain;serve;read (io.py:7) 50\nmain;main 20\n")
    running, on_stack = text.split("most often on the stack:")
    assert "80.0%  read (io.py)" in running
    assert "100.0%  main" in on_stack
    assert "80.0%  serve" in on_stack


def test_timings_are_milliseconds() -> None:
    timing = Timing.of([0.001, 0.003, 0.002])
    assert (timing.median, timing.p99, timing.best, timing.n) == (2.0, 3.0, 1.0, 3)
