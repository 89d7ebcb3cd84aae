"""The program of a worker process: its work and jobs come on standard input, answers go to standard output."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any

from fiberloom.workers.messages import receive_pickled, send_pickled


def main() -> None:
    """Prepare for the work that comes first, then do its jobs until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may reach the pipe
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    try:
        work = pickle.loads(messages.get())
        work.prepare()
    except Exception as error:
        send_pickled(answers, pickle.dumps(("unable", _said(error))))
        return
    send_pickled(answers, pickle.dumps(("ready", None)))
    while True:
        send_pickled(answers, _answer(work, messages.get()))


def _answer(work: Any, job: bytes) -> bytes:
    try:
        return pickle.dumps(("done", work.do(pickle.loads(job))))
    except (Exception, SystemExit) as error:
        return pickle.dumps(("lost", f"internal error: {_said(error)}"))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _listen(messages: queue.SimpleQueue[bytes]) -> None:
    """Ends the process in the middle of any work when the parent is gone, however it went."""
    try:
        while True:
            messages.put(receive_pickled(sys.stdin.buffer))
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main()
