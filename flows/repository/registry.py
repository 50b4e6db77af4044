"""The versions of the classifier and which was in production when, as Git tags that GTO reads.

`classifier@v1.2.0` names a version, `classifier#production#3` the third change of production. They are made with Git
itself: GTO pushes tag by tag, and here the branch and its tags have to arrive together or not at all.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from flows.repository.git import author, git
from rnnflow.runtime.errors import InputError

ARTIFACT, STAGE = "classifier", "production"
FIRST = "v1.0.0"
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_FORMAT = "--format=%(refname:strip=2)%09%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)%09%(creatordate:short)"


@dataclass(frozen=True)
class Version:
    """A version that was promoted once: `v1.2.0`, its commit, and the day of its tag."""

    name: str
    commit: str
    date: str

    @property
    def tag(self) -> str:
        return f"{ARTIFACT}@{self.name}"


def versions(top: Path) -> list[Version]:
    """Return all of them, the lowest first."""
    found = [Version(tag.partition("@")[2], commit, date) for tag, commit, date in _tags(top, f"{ARTIFACT}@v*")]
    return sorted((version for version in found if _VERSION.fullmatch(version.name)), key=_numbers)


def find(top: Path, name: str) -> Version:
    """Return the version of that name.

    Raises:
        InputError: there is none.
    """
    known = versions(top)
    for version in known:
        if version.name == name:
            return version
    raise InputError(f"version {name} is not among {', '.join(version.name for version in known) or 'the tags: none'}")


def in_production(top: Path) -> list[Version]:
    """Return the versions as they came into production, the latest last; one that came back is there again."""
    by_commit = {version.commit: version for version in versions(top)}
    found = [(_count(tag), by_commit.get(commit)) for tag, commit, _ in _tags(top, f"{ARTIFACT}#{STAGE}#*")]
    return [version for _, version in sorted(found, key=lambda entry: entry[0]) if version]


def next_version(top: Path) -> str:
    """Return the name after the highest one: its second number counts on."""
    known = versions(top)
    if not known:
        return FIRST
    major, minor, _ = _numbers(known[-1])
    return f"v{major}.{minor + 1}.0"


def check_new(top: Path, name: str) -> None:
    """Make sure that a version can be called so.

    Raises:
        InputError: it is no version, or its tag exists.
    """
    if not _VERSION.fullmatch(name):
        raise InputError(f"version {name!r}: expected three numbers, such as v1.2.0")
    if exists(top, f"{ARTIFACT}@{name}"):
        raise InputError(f"tag {ARTIFACT}@{name} exists; choose another --version, such as {next_version(top)}")


def exists(top: Path, tag: str) -> bool:
    return bool(git(top, "tag", "--list", tag))


def register(top: Path, name: str, message: str) -> str:
    """Name the commit that is checked out a version, and return the tag."""
    return _tag(top, f"{ARTIFACT}@{name}", "HEAD", message)


def assign(top: Path, version: Version, message: str) -> str:
    """Say that a version is in production from now on, and return the tag."""
    counts = [_count(tag) for tag, _, _ in _tags(top, f"{ARTIFACT}#*")]
    return _tag(top, f"{ARTIFACT}#{STAGE}#{max(counts, default=0) + 1}", version.commit, message)


def _tag(top: Path, name: str, commit: str, message: str) -> str:
    git(top, "tag", "--annotate", f"--message={message}", name, commit, environment=author(top))
    return name


def _tags(top: Path, pattern: str) -> list[tuple[str, str, str]]:
    """Return name, commit and day of the tags whose names begin like this."""
    listed = git(top, "for-each-ref", _FORMAT, f"refs/tags/{pattern}")
    lines = (line.split("\t") for line in listed.splitlines())
    return [(tag, commit, date) for tag, commit, date in lines]


def _numbers(version: Version) -> tuple[int, ...]:
    return tuple(map(int, version.name.removeprefix("v").split(".")))


def _count(tag: str) -> int:
    count = tag.rpartition("#")[2]
    return int(count) if count.isdecimal() else 0
