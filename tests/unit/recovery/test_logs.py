"""What logs say: stack traces with their last frame, and the system's own words."""

import pytest

from vx11.recovery import logs

TRACE = """\
service listens
Traceback (most recent call last):
  File "/usr/lib/python3.11/socketserver.py", line 691, in process
    self.finish(request)
  File "/srv/app/notes.py", line 83, in page
    texts = [self._texts[number] for number in numbers]
            ~~~~~~~~~~~^^^^^^^^
  File "/usr/lib/python3.11/site-packages/lib.py", line 4, in load
    return data[0]
IndexError: list index out of range
127.0.0.1 - - GET /notes -> 500
""".splitlines()


def test_a_stack_trace_is_told_by_its_last_own_frame() -> None:
    (found,) = logs.traces(TRACE)
    assert (found.file, found.line, found.function) == ("/srv/app/notes.py", 83, "page")
    assert (found.error, found.at, found.said) == ("IndexError", 10, "IndexError: list index out of range")
    assert str(found) == "IndexError in page (notes.py:83)"


def test_of_several_each_is_told_in_order() -> None:
    second = [line.replace("IndexError", "app.errors.Gone") for line in TRACE]
    assert [found.error for found in logs.traces([*TRACE, *second])] == ["IndexError", "Gone"]


@pytest.mark.parametrize("length", range(1, 10))
def test_a_stack_trace_that_is_cut_off_is_none(length: int) -> None:
    assert logs.traces(TRACE[:length]) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("bind() to 0.0.0.0:80 failed (98: Address already in use)", "says_port_taken"),
        ("Error: listen EADDRINUSE: address already in use :::8080", "says_port_taken"),
        ("OSError: [Errno 28] No space left on device", "says_disk_full"),
        ("sqlite3.OperationalError: database or disk is full", "says_disk_full"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "says_no_memory"),
        ("java.lang.OutOfMemoryError: Java heap space", "says_no_memory"),
        ("RuntimeError: can't start new thread", "says_no_process"),
        ("sh: 1: fork: retry: Resource temporarily unavailable", "says_no_process"),
        ("java.lang.OutOfMemoryError: unable to create native thread", "says_no_process"),
        ("dial tcp 10.0.0.3:5432: connect: connection refused", "says_no_peer"),
        ("getaddrinfo: Temporary failure in name resolution", "says_no_peer"),
        ("Segmentation fault (core dumped)", "says_deadly"),
        ("Timeout (0:00:00.500000)!", "says_stuck"),
        ("INFO: task blocked for more than 120 seconds", "says_stuck"),
        ("ModuleNotFoundError: No module named 'yaml'", "says_not_set_up"),
        ('"GET /items HTTP/1.1" 401 12', "says_refused"),
    ],
)
def test_words_of_the_system_are_known_in_any_program(line: str, word: str) -> None:
    assert (word, 2, line) in list(logs.words(["starts", line, "goes on"]))


@pytest.mark.parametrize(
    "line", ["listens on 127.0.0.1:8080", "GET /work -> 200", "saved 401 notes", "disk check: fine"]
)
def test_what_every_log_says_means_nothing(line: str) -> None:
    assert list(logs.words([line])) == []


def test_the_line_of_the_program_is_told_with_the_function_that_has_a_name() -> None:
    within = [*TRACE[:6], '  File "/srv/app/notes.py", line 83, in <listcomp>', "    self._texts[number]", *TRACE[-2:]]
    (found,) = logs.traces(within)
    assert (found.function, found.source) == ("page", "self._texts[number]")
    assert logs.traces(TRACE)[0].source == "texts = [self._texts[number] for number in numbers]"
