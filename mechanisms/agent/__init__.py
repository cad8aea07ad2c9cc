"""Agent attention."""

from attnbench.mechanisms.agent.attention import AgentAttention

__all__ = ["AgentAttention"]
