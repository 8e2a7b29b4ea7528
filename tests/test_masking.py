"""Secrets in records: where they are looked for, and what is said in their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from pytest_signalcompat import masking
from pytest_signalcompat.model import (
    Attempt,
    Delivery,
    Exchange,
    Failure,
    Line,
    Observation,
    Platform,
    Process,
    Reach,
    Record,
    Result,
    Server,
    Stop,
    StopCommand,
)
from pytest_signalcompat.placeholders import taken

from .observations import request, seen
from .samples import FAILED, with_observation

SECRETS = masking.secrets({"TOKEN": "hunter2"})
# Texts that nobody but this project writes: names, codes, words of a list.
OURS = {
    (Platform, None),
    (Delivery, "stop"),
    (Delivery, "reach"),
    *((Exchange, name) for name in ("role", "method", "end")),
    (Failure, "check"),
    (Failure, "missing"),
    *((Result, name) for name in ("server", "code", "slug", "level", "outcome", "case", "ending")),
    *((Result, name) for name in ("requirement", "preset", "blocked_by")),
}


def records(kind: type[Record]) -> Iterator[type[Record]]:
    """It and all that it holds."""
    yield kind
    for hint in get_type_hints(kind).values():
        for inner in (hint, *get_args(hint)):
            if isinstance(inner, type) and issubclass(inner, Record):
                yield from records(inner)


def is_text(hint: Any) -> bool:
    return any(
        inner is str or (isinstance(inner, type) and issubclass(inner, str)) for inner in (hint, *get_args(hint))
    )


def test_each_field_of_a_result_with_text_is_masked_or_known_to_be_ours() -> None:
    open_to_all = [
        (kind, name)
        for kind in dict.fromkeys(records(Result))
        for name, hint in get_type_hints(kind).items()
        if is_text(hint) and not {(kind, name), (kind, None)} & OURS and name not in masking.TEXTS.get(kind, ())
    ]
    assert open_to_all == []


def test_a_result_holds_no_secret_afterwards_and_is_the_same_besides() -> None:
    def result(secret: str) -> Result:
        observation = seen(
            ready_detail=f"a {secret}",
            notes=(f"b {secret}",),
            deliveries=(Delivery(stop=Stop.TERMINATE, what=f"ctl {secret}", reach=Reach.COMMAND, at=1.0),),
            exchanges=(request(detail=f"c {secret}", path=f"/{secret}"),),
            processes=(Process(pid=1, name=f"d {secret}"),),
            survivors=(Process(pid=2, name=f"e {secret}"),),
            output=(Line(at=0.5, text=f"f {secret}{secret}"),),
        )
        failure = Failure(expected=f"g {secret}", actual=f"h {secret}", fix=f"i {secret}")
        whole = with_observation(FAILED, observation)
        changed: Result = msgspec.structs.replace(whole, failures=(failure,), reason=f"j {secret}")
        return changed

    assert masking.masked(result("hunter2"), SECRETS) == result("{env:TOKEN}")
    assert masking.masked(result("hunter2"), {}) == result("hunter2")


@pytest.mark.parametrize(
    ("value", "text", "masked"),
    [
        ("abc", "abc", "abc"),
        ("abcd", "xabcdx", "x{env:TOKEN}x"),
        ("    ", "a    b", "a    b"),
        ("-BEGIN KEY-\nMIIabc\n-END KEY-\n", "read MIIabc", "read {env:TOKEN}"),
        ("C:\\pass'word", str(["C:\\pass'word"]), '["{env:TOKEN}"]'),
    ],
)
def test_what_is_a_secret_and_what_is_too_short_to_be_one(value: str, text: str, masked: str) -> None:
    assert masking.in_text(text, masking.secrets({"TOKEN": value})) == masked


def test_the_longer_of_two_goes_first() -> None:
    secrets = masking.secrets({"USER": "admin", "PASSWORD": "admin-of-all"})
    assert masking.in_text("admin admin-of-all", secrets) == "{env:USER} {env:PASSWORD}"


@pytest.mark.parametrize(
    ("name", "masked"),
    [("x hunter2 y", "x {env:TOKEN} y"), ("x --token=hunt", "x --token={env:TOKEN}"), ("x hun",) * 2],
)
def test_a_command_line_that_was_cut_in_the_middle_of_one(name: str, masked: str) -> None:
    assert masking.in_command_line(Process(pid=1, name=name), SECRETS) == Process(pid=1, name=masked)


def test_secrets_are_the_values_that_come_from_outside() -> None:
    server = Server(
        name="api",
        command=("{env:PROGRAM}", "{port}", "{env:OWN}", "{env:PLAIN}"),
        env={"PLAIN": "in the table", "OWN": "{env:OWN}"},
        stops={Stop.TERMINATE: StopCommand(command=("ctl", "{env:token}"))},
    )
    tests = {"PROGRAM": "p", "OWN": "o", "PLAIN": "another", "TOKEN": "t", "OTHER": "x"}
    assert taken(server, tests) == {"PROGRAM": "p", "OWN": "o", "token": "t"}


def test_every_kind_of_record_that_is_masked_is_part_of_a_result() -> None:
    assert set(masking.TEXTS) <= {*records(Result)}
    assert {Attempt, Observation} <= set(masking.TEXTS)
