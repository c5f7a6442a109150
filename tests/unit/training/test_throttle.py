from brain2pix.events import Finished, Metric, Progress
from brain2pix.training.throttle import Throttle


def test_ten_a_second_and_the_last_number_before_anything_else():
    now = [0.0]
    events = []
    throttle = Throttle(events.append, per_second=10, clock=lambda: now[0])
    for step in range(100):
        throttle(Metric("fit", step, "total", float(step)))
        throttle(Progress("fit", step, 1000))
        now[0] += 0.01
    passed = [event.done for event in events if isinstance(event, Progress)]
    assert len(passed) == 10
    assert [event.step for event in events if isinstance(event, Metric)] == passed
    throttle(Finished("fit", 1.0))
    assert events[-2:] == [Progress("fit", 99, 1000), Finished("fit", 1.0)]
    assert events[-3] == Metric("fit", 99, "total", 99.0)


def test_the_end_goes_out_at_once():
    events = []
    throttle = Throttle(events.append, per_second=1, clock=lambda: 5.0)
    throttle(Progress("fit", 1, 2))
    throttle(Progress("fit", 2, 2))
    assert [event.done for event in events] == [1, 2]


def test_each_metric_keeps_its_newest_value():
    events = []
    throttle = Throttle(events.append, per_second=1, clock=lambda: 5.0)
    throttle(Progress("fit", 0, 9))
    throttle(Metric("fit", 1, "total", 1.0))
    throttle(Metric("fit", 1, "tv", 2.0))
    throttle(Metric("fit", 2, "total", 3.0))
    assert not throttle.due()
    throttle.flush()
    assert [(event.name, event.value) for event in events[1:]] == [("total", 3.0), ("tv", 2.0)]
