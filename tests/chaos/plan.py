"""What will be done, by the seed alone: neither the clock nor what came of it changes the order."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

AT_ONCE = {1: 5, 2: 3, 3: 2}
"""So many blows fall together in a step: number -> how often, beside the others."""
HOLDS = (0.0, 0.05, 0.3, 1.0, 4.0)
"""Seconds between the last blow of a step and the first that is taken back."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that is done to the product or to what it rests on."""

    name: str
    number: int
    """What the blow itself has to choose, it chooses by this."""

    @property
    def chance(self) -> random.Random:
        """A source of choices that is the same at each call."""
        return random.Random(self.number)  # noqa: S311 - repeatable is what it must be


@dataclass(frozen=True, slots=True)
class Step:
    """Blows that fall one right after the other, and how long they are left alone."""

    number: int
    blows: tuple[Blow, ...]
    hold: float

    def __str__(self) -> str:
        return f"{' + '.join(blow.name for blow in self.blows)}, held for {self.hold:g} s"


def steps(seed: int, names: Sequence[str]) -> Iterator[Step]:
    """Yield the steps of a seed without end; `names` are the blows that there are."""
    chance = random.Random(seed)  # noqa: S311 - as above
    number = 0
    while True:
        number += 1
        (count,) = chance.choices(list(AT_ONCE), list(AT_ONCE.values()))
        blows = tuple(Blow(name, chance.getrandbits(32)) for name in chance.sample(list(names), count))
        yield Step(number, blows, chance.choice(HOLDS))
