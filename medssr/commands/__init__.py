"""The commands, one module each."""

from medssr.utils import interrupts

interrupts.end_at_once()
