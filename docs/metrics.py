from prometheus_client import Counter, Histogram

from flask_chatbotkit_auth import signals

EVENTS = Counter("chatbotkit_auth_events", "What happened at sign-in.", ["event", "reason"])
SECONDS = Histogram("chatbotkit_auth_seconds", "How long it took.", ["part", "name", "outcome"])
COUNTED = "code_sent code_failed user_signed_in sign_in_failed limit_reached session_ended failure notice_failed"


def counter(event):
    def count(app, error=None, reason="", limit="", method="", **more):
        EVENTS.labels(event, getattr(error, "error_code", reason or limit or method)).inc()

    return count


for name in COUNTED.split():
    getattr(signals, name).connect(counter(name.replace("_", "-")), weak=False)


@signals.measured.connect
def time(app, part, name, duration, outcome):
    SECONDS.labels(part, name, outcome).observe(duration)
