"""Tables and plots: a DataFrame of records in, an artefact out. Nothing here imports torch.

``comparison`` says which rows may be compared, ``sheet`` puts one comparison into words and numbers, ``tables`` shows
sheets on a screen, ``markdown`` writes them into a report; ``palette`` gives every mechanism its look, ``placement``
finds room for ticks and labels, and ``plots`` draws. Only ``plots`` imports matplotlib and seaborn.
"""
