from itertools import islice

from tests.chaos.blows import BLOWS
from tests.chaos.plan import AT_ONCE, Step, steps


def first(seed: int, count: int = 500) -> list[Step]:
    """Return the first steps of a seed."""
    return list(islice(steps(seed, list(BLOWS)), count))


def test_a_seed_gives_the_same_steps_again() -> None:
    """A failure can be replayed, and another seed does something else."""
    assert first(7) == first(7)
    assert first(7) != first(8)


def test_what_a_blow_chooses_is_the_same_again() -> None:
    """However often its source of choices is asked for."""
    blow = first(7)[0].blows[0]
    assert blow.chance.random() == blow.chance.random()


def test_every_blow_falls_and_several_at_once() -> None:
    """None is forgotten, none falls twice in a step."""
    done = first(7)
    assert {blow.name for step in done for blow in step.blows} == set(BLOWS)
    assert {len(step.blows) for step in done} == set(AT_ONCE)
    assert all(len({blow.name for blow in step.blows}) == len(step.blows) for step in done)
