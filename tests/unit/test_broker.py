"""What Celery is told about messages: a run's bell is acknowledged when it is heard, everything else when it is done."""

from app.adapters.broker import celery
from app.domain.tasks import TaskName
from app.tasks import register

register()


def test_only_the_bell_of_a_run_is_acknowledged_early() -> None:
    late = {name: celery.tasks[name.value].acks_late for name in TaskName}
    assert late == {name: name != TaskName.RUN for name in TaskName}


def test_nobody_holds_messages_that_others_could_work_on() -> None:
    assert celery.conf.worker_prefetch_multiplier == 1
    assert celery.conf.worker_disable_prefetch


def test_what_a_dead_worker_held_comes_back_in_less_than_a_minute() -> None:
    options = celery.conf.broker_transport_options
    sweep_s = options["unacked_restore_interval"] * options["unacked_restore_throttle"]
    assert sweep_s <= 5
    assert options["visibility_timeout"] + sweep_s < 60
