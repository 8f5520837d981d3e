"""Follows a guide of `docs/howto`, block by block, in a copy of the repository.

A block says what it is: `diff` is applied with `git apply`, a language with `file=PATH` is a new
file, `console` are commands and what they print. `make run` starts Starfold, or starts it again.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.local_starfold import Local

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs/howto"
GUIDES = sorted(guide.stem for guide in HOWTO.glob("*.md") if guide.stem != "README")
BLOCK = re.compile(r"^```(\w*)[ ]?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEFORE = re.compile(r"^Do \[(\w+)\]\(\w+\.md\) first", re.MULTILINE)
FILE = re.compile(r"^--- a/(.+)\n\+\+\+ b/\1\n", re.MULTILINE)
HUNK = re.compile(r"^@@ .*\n((?:[-+ ].*\n|\n)+)", re.MULTILINE)
# What the shell prints after a command, before its status.
END = "--- the command ended with"
COPIED = (
    "bench",
    "client",
    "command_api",
    "console",
    "deploy",
    "docs",
    "ops",
    "pages",
    "projector",
    "query_api",
    "shared",
    "tests",
    "web",
)
# Variables of the test process, which must not reach the commands of a guide.
NOT_PASSED_ON = ("COVERAGE_", "PYTEST_")


class Block(NamedTuple):
    """A block, its place (the guide and the line of its first fence), and the line above it."""

    place: str
    above: str
    language: str
    information: str
    text: str


def before(name: str) -> list[str]:
    """The guide and those to do before it, in order."""
    found = BEFORE.search((HOWTO / f"{name}.md").read_text())
    return [*before(found[1]), name] if found else [name]


def blocks(name: str) -> list[Block]:
    text = (HOWTO / f"{name}.md").read_text()
    return [
        Block(
            f"docs/howto/{name}.md, the block at line {text.count(chr(10), 0, one.start()) + 1}",
            text[: one.start()].rstrip().rpartition("\n")[2],
            *one.groups(),
        )
        for one in BLOCK.finditer(text)
    ]


class Follower:
    """A copy of the repository in which guides are followed. Its path is short, for sockets."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sf-howto-"))
        for name in COPIED:
            shutil.copytree(ROOT / name, self.folder / name)
        for file in ROOT.iterdir():
            if file.is_file() and not file.name.startswith("."):
                shutil.copy(file, self.folder)
        (self.folder / ".venv").symlink_to(ROOT / ".venv")
        self.changed: set[str] = set()
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)
        } | {"PYTHONPATH": str(self.folder)}
        self._local: Local | None = None
        self._shell: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shell is not None:
            self._shell.communicate()
        if self._local is not None:
            self._local.close()
        shutil.rmtree(self.folder)

    def follow(self, name: str, *, commands: bool = True) -> None:
        """Do what the guide says, without its commands if told so; raises `AssertionError`."""
        for block in blocks(name):
            if block.language == "diff":
                self._apply(block)
            elif block.information.startswith("file="):
                self._write(block)
            elif block.language == "console":
                if commands:
                    self._run(block)
            else:
                raise AssertionError(f"{block.place} says not what is to be done with it")

    def run(self, *command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy; its errors are in what it prints."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def _apply(self, block: Block) -> None:
        """Each hunk must fit in one place, wherever its lines have moved to."""
        files = FILE.split(block.text)[1:]
        assert files, f"{block.place} names no file"
        for path, hunks in zip(files[::2], files[1::2], strict=True):
            text = (self.folder / path).read_text()
            for hunk in HUNK.findall(hunks):
                old = "".join(line[1:] or "\n" for line in _lines(hunk) if line[0] != "+")
                places = f"\n{text}".count(f"\n{old}")
                assert places == 1, f"{block.place}: this is in {path} {places} times:\n{old}"
            self.changed.add(path)
        applied = self.run("git", "apply", "-", given=block.text)
        assert applied.returncode == 0, f"{block.place} does not apply:\n{applied.stdout}"

    def _write(self, block: Block) -> None:
        path = block.information.removeprefix("file=")
        file = self.folder / path
        assert f"`{path}`:" in block.above, f"{block.place}: {path} is not named above it"
        assert not file.exists(), f"{block.place}: {path} exists"
        file.write_text(block.text)
        self.changed.add(path)

    def _run(self, block: Block) -> None:
        """Compare what each command prints with what is shown, `...` for anything."""
        commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
        assert commands, f"{block.place} has no command"
        for command in commands:
            line, _, shown = command.partition("\n")
            if line == "make run":
                self._start()
                continue
            status, printed = self._said(self._on_own_ports(line))
            assert status == 0, f"{block.place}: {line}\n{printed}"
            checked = doctest.OutputChecker().check_output(
                shown.rstrip(), printed.rstrip(), doctest.ELLIPSIS
            )
            assert not shown or checked, f"{block.place}: {line}\nprinted:\n{printed}"

    def _said(self, line: str) -> tuple[int, str]:
        """Run a command in the guide's shell, which keeps variables; its status and its output."""
        shell = self._shell or subprocess.Popen(
            ["bash"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._shell = shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(f"{{ {line}\n}} < /dev/null\nprintf '\\n{END} %s\\n' $?\n")
        shell.stdin.flush()
        printed = ""
        for said in shell.stdout:
            if said.startswith(END):
                return int(said.removeprefix(END)), printed.removesuffix("\n")
            printed += said
        raise AssertionError(f"{line} ended the shell:\n{printed}")

    def _start(self) -> None:
        """`make run`, on other ports; a Starfold that runs is stopped."""
        if self._local is None:
            self._local = Local(self.folder / ".starfold", environment=self._environment)
        elif self._local.is_running:
            self._local.stop()
        here = Path.cwd()
        os.chdir(self.folder)  # Where Python looks for modules first.
        try:
            self._local.up()
        finally:
            os.chdir(here)

    def _on_own_ports(self, line: str) -> str:
        if self._local is None:
            return line
        line = line.replace("127.0.0.1:8080", f"127.0.0.1:{self._local.command_port}")
        return line.replace("127.0.0.1:8081", f"127.0.0.1:{self._local.query_port}")


def _lines(hunk: str) -> list[str]:
    """An empty line of context may have lost its space."""
    return [line if line != "\n" else " \n" for line in hunk.splitlines(keepends=True)]
