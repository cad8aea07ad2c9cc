"""What a reader sees: its parts (``blocks``), set on a terminal (``screen``) or as Markdown (``markdown``)."""
