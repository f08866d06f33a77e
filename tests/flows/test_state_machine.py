"""The life of challenges as a model: whatever is done in whatever order, every store answers as the model does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.stores import Attempt, Challenge, Outcome, SessionRecord, State, Store
from flask_chatbotkit_auth.stores.base import MAX_CODES

pytestmark = pytest.mark.parametrize(
    "store_url", ["memory", "sqlite", "postgresql", "mariadb", "redis"], indirect=True, scope="module"
)

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LIFETIME = timedelta(seconds=600)
COOLDOWN = timedelta(seconds=30)
MAX_SENDS = 4
MAX_ATTEMPTS = 5


@dataclass
class Model:
    """What is true of one challenge."""

    id: str
    sent_at: datetime
    expires_at: datetime
    codes: list[tuple[str, datetime]]
    """Every code that was made, newest first, with when it stops working."""

    state: State = State.OPEN
    attempts: int = 0
    sends: int = 1
    accepted: int = 0
    session: str | None = None

    def refusal(self, now: datetime) -> Outcome | None:
        """Return why no code is compared, if none is."""
        if self.state is not State.OPEN:
            return Outcome.SPENT
        if self.attempts >= MAX_ATTEMPTS:
            return Outcome.EXHAUSTED
        return Outcome.EXPIRED if self.expires_at <= now else None

    def works(self, digest: str, now: datetime) -> bool:
        """Whether one of the codes that work now has this digest."""
        return any(code == digest and expiry > now for code, expiry in self.codes[:MAX_CODES])


class Challenges(RuleBasedStateMachine):
    """Browsers, guessers and clocks, on a store."""

    store: Store

    challenges: Bundle[Model] = Bundle("challenges")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.models: list[Model] = []
        # Users and ids of this run alone, since the store is shared with the runs before.
        self.user = User(id=f"usr_{uuid.uuid4().hex}", email="ada@example.com")

    @rule(target=challenges)
    def ask(self) -> Model:
        digest = uuid.uuid4().hex * 2
        model = Model(uuid.uuid4().hex, self.now, self.now + LIFETIME, [(digest, self.now + LIFETIME)])
        challenge = Challenge(model.id, self.user.email, sent_at=self.now, expires_at=model.expires_at)
        self.store.add_challenge(challenge, digest)
        self.models.append(model)
        return model

    @rule(model=challenges)
    def ask_again(self, model: Model) -> None:
        digest = uuid.uuid4().hex * 2
        granted = self.store.add_code(
            model.id,
            digest,
            now=self.now,
            expires_at=self.now + LIFETIME,
            sent_before=self.now - COOLDOWN,
            max_sends=MAX_SENDS,
            max_attempts=MAX_ATTEMPTS,
        )
        allowed = model.refusal(self.now) is None and model.sends < MAX_SENDS and model.sent_at <= self.now - COOLDOWN
        assert granted is allowed
        if granted:
            model.codes.insert(0, (digest, self.now + LIFETIME))
            model.sends += 1
            model.sent_at, model.expires_at = self.now, self.now + LIFETIME

    @rule(model=challenges)
    def mail_fails(self, model: Model) -> None:
        self.store.withdraw_code(model.id)
        model.sends = max(0, model.sends - 1)
        model.sent_at = datetime(1970, 1, 1, tzinfo=UTC)

    @rule(model=challenges, other=challenges, which=st.integers(0, 5), keys=st.integers(1, 3))
    def type_a_code(self, model: Model, other: Model, which: int, keys: int) -> None:
        """Try a code of this challenge, of another one, or of none, as its digests under so many keys."""
        source = other if which % 2 else model
        right = source.codes[which % len(source.codes)][0]
        digests = [*(uuid.uuid4().hex * 2 for _ in range(keys - 1)), right]
        self._try(model, digests)

    @rule(model=challenges)
    def guess(self, model: Model) -> None:
        self._try(model, ["0" * 64])

    def _try(self, model: Model, digests: list[str]) -> None:
        answer = self.store.try_code(model.id, digests, now=self.now, max_attempts=MAX_ATTEMPTS)
        refusal = model.refusal(self.now)
        if refusal is not None:
            again = model.state is State.VERIFIED and any(model.works(digest, self.now) for digest in digests)
            assert answer == Attempt(refusal, model.attempts, again)
        elif any(model.works(digest, self.now) for digest in digests):
            assert answer == Attempt(Outcome.ACCEPTED, model.attempts)
            model.state = State.VERIFIED
            model.accepted += 1
        else:
            model.attempts += 1
            assert answer == Attempt(Outcome.WRONG, model.attempts)

    @rule(model=challenges)
    def complete(self, model: Model) -> None:
        session = SessionRecord(
            id=uuid.uuid4().hex * 2,
            user=self.user,
            created_at=self.now,
            seen_at=self.now,
            refreshed_at=self.now,
            ends_at=self.now + 100 * LIFETIME,
            expires_at=self.now + 50 * LIFETIME,
        )
        done = self.store.complete(model.id, session, now=self.now)
        assert done is (model.state is State.VERIFIED and model.expires_at > self.now)
        if done:
            model.state = State.COMPLETED
            model.session = session.id
        else:
            assert self.store.get_session(session.id, now=self.now) is None

    @rule(model=challenges)
    def sign_out(self, model: Model) -> None:
        if model.session is not None:
            assert self.store.end_session(model.session)
            assert not self.store.end_session(model.session)
            model.session = None

    @rule(seconds=st.sampled_from([1, 29, 30, 31, 300, 599, 600, 601]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def nobody(self) -> None:
        unknown = uuid.uuid4().hex
        assert self.store.get_challenge(unknown) is None
        assert self.store.try_code(unknown, ["0" * 64], now=self.now, max_attempts=5) == Attempt(Outcome.MISSING)
        self.store.withdraw_code(unknown)

    @invariant()
    def the_store_knows_what_the_model_knows(self) -> None:
        for model in self.models:
            found = self.store.get_challenge(model.id)
            assert found == Challenge(
                model.id,
                self.user.email,
                sent_at=model.sent_at,
                expires_at=model.expires_at,
                state=model.state,
                attempts=model.attempts,
                sends=model.sends,
            )
            assert model.accepted <= 1
            assert model.attempts <= MAX_ATTEMPTS

    @invariant()
    def there_are_as_many_sessions_as_completions(self) -> None:
        live = {record.id for record in self.store.list_sessions(self.user.id, now=self.now)}
        assert live == {model.session for model in self.models if model.session}

    def teardown(self) -> None:
        self.store.end_sessions(self.user.id)


def test_every_store_lives_as_the_model_does(store: Store) -> None:
    class OnThisStore(Challenges):
        pass

    OnThisStore.store = store
    # No deadline: how long a database takes is no property of the machine. A shared CI machine is slow, and that is all.
    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
