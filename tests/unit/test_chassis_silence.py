"""When a consumer is called silent, and by what; and all that looks alike and is not. As transcripts of looks."""

from __future__ import annotations

from typing import Any

import pytest

from libs.chassis.amqp.silence import Look, Sign, begin, judge, pause_between

LIMIT = 60.0
STEP = pause_between(LIMIT)


class Watch:
    """A consumer that is looked at every `STEP` seconds, unless the clock is moved by more."""

    def __init__(self, *, others_may_be: bool = False, **seen: Any) -> None:
        self.seen = Look(at=100.0, **({"ready": 0, "consumers": 1} | seen))
        self.signs = begin(self.seen, others_may_be=others_may_be)
        self.sign: Sign | None = None

    def look(self, *, passed: float = STEP, **changes: Any) -> Sign | None:
        values = {name: getattr(self.seen, name) for name in Look.__slots__} | changes
        self.seen = Look(**(values | {"at": self.seen.at + passed}))
        self.signs, sign = judge(self.signs, self.seen, LIMIT)
        return sign

    def echoes(self, *, back: bool, **changes: Any) -> Sign | None:
        """A look after an echo that the broker confirmed."""
        heard = {"echoes_back": self.seen.echoes_back + 1, "channel_deliveries": self.seen.channel_deliveries + 1}
        return self.look(echoes_confirmed=self.seen.echoes_confirmed + 1, **(heard if back else {}), **changes)

    def seconds_until(self, sign: Sign, *, back: bool = True, **changes: Any) -> float:
        """How long until it is silent, all looks being alike."""
        began = self.seen.at
        while (found := self.echoes(back=back, **changes)) is None:
            assert self.seen.at - began < 10 * LIMIT, "it never is"
        assert found is sign
        return self.seen.at - began

    def is_never_silent(self, *, back: bool = True, **changes: Any) -> bool:
        return all(self.echoes(back=back, **changes) is None for _ in range(100))


def test_an_idle_consumer_whose_echoes_come_back_is_well() -> None:
    assert Watch().is_never_silent()


def test_a_channel_that_delivers_nothing_is_known_by_its_echo() -> None:
    watch = Watch()
    watch.echoes(back=True)
    assert watch.seconds_until(Sign.ECHO, back=False) == LIMIT


def test_the_time_of_an_echo_counts_from_the_last_that_was_heard() -> None:
    watch = Watch()
    for _ in range(20):
        assert [watch.echoes(back=False) for _ in range(3)] == [None] * 3
        assert watch.echoes(back=True) is None


def test_an_echo_that_the_broker_never_confirmed_proves_nothing() -> None:
    # It holds publishers back while its memory or disk runs out: nothing is sent, so nothing comes.
    watch = Watch()
    assert all(watch.look() is None for _ in range(100))


def test_whatever_comes_on_the_channel_is_as_good_as_an_echo() -> None:
    watch = Watch()
    for number in range(1, 50):
        assert watch.echoes(back=False, deliveries=number, channel_deliveries=number) is None


def test_a_handler_that_pauses_for_long_is_not_silent() -> None:
    # Messages wait, none is given to us, because we hold what we may hold: the database is away.
    assert Watch(deliveries=500, in_hand=500).is_never_silent(ready=100_000)


def test_a_long_backlog_is_not_silent() -> None:
    watch = Watch(ready=100_000)
    for number in range(1, 100):
        # Sometimes everything is settled at the moment of the look, and the queue may even grow.
        assert watch.echoes(back=True, deliveries=500 * number, in_hand=0, ready=100_000 + number) is None


def test_a_queue_without_consumers_is_known_by_the_brokers_count() -> None:
    watch = Watch()
    assert watch.seconds_until(Sign.COUNT, consumers=0) == LIMIT


def test_who_is_given_messages_is_a_consumer_whatever_the_broker_counts() -> None:
    # It answers so of a quorum queue when the queue's leader is too busy to tell.
    watch = Watch()
    assert all(watch.echoes(back=True, consumers=0, deliveries=number) is None for number in range(1, 100))


def test_a_broker_that_does_not_answer_says_nothing() -> None:
    assert Watch().is_never_silent(ready=None, consumers=None)
    watch = Watch()
    for _ in range(20):
        assert [watch.echoes(back=True, consumers=0) for _ in range(3)] == [None] * 3
        assert watch.echoes(back=True, ready=None, consumers=None) is None, "and what was before does not count on"


