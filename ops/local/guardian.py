"""Runs one program, and ends it when the supervisor ends, whatever the reason.

Usage: guardian.py STOP_SIGNAL GRACE_S [--unprivileged] -- PROGRAM ARGUMENT...

Standard input is a pipe that the supervisor holds open: its end means that the supervisor is gone.
The guardian then sends the program its stop signal, and SIGKILL after the grace period. On SIGTERM
the guardian forwards the stop signal. If the guardian itself is killed, Linux kills the program.

With `--unprivileged` and as root, the program runs in a user namespace of its own in which it is
not root: PostgreSQL refuses to run as root, and this needs no account and changes no file's owner.

Imports only the standard library: it starts without site packages, to be small and fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
# Any id but 0 works inside the namespace; outside it is still the caller.
INNER_ID = 1000
POLL_S = 0.05


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    stop_signal, grace_s = signal.Signals(int(arguments[0])), float(arguments[1])
    unprivileged = "--unprivileged" in arguments[2:split]
    if unprivileged and os.geteuid() == 0:
        _leave_root()
    woken = _wake_on_signals()
    program = subprocess.Popen(
        arguments[split + 1 :],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # Unsafe with threads; the guardian has one.
    )
    for passed_on in ending_signals():
        signal.signal(passed_on, lambda *_: _send(program, stop_signal))
    while program.poll() is None:
        readable, _, _ = select.select([sys.stdin, woken], [], [])
        if woken in readable:
            os.read(woken, 1024)
        if sys.stdin in readable and not os.read(sys.stdin.fileno(), 1):
            _end(program, stop_signal, grace_s)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _wake_on_signals() -> int:
    """Return a file descriptor that becomes readable on each signal, such as SIGCHLD.

    Waiting for it costs nothing, while polling by seven guardians took a hundredth of a core.
    """
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writable)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return readable


def _end(program: subprocess.Popen[bytes], stop_signal: signal.Signals, grace_s: float) -> None:
    _send(program, stop_signal)
    give_up_at = time.monotonic() + grace_s
    while program.poll() is None:
        if time.monotonic() > give_up_at:
            program.kill()
        time.sleep(POLL_S)


def _send(program: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        program.send_signal(number)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that request the end; not SIGHUP under `nohup`, which ignores it."""
    ending = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    return ending


def die_with_parent(parent: int | None = None) -> None:
    """Let Linux kill this process with its parent; elsewhere the pipe's end must suffice.

    Exits if the parent, whose process id is given, has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        sys.exit("starfold: the parent process has ended")


def _leave_root() -> None:
    user_id, group_id = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        reason = os.strerror(ctypes.get_errno())
        sys.exit(
            f"starfold: PostgreSQL does not run as root, and a user namespace cannot be created"
            f" ({reason}): run this as another user"
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{INNER_ID} {user_id} 1")
    Path("/proc/self/gid_map").write_text(f"{INNER_ID} {group_id} 1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
