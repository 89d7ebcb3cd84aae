"""Messages between a process and its workers: pickles behind their length."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any, Final

_LENGTH: Final = struct.Struct("<Q")


def send(stream: IO[bytes], message: Any) -> None:
    """One message, whole."""
    send_pickled(stream, pickle.dumps(message))


def send_pickled(stream: IO[bytes], content: bytes) -> None:
    """A message that is a pickle already."""
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message.

    Raises:
        EOFError: when the other side is gone.
    """
    return pickle.loads(receive_pickled(stream))


def receive_pickled(stream: IO[bytes]) -> bytes:
    """The next message, not yet unpickled.

    Raises:
        EOFError: when the other side is gone.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
