"""medssr: medical reasoning by self-supervised and supervised RL on synthetic questions."""

__version__ = "0.1.0"
