"""The machine and what torch runs on. The modules that read the machine import no torch."""