def test_messages_that_wait_while_we_are_given_none_are_known_by_the_backlog() -> None:
    watch = Watch(ready=3)
    assert watch.seconds_until(Sign.BACKLOG, ready=3) == LIMIT


def test_the_only_consumer_is_silent_although_messages_expire_in_the_queue() -> None:
    watch = Watch(ready=30)
    signs = [watch.echoes(back=True, ready=30 - number) for number in range(1, 5)]
    assert signs == [None, None, None, Sign.BACKLOG]


def test_messages_that_come_and_go_between_the_looks_are_no_backlog() -> None:
    watch = Watch()
    for number in range(50):
        assert watch.echoes(back=True, ready=number % 2) is None


def test_a_standby_is_well_while_the_active_one_says_that_it_works() -> None:
    # Paused, with the queue growing: only its words tell it from one that is stuck.
    watch = Watch(consumers=2)
    for number in range(1, 100):
        assert watch.echoes(back=True, ready=1000 + number, consumers=2, others_at_work=number) is None


def test_a_standby_is_well_while_the_queue_shrinks() -> None:
    watch = Watch(consumers=2, ready=100_000)
    assert all(watch.echoes(back=True, ready=100_000 - number, consumers=2) is None for number in range(1, 100))


def test_a_standby_that_the_broker_does_not_count_is_well_while_the_active_one_says_that_it_works() -> None:
    # A quorum queue's count is the active one alone: the standby must not take it for itself.
    watch = Watch(others_may_be=True, ready=4000)
    for number in range(1, 100):
        # Now and then the two looks fall so that no echo comes between them.
        heard = number - (number % 3 == 0)
        assert watch.echoes(back=True, ready=4000 + number, others=heard, others_at_work=heard) is None


def test_of_consumers_that_the_broker_does_not_count_the_active_one_is_found_stuck_first() -> None:
    active, standby = (Watch(others_may_be=True, ready=5, deliveries=given) for given in (700, 0))
    for number in range(1, 5):
        signs = [one.echoes(back=True, ready=5, others=number) for one in (active, standby)]
        assert signs == [Sign.BACKLOG if number == 4 else None, None]
    signs = [standby.echoes(back=True, ready=5, others=number) for number in range(5, 9)]
    assert signs == [None, None, None, Sign.BACKLOG]


def test_who_has_not_heard_another_for_long_is_alone_with_the_backlog() -> None:
    watch = Watch(others_may_be=True, ready=4000)
    for number in range(1, 10):
        assert watch.echoes(back=True, others=number, others_at_work=number) is None
    assert watch.seconds_until(Sign.BACKLOG) == LIMIT, "the other has died, and the broker does not feed us instead"


def test_who_hears_nobody_is_alone_only_while_its_own_echoes_come() -> None:
    # The broker takes nothing from publishers, ours included: the active one may be at work all the same.
    watch = Watch(others_may_be=True, ready=4000)
    assert all(watch.look(ready=4000) is None for _ in range(100))
    assert watch.seconds_until(Sign.BACKLOG) == LIMIT, "once they come, it is"


def test_an_active_consumer_is_found_stuck_although_a_standby_is_well() -> None:
    active, standby = (Watch(consumers=2, ready=5, deliveries=given) for given in (700, 0))
    assert active.seconds_until(Sign.BACKLOG, ready=5, consumers=2) == LIMIT
    assert standby.seconds_until(Sign.BACKLOG, ready=5, consumers=2) == 2 * LIMIT


def test_nothing_is_concluded_about_others_without_an_echo_of_our_own() -> None:
    watch = Watch(consumers=2, ready=5)
    assert all(watch.look(ready=5) is None for _ in range(100))


@pytest.mark.parametrize("seconds", [STEP * 2, 24 * 3600.0])
def test_a_process_that_did_not_get_to_run_has_not_heard_and_is_not_silent(seconds: float) -> None:
    watch = Watch(ready=5)
    assert watch.echoes(back=False, consumers=0) is None
    assert watch.look(passed=seconds) is None
    assert watch.signs.unheard <= STEP * 2.5
    assert watch.echoes(back=True, consumers=1, deliveries=5, ready=0) is None
    assert watch.signs.unheard == watch.signs.uncounted == watch.signs.unfed == 0


def test_a_consumer_that_begins_anew_owes_nothing_for_echoes_sent_before() -> None:
    watch = Watch(echoes_confirmed=7, echoes_back=6, channel_deliveries=6)
    assert all(watch.look() is None for _ in range(100))
