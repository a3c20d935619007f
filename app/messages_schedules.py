"""Texts of work that starts by itself."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

MESSAGES: dict[str, LazyString] = {
    "schedule_name": _l("At most %(limit)s characters, on one line."),
    "schedule_timezone": _l("“%(timezone)s” is no time zone that this machine knows."),
    "schedule_cron": _l("“%(cron)s” is no cron expression of five fields that ever comes true."),
    "schedule_kind": _l("For “%(kind)s” give %(field)s, and nothing else of the times."),
    "schedule_work": _l("Give an action with its servers, or what a new server is to be."),
    "schedule_prefix": _l("Begin with a letter; letters, digits, - and _, at most %(limit)s."),
    "schedule_past": _l("This time has passed."),
    "schedule_too_many": _l("Nobody can have more than %(limit)s schedules."),
    "schedule_busy": _l("“%(name)s” still runs, and is not to run twice at a time."),
    "schedule_missed": _l("Nobody was there to start it in time."),
    "schedule_still_running": _l("The last time was still running."),
    "schedule_zone_unknown": _l("This machine does not know the schedule's time zone any more."),
    "schedule_no_servers": _l("None of its servers is there any more."),
    "schedule_user_inactive": _l("%(name)s, whose schedule it is, may not sign in any more."),
    "schedule_work_failed": _l("%(failed)s of its parts failed."),
    "schedule_failed": _l("“%(name)s” could not be started."),
}
HINTS: dict[str, LazyString] = {
    "schedule_busy": _l("Wait for its end, or let it queue."),
    "schedule_missed": _l("Choose “once, late” if it is to be made up for."),
    "schedule_zone_unknown": _l("Make a new schedule with another time zone."),
    "schedule_still_running": _l("Choose “after it” if it is to wait, or leave more time between."),
    "schedule_no_servers": _l("Delete the schedule, or choose other servers."),
    "schedule_user_inactive": _l("Have somebody else make the schedule."),
    "schedule_work_failed": _l("Open it to see which, and why."),
    "schedule_cron": _l("Minute, hour, day, month, weekday: 0 18 * * FRI is Friday at 18:00."),
}
