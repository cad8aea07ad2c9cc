"""Query-and-attend: attention in sliding windows by learned queries."""

from attnbench.mechanisms.qna.attention import QnA

__all__ = ["QnA"]
