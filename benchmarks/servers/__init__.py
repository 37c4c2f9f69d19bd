"""Servers that give everybody the same answer, in a process of their own on a core of their own."""

from .base import Server, running_server

__all__ = ["Server", "running_server"]
