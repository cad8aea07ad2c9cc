"""``report.html``: a run in one file that opens from disk and asks no network for anything.

``shipped`` says which rows it holds, ``facets`` in what they differ, ``answer`` who is best and how sure that is,
``payload`` what its scripts read, ``charts`` what they draw, and ``writing`` puts it together. The tables and the
answer are there without script. Text of strangers is made inert by ``attnbench.inert`` and escaped by the template's
autoescape.
"""
