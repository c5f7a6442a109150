"""Events survive JSON, and a stop is seen from this process and from a file."""

import json
import math

import pytest

from brain2pix.events import (
    Cancelled,
    CancelToken,
    Failed,
    Finished,
    Message,
    Metric,
    Preview,
    Progress,
    Started,
    Stopped,
    from_dict,
    to_dict,
)

EVENTS = [
    Started("encoder"),
    Progress("encoder", 3, 10, "step"),
    Metric("encoder", 3, "loss", 0.5),
    Preview("decoder", 5, "preview.png"),
    Message("warning", "careful"),
    Finished("encoder", 2.5),
    Failed("encoder", "no", "trace"),
    Stopped("encoder"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_json(event):
    assert from_dict(json.loads(json.dumps(to_dict(event)))) == event


def test_a_loss_that_is_not_finite_is_still_valid_json():
    text = json.dumps(to_dict(Metric("encoder", 1, "loss", math.inf)), allow_nan=False)
    assert math.isnan(from_dict(json.loads(text)).value)


def test_the_token_sees_both_ways_to_ask(tmp_path):
    token = CancelToken(tmp_path / "CANCEL")
    token.check()
    (tmp_path / "CANCEL").touch()
    with pytest.raises(Cancelled):
        token.check()
    other = CancelToken()
    assert not other.cancelled()
    other.cancel()
    assert other.cancelled()
