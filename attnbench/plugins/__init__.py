"""Finding, reading and writing mechanisms of anybody's."""
