"""When work is due: by clock, by interval, by cron through the changes of summer time; and what becomes of late work."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.schedule import ExecutionState, Misfire, Overlap, Rhythm, ScheduleKind, cron_fault, decide, next_after, upcoming

BERLIN = ZoneInfo("Europe/Berlin")
SEOUL = ZoneInfo("Asia/Seoul")


def at(text: str, zone: ZoneInfo | None = None) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC)


def cron(expression: str, zone: str = "UTC") -> Rhythm:
    return Rhythm(ScheduleKind.CRON, at("2026-01-01 00:00"), cron=expression, timezone=zone)


def local(times: list[datetime], zone: ZoneInfo) -> list[str]:
    return [time.astimezone(zone).strftime("%d. %H:%M%z") for time in times]


@pytest.mark.parametrize("kind", [ScheduleKind.AT, ScheduleKind.IN])
def test_what_is_due_once_is_due_once(kind: ScheduleKind) -> None:
    when = at("2026-11-27 18:00")
    assert next_after(Rhythm(kind, when), when - timedelta(seconds=1)) == when
    assert next_after(Rhythm(kind, when), when) is None


def test_every_counts_from_its_first_and_does_not_drift() -> None:
    every = Rhythm(ScheduleKind.EVERY, at("2026-11-27 18:00"), every_s=900)
    assert upcoming(every, at("2026-11-27 18:00"), 2) == [at("2026-11-27 18:15"), at("2026-11-27 18:30")]
    assert next_after(every, at("2026-11-28 03:07:41")) == at("2026-11-28 03:15")
    assert next_after(every, at("2026-11-20 00:00")) == at("2026-11-27 18:00")


def test_cron_is_read_in_its_zone() -> None:
    friday = cron("0 18 * * FRI", "Asia/Seoul")
    assert next_after(friday, at("2026-11-25 00:00")) == at("2026-11-27 18:00", SEOUL) == at("2026-11-27 09:00")


def test_a_time_that_the_clock_leaves_out_is_made_up_for_when_it_has_gone_forward() -> None:
    times = upcoming(cron("30 2 * * *", "Europe/Berlin"), at("2027-03-27 12:00"), 3)
    assert local(times, BERLIN) == ["28. 03:00+0200", "29. 02:30+0200", "30. 02:30+0200"]


def test_a_time_that_comes_twice_counts_once_when_the_clock_goes_back() -> None:
    times = upcoming(cron("30 2 * * *", "Europe/Berlin"), at("2026-10-24 12:00"), 2)
    assert local(times, BERLIN) == ["25. 02:30+0200", "26. 02:30+0100"]


def test_what_is_due_every_half_hour_is_so_in_both_hours() -> None:
    times = upcoming(cron("*/30 * * * *", "Europe/Berlin"), at("2026-10-24 23:45"), 5)
    assert local(times, BERLIN) == ["25. 02:00+0200", "25. 02:30+0200", "25. 02:00+0100", "25. 02:30+0100", "25. 03:00+0100"]


@pytest.mark.parametrize("bad", ["", "* * * *", "61 * * * *", "* * * * * *", "0 0 30 2 *", "@daily", "a b c d e"])
def test_what_is_no_cron_expression_or_never_comes_true_is_refused(bad: str) -> None:
    assert cron_fault(bad)


@pytest.mark.parametrize("good", ["*/5 * * * *", "0 18 * * FRI", "0 9 1,15 * *", "30 2 * JAN-MAR MON-FRI"])
def test_cron_expressions_are_taken(good: str) -> None:
    assert not cron_fault(good)


HOURLY = Rhythm(ScheduleKind.EVERY, at("2026-11-27 00:00"), every_s=3600)


@pytest.mark.parametrize(
    ("late", "misfire", "overlap", "busy", "state", "reason"),
    [
        (timedelta(seconds=5), Misfire.SKIP, Overlap.SKIP, False, ExecutionState.QUEUED, ""),
        (timedelta(hours=5), Misfire.SKIP, Overlap.SKIP, False, ExecutionState.SKIPPED, "schedule_missed"),
        (timedelta(hours=5), Misfire.RUN_ONCE, Overlap.SKIP, False, ExecutionState.QUEUED, ""),
        (timedelta(0), Misfire.RUN_ONCE, Overlap.SKIP, True, ExecutionState.SKIPPED, "schedule_still_running"),
        (timedelta(0), Misfire.RUN_ONCE, Overlap.QUEUE, True, ExecutionState.QUEUED, ""),
        (timedelta(hours=5), Misfire.RUN_ONCE, Overlap.SKIP, True, ExecutionState.SKIPPED, "schedule_still_running"),
    ],
)
def test_late_work_and_work_that_still_runs(late: timedelta, misfire: Misfire, overlap: Overlap, busy: bool, state: ExecutionState, reason: str) -> None:
    due = at("2026-11-27 06:00")
    found = decide(HOURLY, due, due + late, misfire, overlap, busy)
    assert (found.state, found.reason) == (state, reason)
    # However many were missed, the next one is to come.
    assert found.next_at is not None and due + late < found.next_at <= due + late + timedelta(hours=1)


MOMENTS = st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone


@given(after=MOMENTS, every=st.integers(60, 10_000_000))
def test_the_next_time_is_later_and_no_later_than_it_must_be(after: datetime, every: int) -> None:
    rhythm = Rhythm(ScheduleKind.EVERY, at("2026-06-01 00:00"), every_s=every)
    found = next_after(rhythm, after)
    assert found is not None and found > after
    assert found - after <= timedelta(seconds=every) or found == rhythm.first


@given(after=MOMENTS, zone=st.sampled_from(["Europe/Berlin", "Asia/Seoul", "America/New_York", "Australia/Lord_Howe"]), minute=st.integers(0, 59), hour=st.integers(0, 23))
def test_daily_work_is_due_once_on_every_day_of_every_zone(after: datetime, zone: str, minute: int, hour: int) -> None:
    days = [time.astimezone(ZoneInfo(zone)).date() for time in upcoming(cron(f"{minute} {hour} * * *", zone), after, 4)]
    assert [b - a for a, b in zip(days, days[1:], strict=False)] == [timedelta(days=1)] * 3
