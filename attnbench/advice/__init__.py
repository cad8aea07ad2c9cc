"""Which mechanism to take for a resolution, a machine and a budget, from rows that were measured.

``question`` is what is asked and ``quantities`` reads its limits; ``figures`` is what is known of a mechanism there,
measured or read off its curve; ``choice`` is who is taken and how sure that is; ``words`` and ``plain`` say it.
"""
